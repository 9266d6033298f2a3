#pragma once
// TokenBucket: at most `burst` things at once and `rate` a second in the long run. As Go's x/time/rate.Limiter: ask
// (try_take), promise to wait (reserve), or wait (wait). Lock-free: the bucket is one atomic number, whose arithmetic,
// and what it does at the odd rates and clocks, is in gcra.hpp.
//
//   flow::TokenBucket bucket(1000, 50);                          // 1,000 a second, 50 at once
//   if (!bucket.try_take()) return fail(flow::errc::rate_limited);
//   if (const Result<void> admitted = bucket.wait(ctx); !admitted) return admitted;
//
// Exact under any number of threads: each admission is one successful compare-and-swap from a state in which the token
// was there, so never more than burst + rate · t is admitted in any t (what a cancelled reservation gives back apart,
// see cancel()), and none of what the rate brings is lost but for what a full bucket cannot hold. Each call reads the
// clock before it looks at the state; one whose clock is older than another's sees fewer tokens, never more.
//
// Rate and burst may change while it is used (set_rate, set_burst), as Go's SetLimit and SetBurst: the tokens that are
// there, or owed, stay as many (but no more than the new burst), and what was promised keeps its time. A call that is
// under way in that moment may count as one before it: gcra_cell.hpp.
#include <chrono>
#include <cstdint>
#include <system_error>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/flow/errc.hpp"
#include "core/flow/gcra_cell.hpp"

namespace fiberd::flow {

class TokenBucket;

/// Tokens promised for a moment to come. Copyable, but cancel at most one copy. The bucket must outlive it.
class Reservation {
 public:
  Reservation() noexcept = default;
  /// False: the tokens will never be there (more than the burst, or no rate). Nothing was taken.
  [[nodiscard]] bool ok() const noexcept { return bucket_ != nullptr; }
  /// How long to wait before acting, from the moment of the reservation; 0: now. nanoseconds::max() when not ok().
  [[nodiscard]] std::chrono::nanoseconds delay() const noexcept { return delay_; }
  /// Will not act: gives back what can be given back. As in Go, nothing when its time has come, and less by what was
  /// reserved after it, for those who reserved keep their times. Nothing either when rate or burst have been changed
  /// more than once since.
  void cancel() noexcept { cancel(monotonic_now()); }
  void cancel(std::int64_t now_ns) noexcept;

 private:
  friend class TokenBucket;
  Reservation(TokenBucket* bucket, std::chrono::nanoseconds delay, std::int64_t now_ns) noexcept
      : bucket_(bucket),
        delay_(delay),
        due_ns_(delay.count() > INT64_MAX - now_ns ? INT64_MAX : now_ns + delay.count()) {}
  TokenBucket* bucket_ = nullptr;
  std::chrono::nanoseconds delay_ = std::chrono::nanoseconds::max();
  std::int64_t due_ns_ = 0;
  std::int64_t tat_ = 0;   // after it, in the units of
  std::uint32_t era_ = 0;  // this era of the bucket's
  std::int64_t n_ = 0;
};

/// Begins full. All members are thread-safe; only wait() parks.
class TokenBucket {
 public:
  /// `rate` in tokens a second, `burst` in tokens. Any values; what zero, negative and infinite ones mean: gcra.hpp.
  TokenBucket(double rate, std::int64_t burst) noexcept : cell_(rate, burst) {}
  TokenBucket(const TokenBucket&) = delete;
  TokenBucket& operator=(const TokenBucket&) = delete;

  /// Takes `n` tokens if they are there now; all or none. n ≤ 0 takes nothing and succeeds.
  [[nodiscard]] bool try_take(std::int64_t n = 1) noexcept { return try_take_at(monotonic_now(), n); }
  /// As of `now_ns` (monotonic ns), for who has read the clock already.
  [[nodiscard]] bool try_take_at(std::int64_t now_ns, std::int64_t n = 1) noexcept {
    if (n <= 0) return true;
    for (;;) {
      const GcraCell::View v = cell_.look();
      if (v.gcra.unlimited()) return true;
      if (!v.gcra.fits(n)) return false;
      const Gcra::Taken t = v.gcra.take(v.tat, v.gcra.units(now_ns), n);
      if (!t.taken) return false;
      if (cell_.swap(v, t.tat)) return true;
    }
  }

  /// Takes `n` tokens, in advance if need be; the caller acts after delay(). Not ok() when they never come, or come
  /// later than `within` from now.
  [[nodiscard]] Reservation reserve(std::int64_t n = 1,
                                    std::chrono::nanoseconds within = std::chrono::nanoseconds::max()) noexcept {
    return reserve_at(monotonic_now(), n, within);
  }
  [[nodiscard]] Reservation reserve_at(std::int64_t now_ns, std::int64_t n = 1,
                                       std::chrono::nanoseconds within = std::chrono::nanoseconds::max()) noexcept;

  /// Waits for `n` tokens. In order of arrival. Only on a fiber. Errors, without a wait: exceeds_burst,
  /// would_exceed_deadline (they come after ctx's deadline, or never), the context's when it is done already; with one:
  /// the context's when it is done meanwhile, and what can be is given back. No tokens are taken when it fails.
  [[nodiscard]] Result<void> wait(const context::Context& ctx, std::int64_t n = 1);
  [[nodiscard]] Result<void> wait(std::int64_t n = 1) { return wait(context::background(), n); }

  /// Whole tokens that are there at this moment; INT64_MAX when unlimited.
  [[nodiscard]] std::int64_t available() const noexcept { return available_at(monotonic_now()); }
  [[nodiscard]] std::int64_t available_at(std::int64_t now_ns) const noexcept {
    const GcraCell::View v = cell_.look();
    return v.gcra.unlimited() ? INT64_MAX : v.gcra.available(v.tat, v.gcra.units(now_ns));
  }
  /// How long until `n` tokens will be there if nobody else takes them; nanoseconds::max(): never.
  [[nodiscard]] std::chrono::nanoseconds time_until(std::int64_t n = 1) const noexcept {
    return time_until_at(monotonic_now(), n);
  }
  [[nodiscard]] std::chrono::nanoseconds time_until_at(std::int64_t now_ns, std::int64_t n = 1) const noexcept;

  /// From now on. Any values, as at construction. Who waits already keeps the time that was promised.
  void set_rate(double rate) noexcept { set_rate_at(GcraCell::kNow, rate); }
  /// As of `now_ns`, for who is the only one or whose clock nobody is ahead of: what others have taken at later times
  /// is a debt at `now_ns`, and stays as many tokens at the new rate, which may take it long to bring.
  void set_rate_at(std::int64_t now_ns, double rate) noexcept {
    cell_.change(now_ns, [rate](double& r, std::int64_t&) { r = rate; });
  }
  /// A larger burst begins with the tokens that were there; of more tokens than a smaller one holds the rest is gone.
  void set_burst(std::int64_t burst) noexcept { set_burst_at(GcraCell::kNow, burst); }
  /// As set_rate_at().
  void set_burst_at(std::int64_t now_ns, std::int64_t burst) noexcept {
    cell_.change(now_ns, [burst](double&, std::int64_t& b) { b = burst; });
  }
  /// As it was given.
  [[nodiscard]] double rate() const noexcept { return cell_.rate(); }
  /// After the cut (gcra.hpp).
  [[nodiscard]] std::int64_t burst() const noexcept { return cell_.look().gcra.burst(); }

 private:
  friend class Reservation;
  GcraCell cell_;
};

}  // namespace fiberd::flow
