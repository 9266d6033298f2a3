#pragma once
// The profiles that are sampled all the time (heap, allocs, block, mutex): how much they look at, by the configuration
// and by POST /debug/pprof/rates. Their pages are profile_pages.hpp's.
#include <vector>

#include "config/config.hpp"
#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "daemon/admin/profile_pages.hpp"

namespace fiberd::daemon {

/// What the configuration says, from now on. If this build sees no allocations, heap_rate does nothing.
void use_profile_rates(const config::ProfilesConfig& rates) noexcept;

/// heap, allocs, block and mutex.
void add_sampled_profiles(std::vector<ProfileSource>& to);

/// POST /debug/pprof/rates?heap=512KiB&block=100us&mutex=10, each of them if it stands there: until the next reload or
/// restart. Answers the rates that are in force then. 400: what is wrong, and nothing has changed; 501: heap, where
/// this build sees no allocations; 403: it comes from a browser.
[[nodiscard]] http::Route rates_route();

/// Samples taken, and lost for want of room.
[[nodiscard]] std::vector<metric::CallbackHandle> register_profile_metrics(metric::Registry& registry);

}  // namespace fiberd::daemon
