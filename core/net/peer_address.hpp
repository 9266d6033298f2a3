#pragma once
// PeerAddress: an Endpoint in 20 bytes, as a connection keeps its client's: ten thousand of them count. A Unix socket's
// path is left out (clients have none), and so are IPv6 scopes.
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "core/net/endpoint.hpp"

namespace fiberd::net {

class PeerAddress {
 public:
  /// Unspecified.
  PeerAddress() noexcept = default;
  /// Of what accept4(2) filled in.
  explicit PeerAddress(const Endpoint& endpoint) noexcept
      : port_(endpoint.port()), family_(static_cast<std::uint16_t>(endpoint.family())) {
    if (family_ == AF_INET)
      std::memcpy(bytes_.data(), &reinterpret_cast<const sockaddr_in*>(endpoint.data())->sin_addr, sizeof(in_addr));
    if (family_ == AF_INET6)
      std::memcpy(bytes_.data(), &reinterpret_cast<const sockaddr_in6*>(endpoint.data())->sin6_addr, sizeof(in6_addr));
  }

  [[nodiscard]] bool known() const noexcept { return family_ != AF_UNSPEC; }
  [[nodiscard]] Endpoint endpoint() const noexcept {
    if (family_ == AF_INET) {
      in_addr address{};
      std::memcpy(&address, bytes_.data(), sizeof address);
      return Endpoint::v4(ntohl(address.s_addr), port_);
    }
    if (family_ == AF_INET6) {
      in6_addr address{};
      std::memcpy(&address, bytes_.data(), sizeof address);
      return Endpoint::v6(address, port_);
    }
    sockaddr bare{};
    bare.sa_family = family_;
    return Endpoint::from(&bare, sizeof bare.sa_family);
  }

 private:
  std::array<unsigned char, sizeof(in6_addr)> bytes_{};
  std::uint16_t port_ = 0;
  std::uint16_t family_ = AF_UNSPEC;
};

static_assert(sizeof(PeerAddress) == 20);

}  // namespace fiberd::net
