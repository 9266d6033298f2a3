#pragma once
// System calls as leaf functions that return -errno. errno is a thread's address: in a function that parks, a compiler
// may keep that address across the park and read another thread's errno. So no such function mentions errno; it calls
// these. noinline, because link-time optimisation sees through files.
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace fiberd::net::sys {

/// Of what these return: nothing can be had now, wait for the descriptor.
[[nodiscard]] constexpr bool would_block(ssize_t result) noexcept {
  return result == -EAGAIN || result == -EWOULDBLOCK;
}

[[nodiscard, gnu::noinline]] ssize_t recv(int fd, void* data, std::size_t size) noexcept;
/// As recv, and what was read stays there (MSG_PEEK).
[[nodiscard, gnu::noinline]] ssize_t peek(int fd, void* data, std::size_t size) noexcept;
/// MSG_NOSIGNAL.
[[nodiscard, gnu::noinline]] ssize_t send(int fd, const void* data, std::size_t size) noexcept;
/// As send, for what more follows at once: packets need not end with it (MSG_MORE).
[[nodiscard, gnu::noinline]] ssize_t send_more(int fd, const void* data, std::size_t size) noexcept;
[[nodiscard, gnu::noinline]] ssize_t sendmsg(int fd, const iovec* parts, std::size_t count) noexcept;
/// How many messages; never waits.
[[nodiscard, gnu::noinline]] int recvmmsg(int fd, mmsghdr* messages, unsigned count) noexcept;
/// `address` may be null: to the peer that the socket is connected to.
[[nodiscard, gnu::noinline]] ssize_t sendto(int fd, const void* data, std::size_t size, const sockaddr* address,
                                            socklen_t address_size) noexcept;
[[nodiscard, gnu::noinline]] ssize_t sendfile(int out, int in, off_t offset, std::size_t count) noexcept;
[[nodiscard, gnu::noinline]] ssize_t pread(int fd, void* data, std::size_t size, std::uint64_t offset) noexcept;
[[nodiscard, gnu::noinline]] int accept4(int fd, sockaddr* address, socklen_t* size) noexcept;
[[nodiscard, gnu::noinline]] int connect(int fd, const sockaddr* address, socklen_t size) noexcept;
[[nodiscard, gnu::noinline]] int socket(int domain, int type, int protocol) noexcept;
[[nodiscard, gnu::noinline]] int bind(int fd, const sockaddr* address, socklen_t size) noexcept;
[[nodiscard, gnu::noinline]] int listen(int fd, int backlog) noexcept;
[[nodiscard, gnu::noinline]] int setsockopt(int fd, int level, int option, int value) noexcept;
/// The value, or -errno.
[[nodiscard, gnu::noinline]] int socket_error(int fd) noexcept;
[[nodiscard, gnu::noinline]] int shutdown_write(int fd) noexcept;
[[nodiscard, gnu::noinline]] int shutdown_read(int fd) noexcept;
[[nodiscard, gnu::noinline]] int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept;
[[nodiscard, gnu::noinline]] int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept;
/// Bytes that wait to be read (FIONREAD).
[[nodiscard, gnu::noinline]] int unread(int fd) noexcept;
/// Bytes that the peer has not acknowledged (SIOCOUTQ).
[[nodiscard, gnu::noinline]] int unacknowledged(int fd) noexcept;
/// Makes a socket that was inherited like one of ours: O_NONBLOCK, FD_CLOEXEC.
[[nodiscard, gnu::noinline]] int make_own(int fd) noexcept;
/// What the kernel has dropped of a socket for want of room (SO_MEMINFO); 0 where it does not tell.
[[nodiscard, gnu::noinline]] std::uint32_t dropped(int fd) noexcept;
[[gnu::noinline]] void close(int fd) noexcept;

}  // namespace fiberd::net::sys
