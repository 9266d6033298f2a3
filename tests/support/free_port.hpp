#pragma once
// Ports for tests whose configuration must name one.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "core/net/endpoint.hpp"

namespace fiberd::test {

/// A port of the loopback that was free a moment ago, for TCP and UDP as good as surely.
inline std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const net::Endpoint any = net::Endpoint::v4(0x7f000001, 0);
  (void)::bind(fd, any.data(), any.size());
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return net::Endpoint::from(reinterpret_cast<sockaddr*>(&address), size).port();
}

}  // namespace fiberd::test
