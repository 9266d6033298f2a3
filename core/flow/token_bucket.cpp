#include "core/flow/token_bucket.hpp"

#include <algorithm>
#include <utility>

#include "core/context/waits.hpp"

namespace fiberd::flow {

// Promises reach no further than this, so that no sum overflows (gcra.cpp).
static constexpr std::int64_t kFurthest = std::int64_t{1} << 61U;

Reservation TokenBucket::reserve_at(std::int64_t now_ns, std::int64_t n, std::chrono::nanoseconds within) noexcept {
  if (n <= 0 || gcra_.unlimited()) return {this, std::chrono::nanoseconds(0), 0, 0};
  if (!gcra_.fits(n)) return {};
  const std::int64_t at = gcra_.units(now_ns);
  std::int64_t tat = tat_.load(std::memory_order_relaxed);
  for (;;) {
    const std::int64_t after = gcra_.take(tat, at, n).tat;
    const std::int64_t due = gcra_.due_in(after, at);
    const std::chrono::nanoseconds delay(gcra_.nanoseconds(due));
    if (delay > within || delay == std::chrono::nanoseconds::max() || due > kFurthest) return {};
    if (tat_.compare_exchange_weak(tat, after, std::memory_order_relaxed)) return {this, delay, after, n};
  }
}

void Reservation::cancel(std::int64_t now_ns) noexcept {
  TokenBucket* const bucket = std::exchange(bucket_, nullptr);
  if (bucket == nullptr || n_ == 0) return;
  const Gcra& gcra = bucket->gcra_;
  if (gcra.due_in(tat_, gcra.units(now_ns)) <= 0) return;
  std::int64_t tat = bucket->tat_.load(std::memory_order_relaxed);
  for (;;) {
    const std::int64_t later = std::max<std::int64_t>(tat - tat_, 0);
    const std::int64_t back = gcra.cost(n_) - later;
    if (back <= 0) return;
    if (bucket->tat_.compare_exchange_weak(tat, tat - back, std::memory_order_relaxed)) return;
  }
}

std::error_code TokenBucket::wait(const context::Context& ctx, std::int64_t n) {
  if (const std::error_code error = ctx.err()) return error;
  if (!gcra_.fits(n)) return errc::exceeds_burst;
  const std::int64_t now = monotonic_now();
  const std::chrono::nanoseconds left(ctx.deadline().is_never() ? INT64_MAX : ctx.deadline().ns() - now);
  if (left.count() <= 0) return errc::would_exceed_deadline;
  Reservation reservation = reserve_at(now, n, left);
  if (!reservation.ok()) return errc::would_exceed_deadline;
  if (reservation.delay().count() == 0) return {};
  const std::error_code error = context::sleep(ctx, reservation.delay());
  if (error) reservation.cancel();
  return error;
}

std::chrono::nanoseconds TokenBucket::time_until_at(std::int64_t now_ns, std::int64_t n) const noexcept {
  if (n <= 0 || gcra_.unlimited()) return std::chrono::nanoseconds(0);
  if (!gcra_.fits(n)) return std::chrono::nanoseconds::max();
  const std::int64_t at = gcra_.units(now_ns);
  const std::int64_t tat = tat_.load(std::memory_order_relaxed);
  return std::chrono::nanoseconds(gcra_.nanoseconds(gcra_.due_in(gcra_.take(tat, at, n).tat, at)));
}

}  // namespace fiberd::flow
