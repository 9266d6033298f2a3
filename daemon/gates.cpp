#include "daemon/gates.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/observe/catalogue.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

using flow::errc;
using http::Gate;
using http::Limit;
using observe::register_metric;

double rate_of(const config::RateLimitConfig& c) noexcept { return static_cast<double>(c.per_hour) / 3600; }

std::int64_t burst_of(const config::RateLimitConfig& c) noexcept {
  if (c.burst != 0) return static_cast<std::int64_t>(c.burst);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(c.per_hour / 3600));
}

net::AcceptGate accept_gate(Gate& gate) noexcept {
  static constexpr auto kAdmit = [](void* argument, const net::Endpoint& client) noexcept {
    auto& g = *static_cast<Gate*>(argument);
    return !g.take_token({http::HeaderView(), g.wants_client() ? http::client_key(client) : 0});
  };
  return {kAdmit, &gate, gate.wants_client()};
}

static http::GateOptions options_of(const config::FlowConfig& config, std::chrono::nanoseconds most_wait) {
  http::GateOptions o;
  if (const auto& r = config.rate_limit)
    o.rate = http::GateRate{.rate = rate_of(*r),
                            .burst = burst_of(*r),
                            .key = static_cast<http::GateKey>(r->key),
                            .header = r->header,
                            .keys = r->keys,
                            .status = r->status,
                            .dry_run = r->dry_run};
  if (const auto& c = config.concurrency) {
    auto& out = o.concurrency.emplace();
    out.limiter.limit = c->limit;
    out.limiter.queue = c->queue;
    out.limiter.max_wait = std::min(c->max_wait, most_wait);
    out.limiter.codel = {c->target, c->interval};
    if (c->adaptive)
      out.limiter.adaptive = flow::GradientOptions{.least = c->adaptive->first, .most = c->adaptive->second};
    out.priority_header = c->priority_header;
    out.dry_run = c->dry_run;
  }
  if (const auto& p = config.worker_pool) {
    auto& out = o.worker_pool.emplace();
    out.pool.name = "http worker";
    out.pool.least = p->least;
    out.pool.most = p->workers;
    out.pool.idle = p->idle;
    out.pool.queue = p->queue;
    out.pool.max_wait = std::min(p->max_wait, most_wait);
    out.dry_run = p->dry_run;
  }
  return o;
}

static metric::Histogram& waits(metric::Leases& leases, const std::string& listener, const std::string& route,
                                Limit limit) {
  return leases.histogram(register_metric(leases.registry(), "fiberd_admission_wait_seconds"),
                          {listener, route, to_string(limit)});
}

/// What a limit may refuse for.
static std::span<const errc> reasons_of(Limit limit) noexcept {
  static constexpr errc kRate[] = {errc::rate_limited};
  static constexpr errc kConcurrency[] = {errc::concurrency_limited, errc::queue_full, errc::queue_timeout,
                                          errc::queue_overloaded, errc::displaced};
  static constexpr errc kPool[] = {errc::concurrency_limited, errc::queue_full, errc::queue_timeout, errc::no_worker};
  switch (limit) {
    case Limit::rate_limit: return kRate;
    case Limit::concurrency: return kConcurrency;
    case Limit::worker_pool: return kPool;
  }
  return {};
}

static void export_limit(const Gate& gate, Limit limit, const std::string& listener, const std::string& route,
                         metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  const std::string_view name = to_string(limit);
  metric::Family& refused = register_metric(registry, "fiberd_admission_refused_total");
  for (const errc reason : reasons_of(limit))
    leases.callback(refused, {listener, route, name, flow::token_of(reason), gate.dry_run(limit) ? "true" : "false"},
                    [&gate, limit, reason] { return static_cast<double>(gate.refused(limit, reason)); });
  if (limit == Limit::rate_limit) {
    if (gate.keyed() == nullptr) return;
    const flow::KeyedTokenBuckets& keyed = *gate.keyed();
    leases.callback(register_metric(registry, "fiberd_admission_keys"), {listener, route},
                    [&keyed] { return static_cast<double>(keyed.size()); });
    metric::Family& evicted = register_metric(registry, "fiberd_admission_keys_evicted_total");
    leases.callback(evicted, {listener, route, "false"},
                    [&keyed] { return static_cast<double>(keyed.evicted_full()); });
    leases.callback(evicted, {listener, route, "true"},
                    [&keyed] { return static_cast<double>(keyed.evicted_in_debt()); });
    return;
  }
  if (!gate.dry_run(limit))
    leases.callback(refused, {listener, route, name, "canceled", "false"},
                    [&gate, limit] { return static_cast<double>(gate.gave_up(limit)); });
  leases.callback(register_metric(registry, "fiberd_admission_queued"), {listener, route, name},
                  [&gate, limit] { return static_cast<double>(gate.queued(limit)); });
  leases.callback(register_metric(registry, "fiberd_admission_in_flight"), {listener, route, name},
                  [&gate, limit] { return static_cast<double>(gate.in_flight(limit)); });
  leases.callback(register_metric(registry, "fiberd_admission_limit"), {listener, route, name},
                  [&gate, limit] { return static_cast<double>(gate.bound(limit)); });
}

struct Gates::Kept {
  explicit Kept(metric::Registry& registry) noexcept : leases(registry) {}
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  ~Kept() {
    if (gate != nullptr && gate->has_pool() && runtime::on_fiber()) gate->stop();
  }
  config::FlowConfig config;
  std::chrono::nanoseconds most_wait{};
  std::unique_ptr<Gate> gate;
  metric::Leases leases;  // of what the gate counts and is asked for: callbacks go before it
};

std::shared_ptr<Gate> Gates::make(const config::FlowConfig& config, const std::string& listener,
                                  const std::string& route, std::chrono::nanoseconds most_wait,
                                  metric::Registry& registry, const Gates* before) {
  if (!config.any()) return nullptr;
  std::shared_ptr<Kept>& kept = by_route_[route];
  if (before != nullptr)
    if (const auto old = before->by_route_.find(route); old != before->by_route_.end())
      if (old->second->config == config && old->second->most_wait == most_wait) kept = old->second;
  if (kept == nullptr) {
    auto made = std::make_shared<Kept>(registry);
    made->config = config;
    made->most_wait = most_wait;
    http::GateOptions options = options_of(config, most_wait);
    if (options.concurrency && !options.concurrency->dry_run)
      options.concurrency->limiter.waits = &waits(made->leases, listener, route, Limit::concurrency);
    if (options.worker_pool && !options.worker_pool->dry_run)
      options.worker_pool->pool.waits = &waits(made->leases, listener, route, Limit::worker_pool);
    made->gate = std::make_unique<Gate>(options);
    for (const Limit limit : {Limit::rate_limit, Limit::concurrency, Limit::worker_pool})
      if (made->gate->has(limit)) export_limit(*made->gate, limit, listener, route, made->leases);
    kept = std::move(made);
  }
  return {kept, kept->gate.get()};
}

std::vector<std::shared_ptr<const void>> Gates::with_workers() const {
  std::vector<std::shared_ptr<const void>> all;
  for (const auto& [route, kept] : by_route_)
    if (kept != nullptr && kept->gate->has_pool()) all.push_back(kept);
  return all;
}

}  // namespace fiberd::daemon
