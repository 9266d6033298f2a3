#pragma once
// The URLs that the client is asked for.
#include <cstdint>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::http {

/// Views into the text that was parsed.
struct ClientUrl {
  std::string_view authority;  ///< host and port as written: the Host field
  std::string_view host;       ///< IPv6 without brackets
  std::uint16_t port = 80;     ///< of https: 443
  bool secure = false;         ///< https
  std::string_view target;  ///< path and query; without a path it is empty or begins with '?', and "/" goes before it
};

/// "http[s]://host[:port][/path][?query][#fragment]" (RFC 9110 section 4.2, RFC 3986). The fragment is left out, as it
/// is never sent. What is not a URI's character is refused and not escaped: who made it knows what it meant. Errors:
/// client_errc::bad_url, userinfo included (RFC 9110 section 4.2.4).
[[nodiscard]] Result<ClientUrl> parse_client_url(std::string_view text) noexcept;

}  // namespace fiberd::http
