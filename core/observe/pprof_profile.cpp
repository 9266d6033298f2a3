#include "core/observe/pprof_profile.hpp"

#include <elf.h>
#include <link.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <climits>
#include <protozero/pbf_writer.hpp>

#include "core/base/characters.hpp"
#include "core/fiber/backtrace.hpp"

namespace fiberd::observe {

namespace {

// Field numbers of proto/profile.proto.
enum Profile : protozero::pbf_tag_type {
  kSampleType = 1,
  kSample = 2,
  kMapping = 3,
  kLocation = 4,
  kFunction = 5,
  kStringTable = 6,
  kTimeNanos = 9,
  kDurationNanos = 10,
  kPeriodType = 11,
  kPeriod = 12
};
enum ValueType : protozero::pbf_tag_type { kType = 1, kUnit = 2 };
enum Sample : protozero::pbf_tag_type { kLocationId = 1, kValue = 2, kLabel = 3 };
enum Label : protozero::pbf_tag_type { kKey = 1, kStr = 2 };
enum Mapping : protozero::pbf_tag_type {
  kMappingId = 1,
  kMemoryStart = 2,
  kMemoryLimit = 3,
  kFileOffset = 4,
  kFilename = 5,
  kBuildId = 6,
  kHasFunctions = 7
};
enum Location : protozero::pbf_tag_type { kId = 1, kLocationMapping = 2, kAddress = 3, kLine = 4 };
enum Line : protozero::pbf_tag_type { kLineFunction = 1 };
enum Function : protozero::pbf_tag_type { kFunctionId = 1, kName = 2, kSystemName = 3 };

struct Module {
  std::uintptr_t start = 0;
  std::uintptr_t limit = 0;
  std::uintptr_t offset = 0;
  std::string file;
  std::string build_id;
};

std::string own_file() {
  std::array<char, PATH_MAX> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n)) : std::string();
}

std::string build_id_of(const dl_phdr_info& info, const ElfW(Phdr) & segment) {
  const auto* at = reinterpret_cast<const char*>(info.dlpi_addr + segment.p_vaddr);
  const char* const end = at + segment.p_memsz;
  const auto padded = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
  while (static_cast<std::size_t>(end - at) >= sizeof(ElfW(Nhdr))) {
    const auto* const note = reinterpret_cast<const ElfW(Nhdr)*>(at);
    const char* const name = at + sizeof(*note);
    const char* const data = name + padded(note->n_namesz);
    if (data + note->n_descsz > end) break;
    if (note->n_type == NT_GNU_BUILD_ID && std::string_view(name, note->n_namesz) == std::string_view("GNU\0", 4)) {
      std::string id;
      for (std::size_t i = 0; i < note->n_descsz; ++i) {
        const auto byte = static_cast<unsigned char>(data[i]);
        id += ascii::kHexDigits[byte >> 4U];
        id += ascii::kHexDigits[byte & 15U];
      }
      return id;
    }
    at = data + padded(note->n_descsz);
  }
  return {};
}

/// What is loaded and executable.
std::vector<Module> modules() {
  std::vector<Module> all;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& found = *static_cast<std::vector<Module>*>(argument);
        std::string id;
        for (ElfW(Half) i = 0; i < info->dlpi_phnum; ++i)
          if (info->dlpi_phdr[i].p_type == PT_NOTE && id.empty()) id = build_id_of(*info, info->dlpi_phdr[i]);
        for (ElfW(Half) i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
          const std::uintptr_t start = info->dlpi_addr + segment.p_vaddr;
          found.push_back({start, start + segment.p_memsz, segment.p_offset,
                           info->dlpi_name[0] != '\0' ? info->dlpi_name : own_file(), id});
        }
        return 0;
      },
      &all);
  return all;
}

Result<std::string> gzip(std::string_view text) {
  z_stream stream{};
  static constexpr int kGzip = 15 + 16;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(std::errc::not_enough_memory);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib's interface; it is not written
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int outcome = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (outcome != Z_STREAM_END) return fail(std::errc::not_enough_memory);
  return out;
}

}  // namespace

