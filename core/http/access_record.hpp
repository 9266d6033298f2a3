#pragma once
// AccessRecord: one answer, as the access log is told of it.
#include <cstdint>
#include <string_view>

#include "core/http/message.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::http {

/// What the access log is told of each answer. Views hold during the call only.
struct AccessRecord {
  const net::Endpoint* peer;  ///< nullptr when unknown
  std::string_view method;
  std::string_view target;
  std::string_view user_agent;
  std::string_view referer;
  Version version;
  unsigned status;
  std::uint64_t body_bytes;
  std::uint64_t duration_ns;
};

}  // namespace fiberd::http
