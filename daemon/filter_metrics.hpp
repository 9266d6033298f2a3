#pragma once
// What the filters of one listener count with.
#include <string>

#include "core/http/filters/basic_auth_filter.hpp"
#include "core/http/filters/compression_filter.hpp"
#include "core/http/filters/cors_filter.hpp"
#include "core/metric/registry.hpp"

namespace fiberd::daemon {

/// Each may be null.
struct FilterMetrics {
  metric::Counter* denied = nullptr;  ///< by allow and deny
  http::BasicAuthMetrics basic_auth{};
  http::CorsMetrics cors{};
  http::CompressionMetrics compression{};
};
/// Valid as long as the leases.
[[nodiscard]] FilterMetrics make_filter_metrics(const std::string& listener, metric::Leases& leases);

}  // namespace fiberd::daemon
