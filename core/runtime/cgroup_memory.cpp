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

/// The number at the beginning; nullopt: there is none ("max").
std::optional<std::uint64_t> leading_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

}  // namespace

CgroupMemory::KeptFile::~KeptFile() {
  if (fd_ >= 0) ::close(fd_);
}

bool CgroupMemory::KeptFile::open() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  return fd_ >= 0;
}

std::optional<std::string_view> CgroupMemory::KeptFile::read(std::span<char> room) noexcept {
  for (bool fresh = fd_ < 0;; fresh = true) {
    if (fresh && !open()) return std::nullopt;
    std::size_t size = 0;
    ssize_t n = 0;
    while (size < room.size() &&
           (n = ::pread(fd_, room.data() + size, room.size() - size, static_cast<off_t>(size))) > 0)
      size += static_cast<std::size_t>(n);
    if (n >= 0) return std::string_view(room.data(), size);
    // The group is gone, and another may have its name.
    if (fresh) return std::nullopt;
  }
}

std::optional<std::uint64_t> CgroupMemory::KeptFile::number() noexcept {
  std::array<char, 64> room;
  const auto text = read(room);
  return text ? leading_number(*text) : std::nullopt;
}

CgroupMemory::Group::Group(int version, const std::string& directory)
    : max(directory + (version == 1 ? "/memory.limit_in_bytes" : "/memory.max")),
      high(directory + "/memory.high"),
      usage(directory + (version == 1 ? "/memory.usage_in_bytes" : "/memory.current")),
      stat(directory + "/memory.stat") {}

std::optional<std::uint64_t> CgroupMemory::limit_of(Group& group) const noexcept {
  // Version 1 writes "no limit" as the largest multiple of the page size that a long holds.
  constexpr std::uint64_t kUnlimited = 0x7fff'ffff'ffff'0000U;
  const auto most = group.max.number();
  if (version_ == 1) return most && *most < kUnlimited ? most : std::nullopt;
  const auto high = group.high.number();
  if (most && high) return std::min(*most, *high);
  return most ? most : high;
}

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
  bool unsure = false;
  const std::optional<Cgroup> group = find_cgroup("memory", paths_, unsure);
  if (!group && unsure) return;  // no news of where it lies
  const std::vector<std::string> directories = group ? group->directories() : std::vector<std::string>();
  const int version = group ? group->version : 0;
  if (version == version_ && directories == directories_) return;
  groups_.clear();
  directories_.clear();
  version_ = version;
  pressure_file_ = version == 2 ? directories.front() + "/memory.pressure" : std::string();
  for (const std::string& directory : directories) groups_.push_back(std::make_unique<Group>(version, directory));
  directories_ = directories;
}

std::optional<MemoryCharge> CgroupMemory::look_at(Group& group) const noexcept {
  const auto limit = limit_of(group);
  if (!limit) return std::nullopt;
  const auto usage = group.usage.number();
  if (!usage) return std::nullopt;
  std::array<char, kStatSize> room;
  const auto stat = group.stat.read(room);
  // Without it all of it counts, which errs on the safe side. A limit of 0 is one that nothing keeps.
  return MemoryCharge{charge_without_files(*usage, stat.value_or(std::string_view()), version_),
                      std::max<std::uint64_t>(*limit, 1)};
}

MemoryCharge CgroupMemory::look(std::int64_t now) {
  if (!found_at_ || now - *found_at_ >= kFindAgain) find(now);
  MemoryCharge nearest;
  for (const auto& group : groups_)
    if (const auto here = look_at(*group); here && (nearest.limit == 0 || here->share() > nearest.share()))
      nearest = *here;
  return nearest;
}

}  // namespace fiberd::runtime
