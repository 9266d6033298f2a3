#include "core/net/endpoint.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>

#include "core/base/host_port.hpp"

namespace fiberd::net {

Endpoint::Endpoint() noexcept { std::memset(&storage_, 0, sizeof storage_); }

Endpoint Endpoint::from(const sockaddr* address, socklen_t size) noexcept {
  Endpoint e;
  e.size_ = std::min<socklen_t>(size, sizeof e.storage_);
  std::memcpy(&e.storage_, address, e.size_);
  return e;
}

Endpoint Endpoint::v4(std::uint32_t address, std::uint16_t port) noexcept {
  Endpoint e;
  e.storage_.v4.sin_family = AF_INET;
  e.storage_.v4.sin_port = htons(port);
  e.storage_.v4.sin_addr.s_addr = htonl(address);
  e.size_ = sizeof e.storage_.v4;
  return e;
}

Endpoint Endpoint::v6(const in6_addr& address, std::uint16_t port) noexcept {
  Endpoint e;
  e.storage_.v6.sin6_family = AF_INET6;
  e.storage_.v6.sin6_port = htons(port);
  e.storage_.v6.sin6_addr = address;
  e.size_ = sizeof e.storage_.v6;
  return e;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  static constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    Endpoint e;
    if (path.empty() || path.size() >= sizeof e.storage_.un.sun_path || path.find('\0') != std::string_view::npos)
      return fail(std::errc::invalid_argument);
    e.storage_.un.sun_family = AF_UNIX;
    std::memcpy(e.storage_.un.sun_path, path.data(), path.size());
    e.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return e;
  }
  HostPort parts;
  if (split_host_port(text, parts) != HostPortError::none) return fail(std::errc::invalid_argument);
  const std::optional<std::uint16_t> port = parse_port(parts.port);
  if (!port) return fail(std::errc::invalid_argument);
  if (parts.brackets) {
    in6_addr address{};
    if (inet_pton(AF_INET6, std::string(parts.host).c_str(), &address) != 1) return fail(std::errc::invalid_argument);
    return v6(address, *port);
  }
  if (parts.host.empty()) return v4(INADDR_ANY, *port);
  in_addr address{};
  if (inet_pton(AF_INET, std::string(parts.host).c_str(), &address) != 1) return fail(std::errc::invalid_argument);
  return v4(ntohl(address.s_addr), *port);
}

std::uint16_t Endpoint::port() const noexcept {
  if (family() == AF_INET) return ntohs(storage_.v4.sin_port);
  if (family() == AF_INET6) return ntohs(storage_.v6.sin6_port);
  return 0;
}

void Endpoint::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET) storage_.v4.sin_port = htons(port);
  if (family() == AF_INET6) storage_.v6.sin6_port = htons(port);
}

std::string_view Endpoint::path() const noexcept {
  if (family() != AF_UNIX || size_ <= offsetof(sockaddr_un, sun_path)) return {};
  return {storage_.un.sun_path, strnlen(storage_.un.sun_path, size_ - offsetof(sockaddr_un, sun_path))};
}

std::string_view Endpoint::host(std::array<char, INET6_ADDRSTRLEN>& room) const noexcept {
  const auto written = [&room](int family, const void* address) {
    return std::string_view(inet_ntop(family, address, room.data(), static_cast<socklen_t>(room.size())));
  };
  if (family() == AF_INET) {  // what inet_ntop(3) has snprintf(3) do
    char* at = room.data();
    const std::uint32_t address = ntohl(storage_.v4.sin_addr.s_addr);
    for (unsigned shift = 32; shift != 0;) {
      shift -= 8;
      at = std::to_chars(at, at + 3, address >> shift & 255U).ptr;
      if (shift != 0) *at++ = '.';
    }
    return {room.data(), static_cast<std::size_t>(at - room.data())};
  }
  if (family() != AF_INET6) return family() == AF_UNIX ? "unix:" : "unknown";
  const in6_addr& address = storage_.v6.sin6_addr;
  return IN6_IS_ADDR_V4MAPPED(&address) ? written(AF_INET, &address.s6_addr[12]) : written(AF_INET6, &address);
}

std::string Endpoint::host() const {
  std::array<char, INET6_ADDRSTRLEN> room;
  return std::string(host(room));
}

std::string Endpoint::to_string() const {
  if (family() == AF_UNIX) return "unix:" + std::string(path());
  const std::string address = host();
  const bool brackets = address.find(':') != std::string::npos;
  return (brackets ? "[" + address + "]" : address) + ":" + std::to_string(port());
}

}  // namespace fiberd::net
