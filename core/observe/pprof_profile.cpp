#include "core/observe/pprof_profile.hpp"

#include <algorithm>
#include <cstdio>
#include <protozero/pbf_writer.hpp>

#include "core/base/printable.hpp"
#include "core/base/utf8.hpp"
#include "core/observe/gzip.hpp"
#include "core/observe/symbol_names.hpp"

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
  kPeriod = 12,
  kComment = 13,
  kDefaultSampleType = 14
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

/// Numbers of texts; what a profile says is said once. A field of type string is UTF-8: for one that is none, such as a
/// label whose value a client sent, readers refuse the whole profile.
class Texts {
 public:
  std::int64_t operator()(std::string_view s) { return is_utf8(s) ? number_of(s) : number_of(well_formed(s)); }
  void write(protozero::pbf_writer& profile) const {
    std::vector<std::string_view> in_order(numbers_.size());
    for (const auto& [s, number] : numbers_) in_order[static_cast<std::size_t>(number)] = s;
    for (const std::string_view s : in_order) profile.add_string(kStringTable, s.data(), s.size());
  }

 private:
  std::int64_t number_of(std::string_view s) {
    const auto at = numbers_.find(s);
    if (at != numbers_.end()) return at->second;
    const auto number = static_cast<std::int64_t>(numbers_.size());
    numbers_.emplace(std::string(s), number);
    return number;
  }

  std::map<std::string, std::int64_t, std::less<>> numbers_{{"", 0}};
};

}  // namespace

void stack_not_known() noexcept {}

void PprofProfile::add(std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values, Labels labels) {
  Key key;
  key.first.reserve(frames.size());
  for (const std::uintptr_t frame : frames)
    if (frame != 0) key.first.push_back(frame);
  if (key.first.empty()) key.first.push_back(reinterpret_cast<std::uintptr_t>(&stack_not_known) + 1);
  key.second.reserve(labels.size());
  for (const auto& [name, value] : labels) key.second.emplace_back(name, value);
  auto& sums = samples_.try_emplace(std::move(key), types_.size(), 0).first->second;
  for (std::size_t i = 0; i < std::min(values.size(), sums.size()); ++i) sums[i] += values[i];
}

void PprofProfile::set_period(std::string type, std::string unit, std::int64_t period) {
  period_type_ = {std::move(type), std::move(unit)};
  period_ = period;
}

void PprofProfile::subtract(const PprofProfile& earlier) {
  for (const auto& [key, values] : earlier.samples_) {
    auto& sums = samples_.try_emplace(key, types_.size(), 0).first->second;
    for (std::size_t i = 0; i < std::min(values.size(), sums.size()); ++i) sums[i] -= values[i];
  }
  std::erase_if(samples_, [](const auto& sample) {
    return std::all_of(sample.second.begin(), sample.second.end(), [](std::int64_t value) { return value == 0; });
  });
}

std::size_t PprofProfile::type_index(std::string_view type) const noexcept {
  const std::string_view wanted = type.empty() ? std::string_view(default_type_) : type;
  if (wanted.empty()) return types_.size() - 1;
  const auto at = std::find_if(types_.begin(), types_.end(), [wanted](const auto& t) { return t.first == wanted; });
  return static_cast<std::size_t>(at - types_.begin());
}

void PprofProfile::for_each(
    const std::function<void(std::span<const std::uintptr_t>, std::span<const std::int64_t>)>& visit) const {
  for (const auto& [key, values] : samples_) visit(key.first, values);
}

Result<std::string> PprofProfile::encode(std::int64_t time, std::int64_t duration) const {
  Texts text;
  std::string out;
  protozero::pbf_writer profile(out);
  for (const auto& [type, unit] : types_) {
    protozero::pbf_writer value(profile, kSampleType);
    value.add_int64(kType, text(type));
    value.add_int64(kUnit, text(unit));
  }
  std::map<std::uintptr_t, std::uint64_t> locations;  // the address of the call: its number, from 1
  for (const auto& [key, values] : samples_) {
    protozero::pbf_writer sample(profile, kSample);
    {
      protozero::packed_field_uint64 ids(sample, kLocationId);
      // Inside of the call: the address behind it may belong to another line, and another function.
      for (const std::uintptr_t frame : key.first)
        ids.add_element(locations.emplace(frame - 1, locations.size() + 1).first->second);
    }
    sample.add_packed_int64(kValue, values.begin(), values.end());
    for (const auto& [name, value] : key.second) {
      protozero::pbf_writer label(sample, kLabel);
      label.add_int64(kKey, text(name));
      label.add_int64(kStr, text(value));
    }
  }
  SymbolNames names;
  const std::vector<LoadedModule>& loaded = names.modules();
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
  for (const auto& [address, id] : locations) {
    const std::string& name = names.function_at(address);
    protozero::pbf_writer location(profile, kLocation);
    location.add_uint64(kId, id);
    if (const LoadedModule* const module = module_at(loaded, address))
      location.add_uint64(kLocationMapping, static_cast<std::uint64_t>(module - loaded.data()) + 1);
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
    period.add_int64(kType, text(period_type_.first));
    period.add_int64(kUnit, text(period_type_.second));
  }
  profile.add_int64(kPeriod, period_);
  for (const std::string& comment : comments_) profile.add_int64(kComment, text(comment));
  if (!default_type_.empty()) profile.add_int64(kDefaultSampleType, text(default_type_));
  text.write(profile);
  return gzip(out, Gzip::usual);
}

std::string PprofProfile::text(std::string_view name, std::size_t most) const {
  const std::size_t shown = std::min(type_index({}), types_.size() - 1);
  std::vector<const std::pair<const Key, std::vector<std::int64_t>>*> sorted;
  sorted.reserve(samples_.size());
  std::vector<std::int64_t> totals(types_.size(), 0);
  for (const auto& sample : samples_) {
    sorted.push_back(&sample);
    for (std::size_t i = 0; i < totals.size(); ++i) totals[i] += sample.second[i];
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [shown](const auto* a, const auto* b) { return a->second[shown] > b->second[shown]; });
  SymbolNames names;
  char number[32];
  const auto joined = [](const std::vector<std::int64_t>& values) {
    std::string all;
    for (const std::int64_t value : values) all += (all.empty() ? "" : " ") + std::to_string(value);
    return all;
  };
  std::string page = std::string(name) + " profile: total " + joined(totals) + "\n";
  if (types_.size() > 1) {
    page += "#";
    for (const auto& [type, unit] : types_) page.append(" ").append(type).append("/").append(unit);
    page += "\n";
  }
  for (const std::string& comment : comments_) page += "# " + in_one_line(comment) + "\n";
  for (std::size_t i = 0; i < std::min(most, sorted.size()); ++i) {
    const auto& [key, values] = *sorted[i];
    page += joined(values) + " @";
    for (const std::uintptr_t frame : key.first) {
      std::snprintf(number, sizeof number, " 0x%zx", static_cast<std::size_t>(frame));
      page += number;
    }
    page += "\n";
    for (const auto& [label, value] : key.second)
      page += "# " + in_one_line(label) + ": " + quoted(value, value.size()) + "\n";
    for (const std::uintptr_t frame : key.first) {
      std::snprintf(number, sizeof number, "#\t0x%zx\t", static_cast<std::size_t>(frame));
      page += number + names.frame(frame) + "\n";
    }
    page += "\n";
  }
  if (sorted.size() > most) page += "# and " + std::to_string(sorted.size() - most) + " further stacks\n";
  return page;
}

}  // namespace fiberd::observe
