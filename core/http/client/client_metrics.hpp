#pragma once
// What a client counts. Each may be null (not counted). A connection that the Poller closes just when the client dies
// is counted a moment later: they must outlive the client's runtime, or be owned by `keeps`.
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <system_error>

#include "core/metric/metrics.hpp"

namespace fiberd::http {

/// Why a request has failed, in words few enough for a label.
enum class ClientFailure : std::uint8_t {
  request,    ///< it cannot be sent: URL, scheme, a field, its body
  resolve,    ///< the name has no address
  connect,    ///< no address took a connection, or not in time
  tls,        ///< the handshake failed, or the server's certificate was not believed
  wait,       ///< no connection was free: too many wait, or for too long
  write,      ///< the server did not take the request
  closed,     ///< the connection ended before an answer, or was reset in it
  truncated,  ///< the answer broke off
  timeout,    ///< the answer did not come, or not on, in time
  malformed,  ///< the answer was refused
  too_large,  ///< the answer exceeds a limit
  canceled,   ///< the context was cancelled
  deadline,   ///< the context's deadline passed
  other,
  count_
};
[[nodiscard]] std::string_view token_of(ClientFailure failure) noexcept;

struct ClientMetrics {
  metric::Counter* requests = nullptr;    ///< begun, those that failed at once included
  metric::Counter* opened = nullptr;      ///< connections made
  metric::Counter* reused = nullptr;      ///< requests that went over a connection that was there
  metric::Counter* stolen = nullptr;      ///< of these, from another Processor's shelf
  metric::Counter* retried = nullptr;     ///< requests sent again since their kept connection had ended
  metric::Counter* waited = nullptr;      ///< requests that had to wait for a connection
  metric::Counter* handshakes = nullptr;  ///< TLS handshakes that went well
  metric::Counter* resumed = nullptr;     ///< of these, by a session of an earlier one
  // Idle connections that were closed:
  metric::Counter* idle_ended = nullptr;    ///< the server ended it, or sent what nobody asked for
  metric::Counter* idle_timeout = nullptr;  ///< idle for too long
  metric::Gauge* idle = nullptr;            ///< connections that are kept now
  metric::Gauge* connections = nullptr;     ///< all there are now
  std::array<metric::Counter*, static_cast<std::size_t>(ClientFailure::count_)> failures{};
  std::shared_ptr<const void> keeps{};  ///< lives as long as anything is counted
};

}  // namespace fiberd::http
