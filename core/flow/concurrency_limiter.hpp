#pragma once
// ConcurrencyLimiter: so many at once; others wait in a bounded queue or are refused. The limit is fixed, or follows
// the latency (gradient_limit.hpp).
//
// The queue. Places that come free go to the most important who waits, and among equals to who came first. Whoever
// waits longer than max_wait is refused (queue_timeout); a queue that stands is thinned out by CoDel (codel.hpp, one
// per priority: queue_overloaded), so that in a lasting overload those who are served have not used up their time by
// waiting. When the queue is full the newest of the least important is turned out (displaced) for somebody more
// important; otherwise the newcomer is refused (queue_full).
//
// Invariant: nobody waits while a place is free. Each waiter has one outcome, set under the lock by whoever takes it
// out of the queue: the one that grants, drops or displaces it, or itself when its time or its context ends; so a place
// that is granted to a waiter at the moment it gives up is taken, not lost.
//
//   Result<flow::Permit> permit = limiter.acquire(ctx);
//   if (!permit) return permit.error();      // flow::errc, or the context's
//   … work …                                 // the permit's end reports its latency and frees the place
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/flow/codel.hpp"
#include "core/flow/gradient_limit.hpp"
#include "core/flow/priority.hpp"
#include "core/flow/refusals.hpp"
#include "core/metric/metrics.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::flow {

struct ConcurrencyLimiterOptions {
  std::uint32_t limit = 100;                     ///< at once; with `adaptive`: to begin with. 0 admits nobody
  std::uint32_t queue = 0;                       ///< that may wait; 0: nobody
  std::chrono::nanoseconds max_wait{INT64_MAX};  ///< in the queue
  CoDelOptions codel{};                          ///< of the queue; target 0: off
  std::optional<GradientOptions> adaptive{};
  metric::Histogram* waits = nullptr;  ///< ns that those waited who were granted a place after waiting
};

class ConcurrencyLimiter;

/// A place. Given back, with what it tells the limiter, when it goes. Must not outlive its limiter.
class [[nodiscard]] Permit {
 public:
  Permit() noexcept = default;
  Permit(Permit&& o) noexcept
      : limiter_(std::exchange(o.limiter_, nullptr)),
        begin_(o.begin_),
        in_flight_(o.in_flight_),
        outcome_(o.outcome_) {}
  Permit& operator=(Permit&& o) noexcept {
    if (this != &o) {
      release();
      limiter_ = std::exchange(o.limiter_, nullptr);
      begin_ = o.begin_;
      in_flight_ = o.in_flight_;
      outcome_ = o.outcome_;
    }
    return *this;
  }
  ~Permit() { release(); }

  explicit operator bool() const noexcept { return limiter_ != nullptr; }
  /// The latency says nothing about load (a mistake of the caller's, answered at once).
  void ignore() noexcept { outcome_ = Outcome::ignored; }
  /// It failed because something was overloaded (a time-out, a refusal further on).
  void overloaded() noexcept { outcome_ = Outcome::overloaded; }
  void release() noexcept;

 private:
  friend class ConcurrencyLimiter;
  enum class Outcome : std::uint8_t { success, ignored, overloaded };
  Permit(ConcurrencyLimiter& limiter, std::int64_t begin, std::uint32_t in_flight) noexcept
      : limiter_(&limiter), begin_(begin), in_flight_(in_flight) {}
  ConcurrencyLimiter* limiter_ = nullptr;
  std::int64_t begin_ = 0;
  std::uint32_t in_flight_ = 0;
  Outcome outcome_ = Outcome::success;
};

/// All members are thread-safe; only acquire() parks. It must outlive its permits and whoever waits.
class ConcurrencyLimiter {
 public:
  explicit ConcurrencyLimiter(const ConcurrencyLimiterOptions& options) noexcept;
  ~ConcurrencyLimiter();
  ConcurrencyLimiter(const ConcurrencyLimiter&) = delete;
  ConcurrencyLimiter& operator=(const ConcurrencyLimiter&) = delete;

  /// A place, at once or after waiting for it. Only on a fiber. Errors: concurrency_limited (no queue), queue_full,
  /// queue_timeout, queue_overloaded, displaced; the context's.
  [[nodiscard]] Result<Permit> acquire(const context::Context& ctx, Priority priority = Priority::normal);
  [[nodiscard]] Result<Permit> acquire(Priority priority = Priority::normal) {
    return acquire(context::background(), priority);
  }
  /// A place that is free now, else an empty permit: nothing is counted then. Anywhere, also off fibers.
  [[nodiscard]] Permit try_acquire() noexcept;
  /// As acquire() would refuse at this moment, without waiting: counted, and the reason; success: a place or room in
  /// the queue is there (it may be gone again when acquire() asks). Anywhere.
  [[nodiscard]] Result<void> check(Priority priority = Priority::normal) noexcept;
  /// A place beyond every limit, for who only wants to know what would happen: `refused` says whether acquire() would
  /// have refused at once (counted), supposing that as many wait as are over the limit.
  [[nodiscard]] Permit admit_anyway(std::error_code& refused) noexcept;

  [[nodiscard]] std::uint32_t limit() const noexcept { return limit_now_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint32_t in_flight() const noexcept;
  [[nodiscard]] std::uint32_t queued() const noexcept;
  [[nodiscard]] const RefusalCounts& refusals() const noexcept { return refusals_; }
  /// Whose context was done while they waited.
  [[nodiscard]] std::uint64_t gave_up() const noexcept { return gave_up_.load(std::memory_order_relaxed); }

 private:
  friend class Permit;
  enum class Fate : std::uint8_t { waits, granted, overloaded, displaced };
  struct Waiter : ListHook {
    runtime::Ticket ticket;
    std::int64_t since = 0;
    std::uint32_t in_flight = 0;
    Priority priority = Priority::normal;
    Fate fate = Fate::waits;
  };
  static constexpr std::size_t kBatch = 16;
  using Batch = std::array<runtime::Ticket, kBatch>;

  [[nodiscard]] Permit make_permit(std::int64_t now) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] Waiter* least_important_below(Priority priority) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] std::optional<errc> refusal(Priority priority) noexcept FIBERD_REQUIRES(lock_);
  void take_out(Waiter& w, Fate fate) noexcept FIBERD_REQUIRES(lock_);
  std::size_t dispatch(std::int64_t now, Batch& batch) noexcept FIBERD_REQUIRES(lock_);
  void release(const Permit& permit) noexcept;
  void give_back(const Permit& permit, std::int64_t now) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] Result<Permit> finish_wait(Waiter& w, std::error_code how);

  const ConcurrencyLimiterOptions options_;
  mutable Lock lock_;
  std::uint32_t limit_ FIBERD_GUARDED_BY(lock_);
  std::uint32_t in_flight_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint32_t queued_ FIBERD_GUARDED_BY(lock_) = 0;
  std::array<List<Waiter>, kPriorities> waiters_ FIBERD_GUARDED_BY(lock_);
  std::array<CoDel, kPriorities> codel_ FIBERD_GUARDED_BY(lock_);
  std::optional<GradientLimit> gradient_;  // used under lock_; whether it is there never changes
  std::atomic<std::uint32_t> limit_now_;
  std::atomic<std::uint64_t> gave_up_{0};
  RefusalCounts refusals_;
};

inline void Permit::release() noexcept {
  if (ConcurrencyLimiter* const l = std::exchange(limiter_, nullptr)) l->release(*this);
}

}  // namespace fiberd::flow
