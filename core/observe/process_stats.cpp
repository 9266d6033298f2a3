#include "core/observe/process_stats.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace fiberd::observe {

namespace {

/// Reads at most `size` bytes from the beginning; the number read, or -errno.
[[gnu::noinline]] ssize_t read_from_start(int fd, char* buffer, std::size_t size) noexcept {
  std::size_t have = 0;
  ssize_t result = 0;
  while (have < size && (result = pread(fd, buffer + have, size - have, static_cast<off_t>(have))) != 0) {
    if (result > 0)
      have += static_cast<std::size_t>(result);
    else if (errno != EINTR)
      return -errno;
  }
  return static_cast<ssize_t>(have);
}

[[gnu::noinline]] int open_file(const char* path, int flags) noexcept {
  const int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

bool parse(std::string_view text, std::uint64_t& out) noexcept {
  return std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc{};
}

/// The next space-separated word, removed from `text`.
std::string_view word(std::string_view& text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view w = text.substr(0, text.find(' '));
  text.remove_prefix(w.size());
  return w;
}

/// Boot time in Unix seconds from /proc/stat, whose `intr` line before it may be long.
Result<std::uint64_t> read_boot_time() noexcept {
  static constexpr std::size_t kSize = std::size_t{256} * 1024;
  const std::unique_ptr<char[]> buffer(new (std::nothrow) char[kSize]);
  if (buffer == nullptr) return fail(std::errc::not_enough_memory);
  const int fd = open_file("/proc/stat", 0);
  if (fd < 0) return fail_errno(fd);
  const ssize_t n = read_from_start(fd, buffer.get(), kSize);
  close(fd);
  if (n < 0) return fail_errno(static_cast<int>(n));
  const std::string_view text(buffer.get(), static_cast<std::size_t>(n));
  const std::size_t at = text.find("\nbtime ");
  std::uint64_t seconds = 0;
  if (at == std::string_view::npos || !parse(text.substr(at + 7), seconds)) return fail(std::errc::bad_message);
  return seconds;
}

/// What /proc/self/stat tells.
Result<ProcessStats> parse_stat(std::string_view text, std::uint64_t boot_time) noexcept {
  const std::size_t name_end = text.rfind(')');  // the name may hold spaces and parentheses
  if (name_end == std::string_view::npos) return fail(std::errc::bad_message);
  text.remove_prefix(name_end + 1);
  std::array<std::uint64_t, 25> field{};  // numbered as in proc(5); the state, field 3, comes next
  for (std::size_t i = 3; i < field.size(); ++i) {
    const std::string_view w = word(text);
    if (i >= 14 && i != 18 && i != 19 && i != 21 && !parse(w.starts_with('-') ? w.substr(1) : w, field[i]))
      return fail(std::errc::bad_message);
  }
  const auto hz = static_cast<double>(sysconf(_SC_CLK_TCK));
  ProcessStats stats;
  stats.cpu_seconds = static_cast<double>(field[14] + field[15]) / hz;
  stats.threads = field[20];
  stats.virtual_bytes = field[23];
  stats.resident_bytes = field[24] * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  stats.start_time_seconds = static_cast<double>(boot_time) + static_cast<double>(field[22]) / hz;
  return stats;
}

}  // namespace

ProcessStatsReader::ProcessStatsReader() noexcept {
  const LockGuard guard(lock_);
  (void)open_locked();
}

ProcessStatsReader::~ProcessStatsReader() {
  if (stat_ >= 0) close(stat_);
  if (descriptors_ >= 0) close(descriptors_);
}

std::error_code ProcessStatsReader::open_locked() noexcept {
  if (stat_ < 0) stat_ = open_file("/proc/self/stat", 0);
  if (stat_ < 0) return {-stat_, std::system_category()};
  if (descriptors_ < 0) descriptors_ = open_file("/proc/self/fd", O_DIRECTORY);
  if (descriptors_ < 0) return {-descriptors_, std::system_category()};
  if (boot_time_ != 0) return {};
  const Result<std::uint64_t> boot = read_boot_time();
  if (!boot) return boot.error();
  boot_time_ = *boot;
  return {};
}

Result<std::uint64_t> ProcessStatsReader::count_fds_locked() const noexcept {
  struct stat info {};
  if (fstat(descriptors_, &info) != 0) return fail_errno(-errno);
  if (info.st_size > 0) return static_cast<std::uint64_t>(info.st_size);
  if (lseek(descriptors_, 0, SEEK_SET) < 0) return fail_errno(-errno);
  alignas(std::uint64_t) std::array<char, 4096> entries;
  std::uint64_t n = 0;
  for (;;) {
    const ssize_t size = getdents64(descriptors_, entries.data(), entries.size());
    if (size < 0) return fail_errno(-errno);
    if (size == 0) return n;
    for (ssize_t at = 0; at < size;) {
      std::uint16_t record = 0;
      std::memcpy(&record, entries.data() + at + offsetof(dirent64, d_reclen), sizeof record);
      if (entries[static_cast<std::size_t>(at) + offsetof(dirent64, d_name)] != '.') ++n;
      at += record;
    }
  }
}

Result<ProcessStats> ProcessStatsReader::read() noexcept {
  const LockGuard guard(lock_);
  if (const std::error_code error = open_locked()) return fail(error);
  std::array<char, 1024> buffer;
  const ssize_t n = read_from_start(stat_, buffer.data(), buffer.size());
  if (n < 0) return fail_errno(static_cast<int>(n));
  Result<ProcessStats> stats = parse_stat({buffer.data(), static_cast<std::size_t>(n)}, boot_time_);
  if (!stats) return stats;
  const Result<std::uint64_t> fds = count_fds_locked();
  if (!fds) return fail(fds.error());
  stats->open_fds = *fds;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(-errno);
  stats->max_fds = limit.rlim_cur;
  return stats;
}

}  // namespace fiberd::observe
