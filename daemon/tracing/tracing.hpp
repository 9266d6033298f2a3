#pragma once
// Tracing: of the process, over all configurations: the queue, who empties it, and the tracer of each configuration.
#include <atomic>
#include <cstdint>
#include <memory>

#include "config/tracing.hpp"
#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"
#include "core/trace/source.hpp"
#include "core/trace/tracer.hpp"
#include "daemon/tracing/exporter.hpp"

namespace fiberd::daemon {

class Tracing {
 public:
  /// Throws as Registry does. `registry` outlives it.
  explicit Tracing(metric::Registry& registry);
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

  /// What sites of this configuration trace with; null: they do not. The same for equal settings, so that a reload does
  /// not let twice as many traces pass. Any thread. Throws std::bad_alloc.
  [[nodiscard]] std::shared_ptr<const trace::Tracer> tracer_for(const config::TracingConfig& config);
  /// How traces begin that no request has begun: what use() was told last. For contexts (trace::kSource).
  [[nodiscard]] const std::shared_ptr<const trace::Source>& source() const noexcept { return readable_source_; }
  /// From now on spans go there. On a fiber. Throws std::bad_alloc.
  void use(const config::TracingConfig& config, const CollectorHeaders& headers,
           const std::shared_ptr<const tls::ClientContext>& tls = nullptr);
  /// Sends what waits, until `deadline` (monotonic ns, which may be moved meanwhile; 0: not at all), and no longer than
  /// tracing.timeout. On a fiber.
  void stop(const std::atomic<std::int64_t>& deadline) noexcept;

 private:
  const std::shared_ptr<trace::SpanQueue> queue_;
  trace::TracerMetrics metrics_;
  metric::CallbackHandle queued_;
  const std::shared_ptr<trace::Source> source_ = std::make_shared<trace::Source>();
  const std::shared_ptr<const trace::Source> readable_source_ = source_;
  Lock lock_;
  config::TracingConfig latest_config_ FIBERD_GUARDED_BY(lock_);
  std::weak_ptr<const trace::Tracer> latest_ FIBERD_GUARDED_BY(lock_);
  std::unique_ptr<TraceExporter> exporter_;
  std::atomic<bool> running_{false};  // the fiber
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> patience_{0};  // ns, of a stop
};

}  // namespace fiberd::daemon
