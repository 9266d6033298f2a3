#pragma once
// URLs of servers that are asked or told by HTTP, and what they are made of.
#include <string>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd::config {

/// Of a host's name.
[[nodiscard]] constexpr bool is_host_character(char c) noexcept {
  return ascii::is_alnum(c) || c == '-' || c == '.' || c == '_';
}
/// "host:port", "[::1]:port" or a name's; what is wrong with it, or empty.
[[nodiscard]] std::string check_host_port(std::string_view text, bool port_required);
/// "http[s]://host[:port]/path"; what is wrong with it, or empty.
[[nodiscard]] std::string check_http_url(std::string_view text);

}  // namespace fiberd::config
