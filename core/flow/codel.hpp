#pragma once
// CoDel: controlled delay (Nichols, Jacobson, McGregor, Iyengar: RFC 8289) for a queue of work instead of packets.
//
// A queue that empties again is a good one: it evens out bursts. One that stands only makes everybody wait. So what is
// measured is the least time somebody waited within `interval`: once that has been above `target` for an interval, one
// is dropped as it leaves the queue, the next after interval/√2, then interval/√3, … until the wait is below target
// again. The queue's length plays no part, but that the last one in it is never dropped.
//
// Differences to the RFC's pseudocode: the sum of bytes in the queue (below one MTU: no drop) is the number that wait
// behind this one; and the caller drops in a loop, asking for each that it takes off the queue.
#include <chrono>
#include <cmath>
#include <cstdint>

#include "core/base/clock.hpp"

namespace fiberd::flow {

struct CoDelOptions {
  std::chrono::nanoseconds target = std::chrono::milliseconds(5);  ///< 0: never drops
  std::chrono::nanoseconds interval = std::chrono::milliseconds(100);
};

/// Not thread-safe: used under its queue's lock. Times are monotonic ns.
class CoDel {
 public:
  explicit CoDel(const CoDelOptions& options = {}) noexcept
      : target_(options.target.count()), interval_(options.interval.count()) {}

  /// For one that leaves the queue at `now` after waiting for `sojourn`, with `behind` others still waiting: whether it
  /// is to be dropped. Then the next one is to be asked for, too.
  [[nodiscard]] bool drop(std::int64_t now, std::int64_t sojourn, std::size_t behind) noexcept {
    if (target_ <= 0) return false;
    const bool standing = stands(now, sojourn, behind);
    if (dropping_) {
      if (!standing) {
        dropping_ = false;
      } else if (now >= drop_next_) {
        ++count_;
        drop_next_ = next_after(drop_next_);
        return true;
      }
      return false;
    }
    if (!standing) return false;
    dropping_ = true;
    // Left not long ago: go on about where it was, for that rate was near what was needed.
    const std::uint64_t delta = count_ - last_count_;
    count_ = delta > 1 && (now - drop_next_) / 16 < interval_ ? delta : 1;
    last_count_ = count_;
    drop_next_ = next_after(now);
    return true;
  }
  /// The queue was found empty.
  void empty() noexcept {
    first_above_ = 0;
    dropping_ = false;
  }
  [[nodiscard]] bool dropping() const noexcept { return dropping_; }

 private:
  bool stands(std::int64_t now, std::int64_t sojourn, std::size_t behind) noexcept {
    if (sojourn < target_ || behind == 0) {
      first_above_ = 0;
      return false;
    }
    if (first_above_ == 0) {
      first_above_ = time_after(now, std::chrono::nanoseconds(interval_));
      return false;
    }
    return now >= first_above_;
  }
  [[nodiscard]] std::int64_t next_after(std::int64_t t) const noexcept {
    if (count_ == 1) return time_after(t, std::chrono::nanoseconds(interval_));
    const double share = static_cast<double>(interval_) / std::sqrt(static_cast<double>(count_));
    return time_after(t, std::chrono::nanoseconds(static_cast<std::int64_t>(share)));
  }

  const std::int64_t target_;
  const std::int64_t interval_;
  std::int64_t first_above_ = 0;
  std::int64_t drop_next_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t last_count_ = 0;
  bool dropping_ = false;
};

}  // namespace fiberd::flow
