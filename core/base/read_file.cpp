#include "core/base/read_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/base/defer.hpp"

namespace fiberd {

// Leaves: errno is a thread's. 0, or -errno.
[[gnu::noinline]] static int read_to_end(int fd, std::size_t most, std::string& text) {
  static constexpr std::size_t kPiece = 16384;
  while (text.size() < most) {
    const std::size_t before = text.size();
    text.resize(std::min(most, before + kPiece));
    const ssize_t n = ::read(fd, text.data() + before, text.size() - before);
    const int error = errno;
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && error == EINTR) continue;
    if (n < 0 && error == EAGAIN) {  // whoever has the other end made it so
      pollfd readable{fd, POLLIN, 0};
      (void)::poll(&readable, 1, -1);
      continue;
    }
    if (n < 0) return -error;
    if (n == 0) break;
  }
  return 0;
}

[[gnu::noinline]] static int read_whole(const std::string& path, std::size_t most, NotRegular others,
                                        std::string& text) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return -errno;
  const defer close([fd] { ::close(fd); });
  struct stat info {};
  if (::fstat(fd, &info) != 0) return -errno;
  if (S_ISDIR(info.st_mode)) return -EISDIR;
  if (!S_ISREG(info.st_mode)) {
    if (others == NotRegular::refuse) return -EINVAL;
    if (::fcntl(fd, F_SETFL, O_RDONLY) != 0) return -errno;
  }
  return read_to_end(fd, most, text);
}

Result<std::string> read_file(const std::string& path, std::size_t most, NotRegular others) {
  std::string text;
  if (const int error = read_whole(path, most, others, text); error != 0)
    return fail(std::error_code(-error, std::system_category()));
  return text;
}

Result<std::string> read_descriptor(int fd, std::size_t most) {
  std::string text;
  if (const int error = read_to_end(fd, most, text); error != 0)
    return fail(std::error_code(-error, std::system_category()));
  return text;
}

std::string why_unreadable(std::error_code error) {
  return error == std::errc::invalid_argument ? "it is a pipe, a device or a socket, and no regular file"
                                              : error.message();
}

}  // namespace fiberd
