#include "core/net/system_calls.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/syscall.hpp"

namespace fiberd::net::sys {

template <class T>
static T result(T r) noexcept {
  return r < 0 ? static_cast<T>(-errno) : r;
}

#if defined(FIBERD_DIRECT_SYSTEM_CALLS)
static long address(const void* p) noexcept { return reinterpret_cast<long>(p); }
ssize_t recv(int fd, void* data, std::size_t size) noexcept {
  return system_call(SYS_recvfrom, fd, address(data), static_cast<long>(size));
}
ssize_t send(int fd, const void* data, std::size_t size) noexcept {
  return system_call(SYS_sendto, fd, address(data), static_cast<long>(size), MSG_NOSIGNAL);
}
#else
ssize_t recv(int fd, void* data, std::size_t size) noexcept { return result(::recv(fd, data, size, 0)); }
ssize_t send(int fd, const void* data, std::size_t size) noexcept {
  return result(::send(fd, data, size, MSG_NOSIGNAL));
}
#endif
ssize_t send_more(int fd, const void* data, std::size_t size) noexcept {
  return result(::send(fd, data, size, MSG_NOSIGNAL | MSG_MORE));
}
ssize_t peek(int fd, void* data, std::size_t size) noexcept { return result(::recv(fd, data, size, MSG_PEEK)); }
ssize_t sendmsg(int fd, const iovec* parts, std::size_t count) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  return result(::sendmsg(fd, &message, MSG_NOSIGNAL));
}
int recvmmsg(int fd, mmsghdr* messages, unsigned count) noexcept {
  return result(::recvmmsg(fd, messages, count, MSG_DONTWAIT, nullptr));
}
ssize_t sendto(int fd, const void* data, std::size_t size, const sockaddr* address, socklen_t address_size) noexcept {
  return result(::sendto(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT, address, address_size));
}
ssize_t sendfile(int out, int in, off_t offset, std::size_t count) noexcept {
  return result(::sendfile(out, in, &offset, count));
}
ssize_t pread(int fd, void* data, std::size_t size, std::uint64_t offset) noexcept {
  return result(::pread(fd, data, size, static_cast<off_t>(offset)));
}
int accept4(int fd, sockaddr* address, socklen_t* size) noexcept {
  return result(::accept4(fd, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
int connect(int fd, const sockaddr* address, socklen_t size) noexcept { return result(::connect(fd, address, size)); }
int socket(int domain, int type, int protocol) noexcept {
  return result(::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}
int bind(int fd, const sockaddr* address, socklen_t size) noexcept { return result(::bind(fd, address, size)); }
int listen(int fd, int backlog) noexcept { return result(::listen(fd, backlog)); }
int setsockopt(int fd, int level, int option, int value) noexcept {
  return result(::setsockopt(fd, level, option, &value, sizeof value));
}
int socket_error(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : error;
}
int shutdown_write(int fd) noexcept { return result(::shutdown(fd, SHUT_WR)); }
int shutdown_read(int fd) noexcept { return result(::shutdown(fd, SHUT_RD)); }
int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  return result(::getsockname(fd, address, size));
}
int unread(int fd) noexcept {
  int n = 0;
  const int r = result(::ioctl(fd, FIONREAD, &n));
  return r < 0 ? r : n;
}
int unacknowledged(int fd) noexcept {
  int n = 0;
  const int r = result(::ioctl(fd, TIOCOUTQ, &n));
  return r < 0 ? r : n;
}
int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
  return result(::getpeername(fd, address, size));
}
int make_own(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return -errno;
  return 0;
}
std::uint32_t dropped(int fd) noexcept {
  std::uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) == 0 && size > SK_MEMINFO_DROPS * sizeof info[0]
             ? info[SK_MEMINFO_DROPS]
             : 0;
}
void close(int fd) noexcept { ::close(fd); }

}  // namespace fiberd::net::sys
