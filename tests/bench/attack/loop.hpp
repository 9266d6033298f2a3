#pragma once
/// What the modes of the attacker share: time, bounded non-blocking sockets on loopback, epoll.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace attack {

struct Options {
  std::string mode;
  std::uint16_t port = 0;
  std::size_t count = 0;  // connections, or requests of `mutated`; 0: the mode's own
  double seconds = 20;
  double rate = 100;  // requests a second, of `probe`
  std::uint64_t seed = 1;
  std::string over = "h1";  // of `probe`
};

struct Tally {
  std::uint64_t opened = 0;    // connections that were established
  std::uint64_t answered = 0;  // of these, got a byte
  std::uint64_t shed = 0;      // ended by the server, refusals included
  std::uint64_t refused = 0;   // of these, before a byte of an answer to a whole request, or not even established
  std::uint64_t ended = 0;     // ended by us, as the mode has it
  std::uint64_t timeouts = 0;  // of these, since nothing came for too long
  std::uint64_t still_open = 0;
  std::uint64_t requests = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t no_port = 0;  // local shortage: tried again, not the server's doing
  double last_open_s = 0;
  double last_shed_s = 0;
};

inline std::int64_t now_ns() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000'000'000;

/// Begins to connect to 127.0.0.1:port from 127.0.0.`source`: the ephemeral ports of one address do not suffice for
/// 19,000 connections beside those in TIME_WAIT. -errno when it fails at once. The target is not a parameter: this
/// program cannot be pointed at anything but this machine.
inline int begin_connect(std::uint16_t port, std::uint32_t source, int receive_buffer = 0) noexcept {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (receive_buffer > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl((INADDR_LOOPBACK & 0xffff'ff00U) | source);
  int r = bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a);
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (r == 0) r = connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a);
  if (r == 0 || errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

inline bool watch(int ep, int fd, std::uint64_t data) noexcept {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  e.data.u64 = data;
  return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0;
}

inline int socket_error(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

/// Closes with a reset: nothing of the connection stays behind on either side.
inline void close_with_reset(int fd) noexcept {
  const linger l{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  close(fd);
}

/// Connections that are opened once and held until the server ends them.
Tally hold(const Options& options);
/// Connections that come and go until the time is over.
Tally storm(const Options& options);
/// The same over HTTP/2.
Tally h2_hold(const Options& options);
Tally h2_storm(const Options& options);
/// The well-behaved client; prints its own line.
void probe(const Options& options);

}  // namespace attack
