#include "daemon/tracing/tracing.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

using observe::register_metric;

static trace::TracerMetrics tracer_metrics(metric::Registry& registry) {
  metric::Family& kept = register_metric(registry, "fiberd_tracing_traces_total");
  metric::Family& dropped = register_metric(registry, "fiberd_tracing_spans_dropped_total");
  return {.by_ratio = &registry.counter(kept, {"ratio"}),
          .by_parent = &registry.counter(kept, {"parent"}),
          .by_error = &registry.counter(kept, {"error"}),
          .by_slow = &registry.counter(kept, {"slow"}),
          .over_rate = &registry.counter(register_metric(registry, "fiberd_tracing_traces_refused_total")),
          .invalid = &registry.counter(register_metric(registry, "fiberd_tracing_invalid_contexts_total")),
          .no_room = &registry.counter(dropped, {"queue"}),
          .too_many = &registry.counter(dropped, {"request"})};
}

static ExporterMetrics exporter_metrics(metric::Registry& registry) {
  metric::Family& dropped = register_metric(registry, "fiberd_tracing_spans_dropped_total");
  metric::Family& tries = register_metric(registry, "fiberd_tracing_exports_total");
  return {.exported = &registry.counter(register_metric(registry, "fiberd_tracing_spans_exported_total")),
          .rejected = &registry.counter(dropped, {"rejected"}),
          .failed = &registry.counter(dropped, {"undelivered"}),
          .stopped = &registry.counter(dropped, {"stopped"}),
          .tries_ok = &registry.counter(tries, {"ok"}),
          .tries_partial = &registry.counter(tries, {"partial"}),
          .tries_garbled = &registry.counter(tries, {"garbled"}),
          .tries_later = &registry.counter(tries, {"later"}),
          .tries_rejected = &registry.counter(tries, {"rejected"}),
          .tries_failed = &registry.counter(tries, {"failed"})};
}

Tracing::Tracing(metric::Registry& registry)
    : queue_(std::make_shared<trace::SpanQueue>(config::TracingConfig().queue)),
      metrics_(tracer_metrics(registry)),
      queued_(registry.callback(register_metric(registry, "fiberd_tracing_queue_bytes"), {},
                                [queue = queue_] { return static_cast<double>(queue->held()); })),
      exporter_(std::make_unique<TraceExporter>(queue_, exporter_metrics(registry))) {}

std::shared_ptr<const trace::Tracer> Tracing::tracer_for(const config::TracingConfig& c) {
  if (!c.on()) return nullptr;
  auto made = std::make_shared<const trace::Tracer>(trace::TracerOptions{.ratio = c.ratio,
                                                                         .parent = c.parent,
                                                                         .errors = c.errors,
                                                                         .slow = c.slow,
                                                                         .per_second = c.per_second,
                                                                         .spans = c.spans},
                                                    queue_, metrics_);
  config::TracingConfig copy = c;
  const LockGuard guard(lock_);
  if (std::shared_ptr<const trace::Tracer> there = latest_.lock(); there != nullptr && latest_config_ == c)
    return there;
  std::swap(latest_config_, copy);
  latest_ = made;
  return made;
}

void Tracing::use(const config::TracingConfig& config, const CollectorHeaders& headers,
                  const std::shared_ptr<const tls::ClientContext>& tls) {
  std::shared_ptr<const trace::Tracer> tracer = tracer_for(config);
  exporter_->use(config, headers, tls);
  source_->set(std::move(tracer));
  patience_.store(config.timeout.count(), std::memory_order_relaxed);
  if (!config.on() || stopping_.load() || running_.exchange(true)) return;
  const auto run = [this] {
    do {
      try {
        exporter_->run();
      } catch (const std::bad_alloc&) {
        (void)runtime::sleep_for(std::chrono::seconds(1));
      }
      running_.store(false);
      // Turned on again while this one came to its end: whoever did so saw it running.
    } while (exporter_->wanted() && !stopping_.load() && !running_.exchange(true));
  };
  if (const Result<void> begun = runtime::spawn_reserved(fiber::StackClaim::finish, "tracing", run); !begun) {
    running_.store(false, std::memory_order_release);
    log(LogLevel::error, "tracing: no fiber to send spans from: " + begun.error().message());
  }
}

void Tracing::stop(const std::atomic<std::int64_t>& deadline) noexcept {
  static constexpr std::chrono::milliseconds kLook{2};
  static constexpr std::chrono::milliseconds kLeast{250};  // also where connections took all the time there was
  stopping_.store(true);
  exporter_->finish();
  const std::int64_t now = monotonic_now();
  const std::int64_t own = time_after(now, std::chrono::nanoseconds(patience_.load()));
  while (running_.load()) {
    const std::int64_t until = deadline.load(std::memory_order_acquire);
    if (until == 0 || monotonic_now() >= std::min(own, std::max(until, time_after(now, kLeast)))) exporter_->abandon();
    (void)runtime::sleep_for(kLook);
  }
}

}  // namespace fiberd::daemon
