#pragma once
// What the filters of one listener count with.
#include <memory>
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
  std::shared_ptr<const void> keeps{};  ///< the leases: for what counts beside its request
};
/// Valid as long as the leases.
[[nodiscard]] FilterMetrics make_filter_metrics(const std::string& listener,
                                                const std::shared_ptr<metric::Leases>& leases);

}  // namespace fiberd::daemon
