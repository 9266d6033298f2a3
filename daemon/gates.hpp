#pragma once
// From rate_limit, concurrency and worker_pool in the configuration to gates with metrics; and which of them pass from
// one configuration to the next.
//
// The rule. A gate belongs to a place: a listener, and on it a route (host, path and methods) or all of them. If the
// next configuration has the same place with equal settings (every key of rate_limit, concurrency and worker_pool, and
// the time-out that bounds their waits), it gets the same gate: buckets are as full, places as taken, queues as long
// and workers as many as before. If anything differs it gets a new one, whose buckets are full and whose places are
// free, while the requests that have begun end in the old one: for that long there may be more of them in all than
// either allows. Metrics show for that long what both are and have: their bounds, places and queues are added up, and
// what was refused goes on being counted. A listener that comes back in a later configuration begins anew.
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/http/site/gate.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"

namespace fiberd::daemon {

/// The gates of one listener.
class Gates {
 public:
  Gates() = default;
  Gates(Gates&&) noexcept = default;
  Gates& operator=(Gates&&) noexcept = default;

  /// nullptr when `config` sets no limit. The one of `before` (may be null) by the rule above, or a new one. No wait is
  /// longer than `most_wait`. `route` is its label; "all" for a listener's own. Its metrics live as long as somebody
  /// has it, and its workers end with the last, who must be on a fiber then if there were any. Throws as Registry does.
  [[nodiscard]] std::shared_ptr<http::Gate> make(const config::FlowConfig& config, const std::string& listener,
                                                 const std::string& route, std::chrono::nanoseconds most_wait,
                                                 metric::Registry& registry, const Gates* before);

  /// Those that have workers: for who sees to it that the last of them goes on a fiber.
  [[nodiscard]] std::vector<std::shared_ptr<const void>> with_workers() const;

 private:
  struct Kept;
  std::map<std::string, std::shared_ptr<Kept>> by_route_;
};

/// Its rate limit, asked in the Poller about each connection of a listener (net::AcceptGate).
[[nodiscard]] net::AcceptGate accept_gate(http::Gate& gate) noexcept;

/// Tokens a second, and how many at once.
[[nodiscard]] double rate_of(const config::RateLimitConfig& config) noexcept;
[[nodiscard]] std::int64_t burst_of(const config::RateLimitConfig& config) noexcept;

}  // namespace fiberd::daemon
