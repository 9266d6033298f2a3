#pragma once
// A name for each request.
#include <memory>
#include <string>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/filters/request_id.hpp"
#include "core/net/address_ranges.hpp"

namespace fiberd::http {

struct RequestIdOptions {
  /// The field that carries it, in requests of trusted peers and in answers.
  std::string field = "X-Request-Id";
  /// Whose ids are taken over: peers, or proxies that the client_address filter knows. Empty: nobody's.
  net::AddressRanges trusted{};
  bool trust_proxies = false;  ///< those that left the slot ViaProxy
  bool answer = true;          ///< say it to the client too
};
/// Leaves the id in the slot RequestId: taken over from a trusted peer where is_request_id() holds, else 128 random
/// bits (not secret). Errors: invalid_argument (not a field that can be written). Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Filter>> make_request_id_filter(RequestIdOptions options);

}  // namespace fiberd::http
