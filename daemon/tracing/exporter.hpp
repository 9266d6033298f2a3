#pragma once
// TraceExporter: takes spans out of the queue and brings them to the collector, from one fiber, batch by batch.
//
// Nobody waits for it: while the collector is absent, slow or talks nonsense, one batch is in its hands, the queue
// fills up to its bound, and what comes then is dropped by whoever brings it (core/trace/span_queue.hpp). What is given
// up is counted by why; the log says what is wrong once a minute.
//
// A try fails for now when nobody answers, or by 429, 502, 503 and 504 (OTLP/HTTP, "Failures"): then it is made again,
// after the time that Retry-After names, else after a pause that doubles, with a share of chance, so that daemons that
// lost their collector together do not come back together. After kTries the batch is given up, for newer ones wait. Any
// other status means that it will never be taken. What the collector rejects of a batch that it took (partialSuccess)
// is lost, and not sent again.
//
// The settings may change with each batch: a reload replaces them, and the batch that is being tried goes to where it
// was meant.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/tracing.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/context/context.hpp"
#include "core/http/client/client.hpp"
#include "core/metric/registry.hpp"
#include "core/sync/channel.hpp"
#include "core/trace/span_queue.hpp"
#include "daemon/tracing/collector_headers.hpp"
#include "daemon/tracing/otlp.hpp"

namespace fiberd::daemon {

/// Each may be null.
struct ExporterMetrics {
  metric::Counter* exported = nullptr;  ///< spans that the collector took
  // Spans that were lost:
  metric::Counter* rejected = nullptr;  ///< the collector will not have them
  metric::Counter* failed = nullptr;    ///< not delivered after kTries
  metric::Counter* stopped = nullptr;   ///< not delivered before the end
  // Tries, by how they ended:
  metric::Counter* tries_ok = nullptr;
  metric::Counter* tries_partial = nullptr;
  metric::Counter* tries_garbled = nullptr;  ///< taken, and what the collector said beside that was nothing
  metric::Counter* tries_later = nullptr;    ///< 429, 502, 503, 504
  metric::Counter* tries_rejected = nullptr;
  metric::Counter* tries_failed = nullptr;  ///< no connection, no answer in time, an answer that was none
};

class TraceExporter {
 public:
  static constexpr unsigned kTries = 5;
  static constexpr std::chrono::nanoseconds kFirstPause = std::chrono::seconds(1);
  static constexpr std::chrono::nanoseconds kLongestPause = std::chrono::seconds(30);
  static constexpr std::size_t kMostBatch = std::size_t{4} << 20U;    ///< bytes; collectors take 4 MiB at least
  static constexpr std::size_t kMostAnswer = std::size_t{64} << 10U;  ///< bytes that are read of an answer

  TraceExporter(std::shared_ptr<trace::SpanQueue> queue, const ExporterMetrics& metrics);
  TraceExporter(const TraceExporter&) = delete;
  TraceExporter& operator=(const TraceExporter&) = delete;

  /// Any thread. Throws std::bad_alloc.
  void use(const config::TracingConfig& config, CollectorHeaders headers,
           std::shared_ptr<const tls::ClientContext> tls = nullptr);
  /// Whether the last use() was told an endpoint. Any thread.
  [[nodiscard]] bool wanted() noexcept { return settings() != nullptr; }
  /// Sends until tracing is off, or finish() is called, and nothing waits; then the queue is closed. On a fiber of its
  /// own, one at a time. Throws std::bad_alloc at its beginning.
  void run();
  /// run() sends what waits, and ends. Any thread.
  void finish() noexcept;
  /// run() ends at once; what waits is lost, and counted. Any thread.
  void abandon() noexcept { life_.cancel(); }

 private:
  struct Settings {
    config::TracingConfig config;
    CollectorHeaders headers;
    std::shared_ptr<const tls::ClientContext> tls;  // null: as a client has it by itself
    OtlpEnvelope envelope;
  };
  enum class Outcome : std::uint8_t { taken, later, rejected };
  [[nodiscard]] std::shared_ptr<const Settings> settings() noexcept;
  void wake() noexcept;
  void wait(std::chrono::nanoseconds delay) noexcept;
  [[nodiscard]] trace::SpanQueue::List take(const Settings& settings) noexcept;
  void deliver(const Settings& settings, trace::SpanQueue::List& batch) noexcept;
  [[nodiscard]] Outcome attempt(const Settings& settings, const std::string& body, std::size_t spans,
                                std::chrono::nanoseconds& pause);
  void read(http::ClientResponse& answer, const context::Context& ctx, const Settings& settings,
            std::size_t spans) noexcept;
  void close_queue() noexcept;
  void warn(const Settings& settings, LogLimit& limit, const std::string& what);

  const std::shared_ptr<trace::SpanQueue> queue_;
  const ExporterMetrics metrics_;
  const context::Cancelable life_ = context::with_cancel(context::background());
  std::atomic<bool> finishing_{false};
  sync::Channel<char> wake_{1};
  Lock lock_;
  std::shared_ptr<const Settings> settings_ FIBERD_GUARDED_BY(lock_);
  // That it is not there for now must not keep back what it said when it was.
  LogLimit limit_{60'000'000'000};
  LogLimit limit_of_words_{60'000'000'000};
  http::Client* client_ = nullptr;  // while run() does
};

/// How long a collector asks to wait; nothing where it does not say so in a way that is understood (RFC 9110 section
/// 10.2.3: seconds, or a date). Never negative.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view text, std::time_t now) noexcept;

}  // namespace fiberd::daemon
