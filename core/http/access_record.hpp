#pragma once
// AccessRecord: one answer, as the access log is told of it.
#include <cstdint>
#include <string_view>

#include "core/http/message.hpp"
#include "core/net/endpoint.hpp"
#include "core/trace/ids.hpp"

namespace fiberd::net {
struct TlsPeer;
}

namespace fiberd::http {

/// What the access log is told of each answer. Views hold during the call only.
struct AccessRecord {
  const net::Endpoint* peer;  ///< nullptr when unknown
  std::string_view method;
  std::string_view target;
  std::string_view user_agent;
  std::string_view referer;
  std::string_view host;        ///< as the client asked for it, with its port
  std::string_view route;       ///< the route's label; empty: none served it
  std::string_view reason;      ///< why it was refused (reject.hpp); empty: it was not
  std::string_view protocol;    ///< "HTTP/1.1"
  std::string_view request_id;  ///< that the request_id filter gave; empty: none
  std::string_view user;        ///< whose password the basic_auth filter accepted; empty: nobody's
  trace::SpanContext trace;     ///< all zero: nothing is traced
  unsigned status;
  std::uint64_t body_bytes;      ///< of the answer
  std::uint64_t received_bytes;  ///< of the request's body
  std::uint64_t duration_ns;
  std::uint64_t head_ns;              ///< until the head of the answer was committed
  const net::TlsPeer* tls = nullptr;  ///< of the connection, as long as that lives; null: it is not encrypted
};

}  // namespace fiberd::http
