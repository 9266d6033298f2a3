#pragma once
// Why a connection could not be encrypted, or can be no longer, as std::error_code, where std::errc has no word for it.
// What the system said (a reset, a deadline, a cancellation) comes through as it is.
//
// As conditions: `truncated` and `ended` equal std::errc::connection_aborted, all others std::errc::protocol_error.
#include <string_view>
#include <system_error>

namespace fiberd::tls {

enum class errc {  // NOLINT: named like std::errc
  truncated = 1,   ///< the stream ended (FIN) without close_notify: nobody knows whether bytes are missing
  // of a handshake
  ended,            ///< the peer ended the connection in the middle of it
  plain_http,       ///< what came is an HTTP request in plain text
  not_tls,          ///< what came is no TLS record
  version,          ///< no version in common
  cipher,           ///< no cipher, group or signature algorithm in common
  protocol,         ///< no application protocol in common (ALPN)
  server_name,      ///< nobody here has the name that the client asked for
  no_certificate,   ///< the peer has none, and must
  certificate,      ///< the peer's did not verify
  alert,            ///< the peer refused us, by an alert
  hello_too_large,  ///< the client's first message announces more than 16 KiB, or comes in crumbs
  // of both
  malformed,    ///< a message or a record breaks the rules
  out_of_step,  ///< a write was not gone on with where it had stopped
  count_
};

[[nodiscard]] const std::error_category& category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}
/// "plain_http", …: for logs and labels.
[[nodiscard]] std::string_view token_of(errc code) noexcept;

}  // namespace fiberd::tls

template <>
struct std::is_error_code_enum<fiberd::tls::errc> : std::true_type {};
