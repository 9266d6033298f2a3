#pragma once
// host:port as people, configurations and the fields of HTTP write it: taking it apart, and ports. What a host may be
// (a name, a numeric address, a pattern of names) is for whoever asks to say.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd {

/// The parts of a text like "name:80", "192.0.2.1" or "[::1]:80": views into it.
struct HostPort {
  std::string_view host;  ///< without brackets; may be empty
  std::string_view port;  ///< what stands behind the colon, whatever it is
  bool has_port = false;  ///< there is that colon
  bool brackets = false;

  /// With its brackets.
  [[nodiscard]] constexpr std::string_view written_host() const noexcept {
    return brackets ? std::string_view(host.data() - 1, host.size() + 2) : host;
  }
};

/// Why a text is no host:port.
enum class HostPortError : std::uint8_t {
  none,
  open_bracket,    ///< "[::1"
  behind_bracket,  ///< something else than a colon: "[::1]80"
  bare_colons,     ///< more than one and no brackets: "::1", of which nobody can say where a port begins
};

/// Takes `text` apart. With an error `out` is cut at the last colon, as its writer has probably meant it.
[[nodiscard]] HostPortError split_host_port(std::string_view text, HostPort& out) noexcept;

/// 0 … 65535 in decimal; zeros may lead. Nothing else is a port, nor is an empty text.
[[nodiscard]] constexpr std::optional<std::uint16_t> parse_port(std::string_view digits) noexcept {
  while (digits.size() > 5 && digits.front() == '0') digits.remove_prefix(1);
  if (digits.empty() || digits.size() > 5) return std::nullopt;
  unsigned value = 0;
  for (const char c : digits) {
    if (!ascii::is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > 65'535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

/// The part of an authority of which nobody has looked at the port yet: brackets stay. What has an open one is returned
/// whole.
[[nodiscard]] constexpr std::string_view host_without_port(std::string_view authority) noexcept {
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t close = authority.find(']');
    return close == std::string_view::npos ? authority : authority.substr(0, close + 1);
  }
  return authority.substr(0, authority.find(':'));
}

}  // namespace fiberd
