#pragma once
// From rate_limit, concurrency and worker_pool in the configuration to gates with metrics.
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/http/gate.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"

namespace fiberd::daemon {

/// nullptr when `config` sets no limit. No wait is longer than `most_wait`. `handles` keep the metrics' callbacks: they
/// must go before the gate and before the registry. `route` is its label; "all" for a listener's own.
[[nodiscard]] std::shared_ptr<http::Gate> make_gate(const config::FlowConfig& config, const std::string& listener,
                                                    const std::string& route, std::chrono::nanoseconds most_wait,
                                                    metric::Registry& registry,
                                                    std::vector<metric::CallbackHandle>& handles);

/// Its rate limit, asked in the Poller about each connection of a listener (net::AcceptGate).
[[nodiscard]] net::AcceptGate accept_gate(http::Gate& gate) noexcept;

/// Tokens a second, and how many at once.
[[nodiscard]] double rate_of(const config::RateLimitConfig& config) noexcept;
[[nodiscard]] std::int64_t burst_of(const config::RateLimitConfig& config) noexcept;

}  // namespace fiberd::daemon
