#pragma once
// The error codes of HTTP/2 (RFC 9113 section 7), as numbers, as labels of metrics, and as the reason that a request's
// context is given.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace fiberd::http::h2 {

enum class Code : std::uint32_t {
  no_error,
  protocol_error,
  internal_error,
  flow_control_error,
  settings_timeout,
  stream_closed,
  frame_size_error,
  refused_stream,
  cancel,
  compression_error,
  connect_error,
  enhance_your_calm,
  inadequate_security,
  http_1_1_required,
  other  ///< no code of the RFC's: whatever a client has made up
};
inline constexpr std::size_t kCodes = 15;

/// As the RFC writes it, in lower case: "refused_stream". The set is closed, whatever clients send.
[[nodiscard]] std::string_view token_of(Code code) noexcept;
[[nodiscard]] constexpr Code code_from(std::uint32_t number) noexcept {
  return number < static_cast<std::uint32_t>(Code::other) ? static_cast<Code>(number) : Code::other;
}

/// The client has reset the stream. Equals std::errc::connection_reset; its message tells the code.
[[nodiscard]] std::error_code reset_by_client(Code code) noexcept;

}  // namespace fiberd::http::h2
