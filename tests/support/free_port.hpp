#pragma once
// Ports for tests whose configuration must name one.
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>

#include "core/net/endpoint.hpp"

namespace fiberd::test {

inline bool is_free_port(std::uint16_t port, int type) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  const net::Endpoint there = net::Endpoint::v4(0x7f000001, port);
  const bool free = ::bind(fd, there.data(), there.size()) == 0;
  ::close(fd);
  return free;
}

/// A port of the loopback that was free a moment ago, for TCP and UDP. None of those that the kernel gives to whoever
/// connects: between this moment and the one in which a daemon binds it, any client of anybody could be given it.
inline std::uint16_t free_port() {
  static constexpr unsigned kLeast = 10'240;
  static const unsigned end = [] {
    unsigned first = 0;
    std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first;
    return first > kLeast + 1000 ? first : 32'768U;
  }();
  static std::atomic<unsigned> next{static_cast<unsigned>(::getpid()) * 257U};
  for (unsigned i = 0; i < end; ++i) {
    const auto port = static_cast<std::uint16_t>(kLeast + next.fetch_add(1) % (end - kLeast));
    if (is_free_port(port, SOCK_STREAM) && is_free_port(port, SOCK_DGRAM)) return port;
  }
  return 0;  // there is none
}

}  // namespace fiberd::test
