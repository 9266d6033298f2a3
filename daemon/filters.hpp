#pragma once
// The filters of a listener or a route, made of what was configured, in the order written.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/http/filter.hpp"
#include "daemon/filter_metrics.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon {

struct FilterSurroundings {
  /// A filter of the program's own; nullptr: there is none of that name. Empty: the program has none.
  std::function<std::shared_ptr<http::Filter>(std::string_view)> named{};
  FilterMetrics metrics{};
};

/// Makes them; reads password files. What is wrong is added to `flaws`, with its place; then the result is not to be
/// used. Throws std::bad_alloc.
[[nodiscard]] std::vector<std::shared_ptr<http::Filter>> make_filters(const std::vector<config::FilterConfig>& filters,
                                                                      const FilterSurroundings& with,
                                                                      std::vector<Flaw>& flaws);

/// For SiteOptions::outermost: who the client is behind `trusted`; nullptr when there is nothing to be believed.
[[nodiscard]] std::shared_ptr<http::Filter> make_client_address_filter(const config::PlacedTexts& trusted,
                                                                       config::ForwardedHeader field,
                                                                       std::vector<Flaw>& flaws);

}  // namespace fiberd::daemon
