#pragma once
// Endpoint: a socket address of the families fiberd speaks: IPv4, IPv6, Unix.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::net {

class Endpoint {
 public:
  /// Unspecified: family() is AF_UNSPEC.
  Endpoint() noexcept;
  /// "127.0.0.1:80", "[::1]:80", ":80" (all IPv4 addresses), "unix:/path". Numeric only; names go to the resolver.
  /// Error: invalid_argument.
  [[nodiscard]] static Result<Endpoint> parse(std::string_view text);
  [[nodiscard]] static Endpoint from(const sockaddr* address, socklen_t size) noexcept;
  [[nodiscard]] static Endpoint v4(std::uint32_t host_order_address, std::uint16_t port) noexcept;
  [[nodiscard]] static Endpoint v6(const in6_addr& address, std::uint16_t port) noexcept;

  [[nodiscard]] const sockaddr* data() const noexcept { return &storage_.any; }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }
  [[nodiscard]] int family() const noexcept { return storage_.any.sa_family; }
  /// 0 for Unix sockets.
  [[nodiscard]] std::uint16_t port() const noexcept;
  void set_port(std::uint16_t port) noexcept;
  /// For Unix sockets; empty for unnamed ones.
  [[nodiscard]] std::string_view path() const noexcept;
  /// As parse() reads it. An IPv4-mapped IPv6 address is written as the IPv4 address it is.
  [[nodiscard]] std::string to_string() const;
  /// The address without its port: what an access log calls the client. "unix:" for Unix sockets.
  [[nodiscard]] std::string host() const;
  /// The same, written into `room`.
  [[nodiscard]] std::string_view host(std::array<char, INET6_ADDRSTRLEN>& room) const noexcept;

 private:
  union Storage {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un un;
  } storage_;
  socklen_t size_ = 0;
};

}  // namespace fiberd::net
