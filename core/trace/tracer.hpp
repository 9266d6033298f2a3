#pragma once
// Tracer: which traces are kept, and where their spans go. One for each configuration; sites share it.
//
// When it is decided. At the request's beginning, by its caller's word (`parent`) or by a share of all (`ratio`): what
// we call is told so, and does as we do. And at its end, when it has failed or took long (`errors`, `slow`): then the
// spans of this process alone are kept, for the others' are gone. For that they are held until then: so many spans of a
// request, and all within the queue's bound.
//
// How many there can be is bounded by `per_second`, whoever asks for it: a client that says `sampled` with each
// request, or one that has each of them fail, costs no more than that. Who comes beyond it is not sampled, and told on
// as such.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "core/base/thread_locals.hpp"
#include "core/metric/metrics.hpp"
#include "core/trace/ids.hpp"
#include "core/trace/span_queue.hpp"

namespace fiberd::trace {

struct TracerOptions {
  double ratio = 0.01;               ///< of the traces that begin here, 0 … 1
  bool parent = true;                ///< a caller that says whether he samples decides
  bool errors = true;                ///< requests answered 5xx
  std::chrono::nanoseconds slow{0};  ///< requests that took so long; 0: none is slow
  std::uint32_t per_second = 1000;   ///< traces that are kept in a second, at most; 0: no bound
  std::uint32_t spans = 128;         ///< of one request that are held until its end
};

/// Each may be null (not counted).
struct TracerMetrics {
  // Traces that were kept, by why:
  metric::Counter* by_ratio = nullptr;
  metric::Counter* by_parent = nullptr;
  metric::Counter* by_error = nullptr;
  metric::Counter* by_slow = nullptr;
  metric::Counter* over_rate = nullptr;  ///< traces that were not kept: TracerOptions::per_second
  metric::Counter* invalid = nullptr;    ///< traceparent fields that were none
  // Spans that were lost:
  metric::Counter* no_room = nullptr;   ///< the queue was full
  metric::Counter* too_many = nullptr;  ///< TracerOptions::spans
};

/// All members: any thread; none parks.
class Tracer {
 public:
  Tracer(const TracerOptions& options, std::shared_ptr<SpanQueue> queue, const TracerMetrics& metrics = {}) noexcept;
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  [[nodiscard]] const TracerOptions& options() const noexcept { return options_; }
  [[nodiscard]] const TracerMetrics& metrics() const noexcept { return metrics_; }
  [[nodiscard]] SpanQueue& queue() const noexcept { return *queue_; }

  /// Whether a trace that begins here now is to be sampled: what make_id() is told.
  [[nodiscard]] bool draw() const noexcept {
    // Of a shard that two threads share one step may be lost: the share is no promise to so many digits.
    std::atomic<std::int64_t>& amount = left_[thread_locals()->shard % kCells].amount;
    const std::int64_t left = amount.load(std::memory_order_relaxed) - step_;
    if (left <= 0) [[unlikely]]
      return draw_anew(amount, left);
    amount.store(left, std::memory_order_relaxed);
    return false;
  }
  /// An id for which by_ratio() says what draw() has said.
  [[nodiscard]] TraceId make_id(bool sampled) const noexcept;
  /// Whether a trace of which nobody has decided yet is sampled. By the id's lower half, so that all who ask about one
  /// trace say the same.
  [[nodiscard]] bool by_ratio(TraceId id) const noexcept { return id.low < below_ || below_ == UINT64_MAX; }
  /// Whether a trace that is not sampled may still be kept at its end.
  [[nodiscard]] bool may_keep() const noexcept { return options_.errors || options_.slow.count() != 0; }
  /// The same, of one that ended so.
  [[nodiscard]] bool may_keep(unsigned status, std::uint64_t duration_ns) const noexcept {
    return status >= failing_ || duration_ns >= slow_;
  }
  /// Whether one more may be kept in the second of `now` (monotonic ns). Whoever is told no counts it, once for a
  /// trace: TracerMetrics::over_rate.
  [[nodiscard]] bool admit(std::int64_t now) const noexcept;

 private:
  static constexpr std::size_t kCells = 64;
  struct alignas(64) Left {
    std::atomic<std::int64_t> amount{0};  // 0: nothing was drawn yet
  };
  [[nodiscard]] bool draw_anew(std::atomic<std::int64_t>& amount, std::int64_t left) const noexcept;

  const TracerOptions options_;
  const std::shared_ptr<SpanQueue> queue_;
  const TracerMetrics metrics_;
  const std::uint64_t below_;
  const std::int64_t step_;   // of kUnit, for each trace
  const unsigned failing_;    // the lowest status that may be kept for it
  const std::uint64_t slow_;  // ns
  mutable std::array<Left, kCells> left_{};
  mutable std::atomic<std::int64_t> second_{0};
  mutable std::atomic<std::uint32_t> kept_{0};  // in it
};

}  // namespace fiberd::trace
