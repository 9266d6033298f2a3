#pragma once
// Why a request that the client sent has no answer, as std::error_code, where std::errc has no word for it. What the
// system, the resolver and the context said comes through as it is.
//
// As conditions: the time-outs equal std::errc::timed_out; what is refused of an answer's syntax (is_malformed())
// equals std::errc::bad_message, what is too large std::errc::message_size; an answer that breaks off equals
// std::errc::connection_aborted; what went wrong with TLS std::errc::protocol_error; too_many_waiting
// std::errc::resource_unavailable_try_again; client_closed std::errc::operation_canceled; what is wrong with the
// request itself std::errc::invalid_argument.
#include <cstdint>
#include <string_view>
#include <system_error>

#include "core/http/reject.hpp"

namespace fiberd::http {

enum class client_errc {  // NOLINT: named like std::errc
  // the request
  bad_url = 1,       ///< not "http[s]://host[:port][/path][?query]"
  bad_request,       ///< a method, target or field that would split the message, or that the client alone writes
  bad_request_body,  ///< the body had not as many bytes as were announced
  // the connection
  too_many_waiting,  ///< no connection is free, and as many wait for one as may
  wait_timeout,      ///< no connection became free in time
  connect_timeout,
  client_closed,
  // of https: nothing of the request was sent
  certificate_expired,        ///< the server's certificate has ended
  certificate_not_yet_valid,  ///< it begins later than now
  unknown_issuer,             ///< nobody whom we believe has signed it
  name_mismatch,              ///< it is for other names
  certificate_refused,        ///< something else is wrong with it
  not_tls,                    ///< what the server speaks at this port is no TLS
  tls_refused,  ///< the server refused the handshake: no version or cipher in common, or it wants a certificate
  tls_failed,   ///< the handshake ended or broke a rule
  // the exchange
  write_timeout,
  head_timeout,          ///< the answer's head did not come in time
  body_timeout,          ///< its body made no progress
  closed_before_answer,  ///< the connection ended, and nothing of an answer had come
  truncated_head,
  truncated_body,
  // what the answer said
  not_http,            ///< its first bytes are not HTTP's
  bad_status_line,     ///< not "HTTP/1.x NNN reason"
  bad_status,          ///< not 100 … 599
  unexpected_content,  ///< 1xx or 204 that announces content (RFC 9112 section 6.1, RFC 9110 section 8.6)
  unasked_upgrade,     ///< 101, and nobody asked for another protocol (RFC 9110 section 15.2.2)
  too_many_interim,    ///< more 1xx than ClientOptions::interim
  head_too_large,
  body_too_large,
  bad_framing = 64,  ///< from here on: + Reject, the rule that an answer broke
};

[[nodiscard]] const std::error_category& client_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(client_errc code) noexcept {
  return {static_cast<int>(code), client_category()};
}
/// An answer that broke a rule that requests are held to, too.
[[nodiscard]] std::error_code refused_answer(Reject rule) noexcept;
/// The rule; Reject::none when it was none of those.
[[nodiscard]] Reject rule_of(const std::error_code& error) noexcept;
/// Whether it was the answer's syntax that was refused: nobody knows where it ends, and what sent it is no HTTP server
/// or has been talked into lying.
[[nodiscard]] bool is_malformed(const std::error_code& error) noexcept;
/// What a wait of this client says when its own deadline has passed: neither the context's nor the kernel's patience.
[[nodiscard]] inline bool is_own_timeout(const std::error_code& error) noexcept {
  return error == std::make_error_code(std::errc::timed_out);
}
/// "head_timeout", …; "malformed" for the rules. For logs and labels.
[[nodiscard]] std::string_view token_of(client_errc code) noexcept;

}  // namespace fiberd::http

template <>
struct std::is_error_code_enum<fiberd::http::client_errc> : std::true_type {};
