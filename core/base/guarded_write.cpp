#include "core/base/guarded_write.hpp"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace fiberd {

std::size_t write_guarded(int fd, std::string_view data, int patience_ms) noexcept {
  const int saved = errno;
  std::size_t written = 0;
  int again = 0;
  while (written != data.size()) {
    pollfd room{fd, POLLOUT, 0};
    const int ready = ::poll(&room, 1, patience_ms);
    if (ready <= 0 && !(ready < 0 && errno == EINTR && ++again < 16)) break;
    if (ready < 0) continue;
    const ssize_t n =
        ::write(fd, data.data() + written, std::min<std::size_t>(data.size() - written, std::size_t{PIPE_BUF}));
    if (n > 0) {
      written += static_cast<std::size_t>(n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN) || ++again >= 16) {  // EAGAIN: another one was faster
      break;
    }
  }
  errno = saved;
  return written;
}

}  // namespace fiberd
