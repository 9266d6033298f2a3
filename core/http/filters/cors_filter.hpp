#pragma once
// Cross-origin resource sharing.
#include <memory>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/filters/cors_policy.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

struct CorsMetrics {
  metric::Counter* preflights = nullptr;  ///< answered yes
  metric::Counter* refused = nullptr;     ///< preflights answered no
};
/// Answers preflights itself: 204, or 403 with a text that says what was not allowed. Other answers get the policy's
/// fields in place of those that the handler gave. A listener's filter sees every preflight; one of a route sees those
/// about requests that the route would serve. Throws std::bad_alloc.
[[nodiscard]] std::shared_ptr<Filter> make_cors_filter(CorsPolicy policy, CorsMetrics metrics = {});

}  // namespace fiberd::http
