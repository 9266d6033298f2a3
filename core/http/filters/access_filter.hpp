#pragma once
// Who may come, by address: allow and deny lists.
#include <memory>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/address_ranges.hpp"

namespace fiberd::http {

struct AccessOptions {
  net::AddressRanges allow;  ///< empty: everybody but `deny`
  net::AddressRanges deny;   ///< wins over `allow`
  metric::Counter* refused = nullptr;
};
/// Others get 403. The address is Exchange::peer(): behind trusted proxies the real one, if their filter stands before.
/// A client whose address is not known is in no list: where there is an `allow` list, it is refused. Throws
/// std::bad_alloc.
[[nodiscard]] std::shared_ptr<Filter> make_access_filter(AccessOptions options);

}  // namespace fiberd::http
