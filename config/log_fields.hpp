#pragma once
// The fields that a template of an access log may name: `${client} ${status} ${duration}`. One that is empty is "-" in
// a line, unless it stands next to another one.
#include <array>
#include <cstdint>
#include <string_view>

#include "core/base/variable_names.hpp"

namespace fiberd::config {

enum class LogField : std::uint8_t {
  time,          ///< RFC 3339, UTC, milliseconds
  listener,      ///< its name
  client,        ///< the client's address without its port; behind trusted proxies the real one
  host,          ///< as the client asked for it
  method,        ///< "GET"
  target,        ///< path and query as sent
  path,          ///< of the target, as sent
  query,         ///< of the target, with its '?'; empty without one
  protocol,      ///< "HTTP/1.1"
  route,         ///< its path as configured; empty: none served it
  status,        ///< of the answer
  bytes_in,      ///< of the request's body
  bytes_out,     ///< of the answer's body
  duration,      ///< seconds, with microseconds
  time_to_head,  ///< seconds until the head of the answer was committed, with microseconds
  request_id,    ///< empty without the filter request_id
  reason,        ///< why it was refused; empty: it was not
  referer,       ///< the field Referer
  user_agent,    ///< the field User-Agent
  user,          ///< whose password basic_auth accepted
  trace_id,      ///< of the request's trace; empty where nothing is traced
  span_id,       ///< of the request's span in it
  // As the request variables of these names; empty where the connection is not encrypted.
  tls_version,
  tls_cipher,
  tls_server_name,
  client_cert_verified,
  client_cert_subject,
  client_cert_names,
  client_cert_fingerprint
};

/// In LogField's order.
inline constexpr std::array<VariableName, 29> kLogFields{{
    {"time", static_cast<std::uint8_t>(LogField::time)},
    {"listener", static_cast<std::uint8_t>(LogField::listener)},
    {"client", static_cast<std::uint8_t>(LogField::client)},
    {"host", static_cast<std::uint8_t>(LogField::host)},
    {"method", static_cast<std::uint8_t>(LogField::method)},
    {"target", static_cast<std::uint8_t>(LogField::target)},
    {"path", static_cast<std::uint8_t>(LogField::path)},
    {"query", static_cast<std::uint8_t>(LogField::query)},
    {"protocol", static_cast<std::uint8_t>(LogField::protocol)},
    {"route", static_cast<std::uint8_t>(LogField::route)},
    {"status", static_cast<std::uint8_t>(LogField::status)},
    {"bytes_in", static_cast<std::uint8_t>(LogField::bytes_in)},
    {"bytes_out", static_cast<std::uint8_t>(LogField::bytes_out)},
    {"duration", static_cast<std::uint8_t>(LogField::duration)},
    {"time_to_head", static_cast<std::uint8_t>(LogField::time_to_head)},
    {"request_id", static_cast<std::uint8_t>(LogField::request_id)},
    {"reason", static_cast<std::uint8_t>(LogField::reason)},
    {"referer", static_cast<std::uint8_t>(LogField::referer)},
    {"user_agent", static_cast<std::uint8_t>(LogField::user_agent)},
    {"user", static_cast<std::uint8_t>(LogField::user)},
    {"trace_id", static_cast<std::uint8_t>(LogField::trace_id)},
    {"span_id", static_cast<std::uint8_t>(LogField::span_id)},
    {"tls_version", static_cast<std::uint8_t>(LogField::tls_version)},
    {"tls_cipher", static_cast<std::uint8_t>(LogField::tls_cipher)},
    {"tls_server_name", static_cast<std::uint8_t>(LogField::tls_server_name)},
    {"client_cert_verified", static_cast<std::uint8_t>(LogField::client_cert_verified)},
    {"client_cert_subject", static_cast<std::uint8_t>(LogField::client_cert_subject)},
    {"client_cert_names", static_cast<std::uint8_t>(LogField::client_cert_names)},
    {"client_cert_fingerprint", static_cast<std::uint8_t>(LogField::client_cert_fingerprint)},
}};

}  // namespace fiberd::config
