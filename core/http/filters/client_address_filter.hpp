#pragma once
// The client's address behind trusted proxies, for all that comes behind: SiteOptions::outermost.
#include <memory>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/forwarded.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/address_ranges.hpp"

namespace fiberd::http {

struct ClientAddressOptions {
  net::AddressRanges trusted;  ///< proxies whose word counts
  ForwardedField field = ForwardedField::x_forwarded_for;
  metric::Counter* told = nullptr;  ///< requests whose client a trusted proxy told
};
/// Sets Exchange::peer() to whoever client_address() says, and leaves the slot ViaProxy for requests of trusted
/// proxies. Throws std::bad_alloc.
[[nodiscard]] std::shared_ptr<Filter> make_client_address_filter(ClientAddressOptions options);

}  // namespace fiberd::http
