#include "core/runtime/cgroup_memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace fiberd::runtime {
namespace {

constexpr std::int64_t kFindAgain = 250'000'000;
constexpr std::size_t kStatSize = std::size_t{16} * 1024;  // of version 2 some 2 KiB

/// The file's text, as far as it fits; nullopt: it cannot be read.
std::optional<std::string_view> read_into(const std::string& path, std::span<char> room) noexcept {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::size_t size = 0;
  while (size < room.size()) {
    const ssize_t n = ::read(fd, room.data() + size, room.size() - size);
    if (n < 0) {
      ::close(fd);
      return std::nullopt;
    }
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  ::close(fd);
  return std::string_view(room.data(), size);
}

/// The number at the beginning; nullopt: there is none ("max").
std::optional<std::uint64_t> leading_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> number_in(const std::string& path) noexcept {
  std::array<char, 64> room;
  const auto text = read_into(path, room);
  return text ? leading_number(*text) : std::nullopt;
}

std::optional<std::uint64_t> limit_of(int version, const std::string& directory) noexcept {
  // Version 1 writes "no limit" as the largest multiple of the page size that a long holds.
  constexpr std::uint64_t kUnlimited = 0x7fff'ffff'ffff'0000U;
  if (version == 1) {
    const auto limit = number_in(directory + "/memory.limit_in_bytes");
    return limit && *limit < kUnlimited ? limit : std::nullopt;
  }
  const auto most = number_in(directory + "/memory.max");
  const auto high = number_in(directory + "/memory.high");
  if (most && high) return std::min(*most, *high);
  return most ? most : high;
}

}  // namespace

std::uint64_t charge_without_files(std::uint64_t usage, std::string_view stat, int version) noexcept {
  // Of version 1 those without "total_" are the group's own, and its children are charged to it as well.
  static constexpr std::array<std::array<std::string_view, 4>, 2> kNames{
      {{"total_inactive_file", "total_active_file", "total_dirty", "total_writeback"},
       {"inactive_file", "active_file", "file_dirty", "file_writeback"}}};
  const auto& names = kNames[version == 1 ? 0 : 1];
  std::array<std::uint64_t, 4> found{};
  while (!stat.empty()) {
    const std::size_t line_end = std::min(stat.find('\n'), stat.size());
    const std::string_view line = stat.substr(0, line_end);
    stat.remove_prefix(std::min(line_end + 1, stat.size()));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    const auto at = std::find(names.begin(), names.end(), line.substr(0, space));
    if (at != names.end())
      found[static_cast<std::size_t>(at - names.begin())] = leading_number(line.substr(space + 1)).value_or(0);
  }
  const std::uint64_t files = found[0] + found[1];
  const std::uint64_t droppable = files - std::min(files, found[2] + found[3]);
  return usage - std::min(usage, droppable);
}

void CgroupMemory::find(std::int64_t now) {
  found_at_ = now;
  const std::optional<Cgroup> group = find_cgroup("memory", paths_);
  directories_.clear();
  pressure_file_.clear();
  if (!group) return;
  version_ = group->version;
  directories_ = group->directories();
  if (version_ == 2) pressure_file_ = directories_.front() + "/memory.pressure";
}

std::optional<MemoryCharge> CgroupMemory::look_at(const std::string& directory) const {
  const auto limit = limit_of(version_, directory);
  if (!limit) return std::nullopt;
  const auto usage = number_in(directory + (version_ == 1 ? "/memory.usage_in_bytes" : "/memory.current"));
  if (!usage) return std::nullopt;
  std::array<char, kStatSize> room;
  const auto stat = read_into(directory + "/memory.stat", room);
  // Without it all of it counts, which errs on the safe side. A limit of 0 is one that nothing keeps.
  return MemoryCharge{charge_without_files(*usage, stat.value_or(std::string_view()), version_),
                      std::max<std::uint64_t>(*limit, 1)};
}

MemoryCharge CgroupMemory::look(std::int64_t now) {
  if (!found_at_ || now - *found_at_ >= kFindAgain) find(now);
  MemoryCharge nearest;
  for (const std::string& directory : directories_)
    if (const auto here = look_at(directory); here && (nearest.limit == 0 || here->share() > nearest.share()))
      nearest = *here;
  return nearest;
}

}  // namespace fiberd::runtime
