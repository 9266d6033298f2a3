#pragma once
// The arithmetic of a token bucket: GCRA, the Generic Cell Rate Algorithm (ITU-T I.371, annex A; ATM Forum TM 4.0),
// whose whole state is one number, the theoretical arrival time ("tat"): when the bucket will be full again.
//
// In nanoseconds that number would drift: a token at 3/s costs 333,333,333.3 ns, at 700,000,000/s 1.43 ns. So time is
// counted in *units* chosen for the rate such that one token costs exactly a power of two of them and a unit is no
// coarser than two nanoseconds (but for rates below one token in 1,000 s), and only the clock is converted, from its
// origin and not step by step:
//
//   token = 2^s units, with the largest s for which rate · 2^s ≤ 10^9 units a second (s in 0 … 40)
//   units(now) = floor(now · M / 2^63), M = rate · 2^s · 2^63 / 10^9     (one 64×64→128 multiplication)
//
// M is exact to one part in 2^52 (the rate is a double), so after 60 s the clock is off by less than a nanosecond and
// no error adds up: what is admitted in any interval of t nanoseconds is at most burst + rate · (t + 2).
//
// Rates: zero, negative and NaN: nothing is ever refilled, `burst` tokens are there once. Above 10^9 a second, and
// infinity: everything is admitted, whatever the burst (as Go's rate.Inf). Burst 0 at a finite rate admits nothing.
// The burst is cut to 2^61 units: what takes 73 years to fill, or two million tokens.
//
// The clock: jumps forward give at most one burst. One that jumps back finds the bucket as if it were still then: no
// token is there until it has come back to where it was. (CLOCK_MONOTONIC does not; a coarse clock on several threads
// may by microseconds, and gets a few tokens later than it could have.)
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace fiberd::flow {

class Gcra {
 public:
  struct Taken {
    bool taken;
    std::int64_t tat;
  };

  /// `rate` in tokens a second; negative bursts are 0.
  Gcra(double rate, std::int64_t burst) noexcept;

  [[nodiscard]] bool unlimited() const noexcept { return unlimited_; }
  /// Tokens, after the cut above.
  [[nodiscard]] std::int64_t burst() const noexcept { return tau_ >> shift_; }
  [[nodiscard]] bool fits(std::int64_t n) const noexcept { return unlimited_ || n <= burst(); }

  [[nodiscard]] std::int64_t units(std::int64_t now_ns) const noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::int64_t>((static_cast<Wide>(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns, 0))) *
                                      static_cast<Wide>(multiplier_)) >>
                                     63U);
  }
  [[nodiscard]] std::int64_t cost(std::int64_t n) const noexcept { return n << shift_; }

  /// Whether `n` tokens (0 … burst()) are there at `at` (units); if so, `tat` after taking them. Not for unlimited().
  [[nodiscard]] Taken take(std::int64_t tat, std::int64_t at, std::int64_t n) const noexcept {
    const std::int64_t after = std::max(tat, at) + cost(n);
    return {after - at <= tau_, after};
  }
  /// Units until a bucket with `tat` may be at `tat`, i.e. until what made it so is covered; ≤ 0: it is.
  [[nodiscard]] std::int64_t due_in(std::int64_t tat, std::int64_t at) const noexcept { return tat - tau_ - at; }
  /// Whole tokens there at `at`.
  [[nodiscard]] std::int64_t available(std::int64_t tat, std::int64_t at) const noexcept {
    return std::max<std::int64_t>(tau_ - std::max<std::int64_t>(tat - at, 0), 0) >> shift_;
  }
  [[nodiscard]] bool full(std::int64_t tat, std::int64_t at) const noexcept { return tat <= at; }

  /// Nanoseconds that `units` last, rounded up; INT64_MAX when that is for ever.
  [[nodiscard]] std::int64_t nanoseconds(std::int64_t units) const noexcept;

  /// What `tat` is under `to`, when that takes over at `now_ns`: as many tokens are there, or owed, as were here, but
  /// no more than fit in.
  [[nodiscard]] std::int64_t convert(std::int64_t tat, std::int64_t now_ns, const Gcra& to) const noexcept;

  /// All of it in three words, for who keeps it in atomics.
  using Words = std::array<std::uint64_t, 3>;
  [[nodiscard]] Words words() const noexcept {
    return {multiplier_, static_cast<std::uint64_t>(tau_), shift_ | (unlimited_ ? kUnlimitedBit : 0U)};
  }
  explicit Gcra(const Words& words) noexcept
      : multiplier_(words[0]),
        tau_(static_cast<std::int64_t>(words[1])),
        shift_(static_cast<unsigned>(words[2]) & ~kUnlimitedBit),
        unlimited_((words[2] & kUnlimitedBit) != 0) {}

 private:
  static constexpr unsigned kUnlimitedBit = 1U << 31U;
  std::uint64_t multiplier_ = 0;
  std::int64_t tau_ = 0;
  unsigned shift_ = 0;
  bool unlimited_ = false;
};

}  // namespace fiberd::flow
