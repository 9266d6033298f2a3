#pragma once
// Syntax of Host and of a target's authority.
#include <string>
#include <string_view>
#include <vector>

#include "core/base/host_port.hpp"

namespace fiberd::http {

/// uri-host [ ":" port ] of RFC 9110 section 7.2, with two narrowings: the host may not be empty (RFC 9110 section
/// 4.2.1 forbids it for http and https) and holds no comma, which a peer could read as a list. IP literals are IPv6
/// only. Ports are 0..65535 and may be empty.
[[nodiscard]] bool is_valid_authority(std::string_view authority) noexcept;
/// As above, and the port is there and not empty: the target of CONNECT (RFC 9112 section 3.2.3).
[[nodiscard]] bool is_valid_connect_target(std::string_view authority) noexcept;
/// The host by which names are compared: without its port, and without the dot that ends a name's absolute form.
[[nodiscard]] std::string_view host_name(std::string_view authority) noexcept;
/// Whether the authority's host is one of `hosts` (as host_name gives it, lower case), or lies below one that begins
/// with "*.".
/// Every host when the list is empty.
[[nodiscard]] bool serves_host(const std::vector<std::string>& hosts, std::string_view authority) noexcept;
/// Whether the authority's host is an IP address, or there is none (HTTP/1.0): what no name's owner can make a browser
/// send. A page of evil.example whose name is turned to our address (DNS rebinding) still says Host: evil.example.
[[nodiscard]] bool is_address_host(std::string_view authority) noexcept;

}  // namespace fiberd::http
