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
#include <memory>
#include <string_view>

namespace fiberd::observe {

namespace {

/// Reads at most `size` bytes; the number read, or -errno.
[[gnu::noinline]] ssize_t read_file(const char* path, char* buffer, std::size_t size) noexcept {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  std::size_t have = 0;
  ssize_t result = 0;
  while (have < size && (result = read(fd, buffer + have, size - have)) != 0) {
    if (result > 0) {
      have += static_cast<std::size_t>(result);
    } else if (errno != EINTR) {
      result = -errno;
      close(fd);
      return result;
    }
  }
  close(fd);
  return static_cast<ssize_t>(have);
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
Result<std::uint64_t> boot_time() {
  auto buffer = std::make_unique<std::array<char, 256 * 1024>>();
  const ssize_t n = read_file("/proc/stat", buffer->data(), buffer->size());
  if (n < 0) return fail_errno(static_cast<int>(n));
  const std::string_view text(buffer->data(), static_cast<std::size_t>(n));
  const std::size_t at = text.find("\nbtime ");
  std::uint64_t seconds = 0;
  if (at == std::string_view::npos || !parse(text.substr(at + 7), seconds)) return fail(std::errc::bad_message);
  return seconds;
}

Result<std::uint64_t> count_fds() {
  struct stat info {};
  if (stat("/proc/self/fd", &info) != 0) return fail_errno(-errno);
  if (info.st_size > 0) return static_cast<std::uint64_t>(info.st_size);
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return fail_errno(-errno);
  std::uint64_t n = 0;
  while (const dirent* entry = readdir(dir))
    if (entry->d_name[0] != '.') ++n;
  closedir(dir);
  return n - 1;  // the directory's own descriptor
}

}  // namespace

Result<ProcessStats> read_process_stats() {
  std::array<char, 1024> buffer;
  const ssize_t n = read_file("/proc/self/stat", buffer.data(), buffer.size());
  if (n < 0) return fail_errno(static_cast<int>(n));
  std::string_view text(buffer.data(), static_cast<std::size_t>(n));
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
  const auto boot = boot_time();
  if (!boot) return fail(boot.error());
  stats.start_time_seconds = static_cast<double>(*boot) + static_cast<double>(field[22]) / hz;
  const auto fds = count_fds();
  if (!fds) return fail(fds.error());
  stats.open_fds = *fds;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(-errno);
  stats.max_fds = limit.rlim_cur;
  return stats;
}

}  // namespace fiberd::observe
