#pragma once
// CircuitBreaker: stops asking what keeps failing (Nygard, Release It!, 2007).
//
//   closed ──failure_ratio in the window, or consecutive_failures in a row──▶ open
//   open ──open_for has passed──▶ half-open: up to `probes` calls at once are let through, everybody else is refused
//   half-open ──`probes` successes──▶ closed · ──one failure──▶ open again, for twice as long (at most open_for_most)
//
// The window is a ring of ten slices; what is older than `window` is forgotten slice by slice. A call reports by its
// Call object, once; what a call reports that began before the last change of state is ignored, so stragglers of the
// bad time neither open a breaker that has just closed nor close one that is being probed. A Call that dies without a
// report counts as nothing (and gives its probe's place back): the caller left before there was an answer.
//
//   Result<flow::CircuitBreaker::Call> call = breaker.begin();
//   if (!call) return call.error();                          // flow::errc::circuit_open
//   const auto answer = ask(ctx);
//   answer ? call->succeeded() : call->failed();
//
// The clock is base's seam (monotonic_now). A closed breaker costs one uncontended lock a report.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/flow/errc.hpp"

namespace fiberd::flow {

struct CircuitBreakerOptions {
  std::chrono::nanoseconds window = std::chrono::seconds(10);        ///< ≥ 10 ns
  double failure_ratio = 0.5;                                        ///< of the window's calls; > 1: never by ratio
  std::uint64_t least_calls = 20;                                    ///< in the window, before the ratio counts
  std::uint64_t consecutive_failures = 0;                            ///< 0: not by a row of failures
  std::chrono::nanoseconds open_for = std::chrono::seconds(5);       ///< before the first probe
  std::chrono::nanoseconds open_for_most = std::chrono::seconds(5);  ///< after probes that failed; ≥ open_for
  std::uint32_t probes = 1;                                          ///< at once, and successes to close; ≥ 1
};

/// All members are thread-safe and never park.
class CircuitBreaker {
 public:
  enum class State : std::uint8_t { closed, open, half_open };

  /// A call that was let through. Must not outlive its breaker.
  class [[nodiscard]] Call {
   public:
    Call(Call&& o) noexcept : breaker_(std::exchange(o.breaker_, nullptr)), generation_(o.generation_) {}
    Call& operator=(Call&&) = delete;
    ~Call() { report(Report::nothing); }
    void succeeded() noexcept { report(Report::success); }
    void failed() noexcept { report(Report::failure); }

   private:
    friend class CircuitBreaker;
    enum class Report : std::uint8_t { nothing, success, failure };
    Call(CircuitBreaker& breaker, std::uint64_t generation) noexcept : breaker_(&breaker), generation_(generation) {}
    void report(Report what) noexcept {
      if (CircuitBreaker* const b = std::exchange(breaker_, nullptr)) b->report(generation_, what);
    }
    CircuitBreaker* breaker_;
    std::uint64_t generation_;
  };

  explicit CircuitBreaker(const CircuitBreakerOptions& options = {}) noexcept;
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;

  /// Lets a call through, or errc::circuit_open.
  [[nodiscard]] Result<Call> begin() noexcept;
  /// As begin() would find it now.
  [[nodiscard]] State state() const noexcept;
  /// By when (monotonic ns) an open breaker may be probed; 0 when it is not open.
  [[nodiscard]] std::int64_t retry_at() const noexcept;
  /// Calls not begun, and changes to open, so far.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t opened() const noexcept { return opened_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kSlices = 10;
  struct Slice {
    std::int64_t number = -1;
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
  };
  void report(std::uint64_t generation, Call::Report what) noexcept;
  void change(State state) noexcept FIBERD_REQUIRES(lock_);
  void open(std::int64_t now) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] bool fails_too_often(std::int64_t slice) const noexcept FIBERD_REQUIRES(lock_);

  const CircuitBreakerOptions options_;
  mutable Lock lock_;
  State state_ FIBERD_GUARDED_BY(lock_) = State::closed;
  std::uint64_t generation_ FIBERD_GUARDED_BY(lock_) = 0;  // changes of state
  std::array<Slice, kSlices> slices_ FIBERD_GUARDED_BY(lock_){};
  std::uint64_t row_ FIBERD_GUARDED_BY(lock_) = 0;  // failures without a success between
  std::int64_t open_until_ FIBERD_GUARDED_BY(lock_) = 0;
  std::int64_t open_for_ FIBERD_GUARDED_BY(lock_) = 0;  // the next time
  std::uint32_t probing_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint32_t probed_ FIBERD_GUARDED_BY(lock_) = 0;  // successes
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> opened_{0};
};

}  // namespace fiberd::flow