std::int64_t PprofProfile::text(std::string_view s) {
  const auto at = texts_.find(s);
  if (at != texts_.end()) return at->second;
  const auto number = static_cast<std::int64_t>(texts_.size());
  texts_.emplace(std::string(s), number);
  return number;
}

std::uint64_t PprofProfile::location_of(std::uintptr_t return_address) {
  // Inside of the call: the address behind it may belong to another line, and another function.
  return locations_.emplace(return_address - 1, locations_.size() + 1).first->second;
}

void PprofProfile::add(std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values,
                       std::span<const std::pair<std::string_view, std::string_view>> labels) {
  protozero::pbf_writer profile(encoded_);
  protozero::pbf_writer sample(profile, kSample);
  {
    protozero::packed_field_uint64 ids(sample, kLocationId);
    for (const std::uintptr_t frame : frames)
      if (frame != 0) ids.add_element(location_of(frame));
  }
  sample.add_packed_int64(kValue, values.begin(), values.end());
  for (const auto& [key, value] : labels) {
    protozero::pbf_writer label(sample, kLabel);
    label.add_int64(kKey, text(key));
    label.add_int64(kStr, text(value));
  }
}

Result<std::string> PprofProfile::encode(std::int64_t time, std::int64_t duration) {
  std::string out;
  protozero::pbf_writer profile(out);
  for (const auto& [type, unit] : types_) {
    protozero::pbf_writer value(profile, kSampleType);
    value.add_int64(kType, text(type));
    value.add_int64(kUnit, text(unit));
  }
  out += encoded_;
  const std::vector<Module> loaded = modules();
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    protozero::pbf_writer mapping(profile, kMapping);
    mapping.add_uint64(kMappingId, i + 1);
    mapping.add_uint64(kMemoryStart, loaded[i].start);
    mapping.add_uint64(kMemoryLimit, loaded[i].limit);
    mapping.add_uint64(kFileOffset, loaded[i].offset);
    mapping.add_int64(kFilename, text(loaded[i].file));
    mapping.add_int64(kBuildId, text(loaded[i].build_id));
    mapping.add_bool(kHasFunctions, true);
  }
  std::map<std::string, std::uint64_t> functions;
  for (const auto& [address, id] : locations_) {
    const std::string name = fiber::function_at(address);
    protozero::pbf_writer location(profile, kLocation);
    location.add_uint64(kId, id);
    const auto at = address;
    const auto module =
        std::find_if(loaded.begin(), loaded.end(), [at](const Module& m) { return at >= m.start && at < m.limit; });
    if (module != loaded.end())
      location.add_uint64(kLocationMapping, static_cast<std::uint64_t>(module - loaded.begin()) + 1);
    location.add_uint64(kAddress, address);
    if (name.empty()) continue;
    const std::uint64_t function = functions.emplace(name, functions.size() + 1).first->second;
    protozero::pbf_writer line(location, kLine);
    line.add_uint64(kLineFunction, function);
  }
  for (const auto& [name, id] : functions) {
    protozero::pbf_writer function(profile, kFunction);
    function.add_uint64(kFunctionId, id);
    function.add_int64(kName, text(name));
    function.add_int64(kSystemName, text(name));
  }
  profile.add_int64(kTimeNanos, time);
  profile.add_int64(kDurationNanos, duration);
  {
    protozero::pbf_writer period(profile, kPeriodType);
    period.add_int64(kType, text(types_.front().first));
    period.add_int64(kUnit, text(types_.front().second));
  }
  profile.add_int64(kPeriod, 1);
  std::vector<std::string_view> in_order(texts_.size());
  for (const auto& [s, number] : texts_) in_order[static_cast<std::size_t>(number)] = s;
  for (const std::string_view s : in_order) profile.add_string(kStringTable, s.data(), s.size());
  return gzip(out);
}

}  // namespace fiberd::observe
