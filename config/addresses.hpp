#pragma once
// Listening addresses: their form, and which of them exclude each other.
//
// The kernel gives a port of an address once for TCP and once for UDP, and 0.0.0.0 and [::] are all addresses of their
// family; [::] takes IPv4, too. So these pairs cannot both be bound:
//
//   the same address twice, however it is spelled (":80" and "0.0.0.0:80"; "[::ffff:1.2.3.4]:80" and "1.2.3.4:80")
//   0.0.0.0 beside an IPv4 address, [::] beside an IPv6 address
//   [::] beside an IPv4 address; but beside 0.0.0.0 it is left the IPv6 half (IPV6_V6ONLY), as who writes both means it
//
// The last one is an exception for 0.0.0.0 only: beside 127.0.0.1:80 an IPv6 half would leave all other IPv4 addresses
// without anybody, and no word about it. Found out here and not by bind(2), so that it has a line, and so that who only
// checks is told the same. Port 0 is another one each time.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

struct Address {
  enum class Family : std::uint8_t { none, ipv4, ipv6, unix_socket };
  Family family = Family::none;
  std::array<unsigned char, 16> bytes{};  ///< IPv4: the first four; an IPv4-mapped IPv6 address is the IPv4 one
  bool mapped = false;                    ///< written as an IPv6 address
  std::uint16_t port = 0;
  std::string path;  ///< of unix_socket

  [[nodiscard]] bool any() const noexcept { return bytes == std::array<unsigned char, 16>{}; }
};

/// What is wrong with a listening address; empty: nothing, and `out` is set.
[[nodiscard]] std::string parse_address(std::string_view text, Address& out);
/// The same for whoever only wants to know.
[[nodiscard]] std::string check_address(std::string_view text);

/// The path of a Unix socket, the same however it is written ("/run//x", "/run/a/../x").
[[nodiscard]] std::string normal_socket_path(std::string_view path);

/// What is wrong with a range of addresses: "192.0.2.0/24", "2001:db8::/32", a single address, or "unix:" for all who
/// come over Unix sockets; empty: nothing.
[[nodiscard]] std::string check_range(std::string_view text);
/// A list of ranges; what is wrong is reported at its item.
[[nodiscard]] PlacedTexts read_ranges(const Reader& r, std::string_view key);

/// Sets ipv6_only of the listeners that share a port with 0.0.0.0, and reports the pairs that exclude each other.
void settle_addresses(Config& config, std::vector<Diagnostic>& diagnostics);

}  // namespace fiberd::config
