#pragma once
// Sometimes: golang.org/x/time/rate.Sometimes: does something at some of many occasions: a log line of what happens a
// thousand times a second, a look at what costs a little.
//
//   static flow::Sometimes sometimes({.first = 3, .interval = 10s});
//   sometimes.run([&] { log(LogLevel::warning, "slow: " + name); });
//
// The three rules are alternatives: an occasion counts if one of them says so. The very first one always does.
//
// Other than in Go nothing is locked while the function runs (it may park, and may come by here again): of several at
// once each is decided by itself, and of those that the interval alone would let pass one is.
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <utility>

#include "core/base/clock.hpp"

namespace fiberd::flow {

struct SometimesOptions {
  std::uint64_t first = 0;               ///< the first so many
  std::uint64_t every = 0;               ///< each so many-th, from the first on; 0: none
  std::chrono::nanoseconds interval{0};  ///< when so long has passed since the last one that was done; 0: never
};

/// All members are thread-safe and never park (what run() calls may).
class Sometimes {
 public:
  /// Without a rule: once.
  constexpr Sometimes() noexcept = default;
  explicit constexpr Sometimes(SometimesOptions options) noexcept : options_(options) {}
  Sometimes(const Sometimes&) = delete;
  Sometimes& operator=(const Sometimes&) = delete;

  /// Calls fn() if this occasion is one. True: it was called. Throws what it throws.
  template <std::invocable F>
  bool run(F&& fn) {
    if (!due()) return false;
    (void)std::forward<F>(fn)();
    return true;
  }
  /// Counts an occasion. True: act.
  [[nodiscard]] bool due() noexcept { return due_at(options_.interval.count() > 0 ? monotonic_now() : 0); }
  /// As of `now_ns` (monotonic ns).
  [[nodiscard]] bool due_at(std::int64_t now_ns) noexcept {
    const std::uint64_t n = count_.fetch_add(1, std::memory_order_relaxed);
    const bool counted = n == 0 || n < options_.first || (options_.every != 0 && n % options_.every == 0);
    if (options_.interval.count() <= 0) return counted;
    std::int64_t last = last_.load(std::memory_order_relaxed);
    if (counted) {
      // The interval begins anew.
      while (last < now_ns && !last_.compare_exchange_weak(last, now_ns, std::memory_order_relaxed)) {
      }
      return true;
    }
    // Who was first at it has it.
    return now_ns - last >= options_.interval.count() &&
           last_.compare_exchange_strong(last, now_ns, std::memory_order_relaxed);
  }

 private:
  const SometimesOptions options_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::int64_t> last_{0};
};

}  // namespace fiberd::flow
