#include "core/flow/token_bucket.hpp"

#include <algorithm>
#include <utility>

#include "core/context/waits.hpp"

namespace fiberd::flow {

// Promises reach no further than this, so that no sum overflows (gcra.cpp).
static constexpr std::int64_t kFurthest = std::int64_t{1} << 61U;

Reservation TokenBucket::reserve_at(std::int64_t now_ns, std::int64_t n, std::chrono::nanoseconds within) noexcept {
  for (;;) {
    const GcraCell::View v = cell_.look();
    if (n <= 0 || v.gcra.unlimited()) return {this, std::chrono::nanoseconds(0), now_ns};
    if (!v.gcra.fits(n)) return {};
    const std::int64_t at = v.gcra.units(now_ns);
    const std::int64_t after = v.gcra.take(v.tat, at, n).tat;
    const std::int64_t due = v.gcra.due_in(after, at);
    const std::chrono::nanoseconds delay(v.gcra.nanoseconds(due));
    if (delay > within || delay == std::chrono::nanoseconds::max() || due > kFurthest) return {};
    if (!cell_.swap(v, after)) continue;
    Reservation reservation(this, delay, now_ns);
    reservation.tat_ = after;
    reservation.era_ = v.era;
    reservation.n_ = n;
    return reservation;
  }
}

void Reservation::cancel(std::int64_t now_ns) noexcept {
  TokenBucket* const bucket = std::exchange(bucket_, nullptr);
  if (bucket == nullptr || n_ == 0 || now_ns >= due_ns_) return;
  for (;;) {
    const GcraCell::View v = bucket->cell_.look();
    std::int64_t tat = tat_;
    if (v.gcra.unlimited() || !bucket->cell_.carry(era_, tat, v)) return;
    const std::int64_t later = std::max<std::int64_t>(v.tat - tat, 0);
    const std::int64_t back = v.gcra.cost(n_) - later;
    if (back <= 0 || bucket->cell_.swap(v, v.tat - back)) return;
  }
}

Result<void> TokenBucket::wait(const context::Context& ctx, std::int64_t n) {
  if (const std::error_code error = ctx.err()) return fail(error);
  if (!cell_.look().gcra.fits(n)) return fail(errc::exceeds_burst);
  const std::int64_t now = monotonic_now();
  if (ctx.deadline().ns() <= now) return fail(errc::would_exceed_deadline);
  const std::chrono::nanoseconds left(ctx.deadline().is_never() ? INT64_MAX : ctx.deadline().ns() - now);
  Reservation reservation = reserve_at(now, n, left);
  if (!reservation.ok()) return fail(errc::would_exceed_deadline);
  if (reservation.delay().count() == 0) return {};
  const Result<void> slept = context::sleep(ctx, reservation.delay());
  if (!slept) reservation.cancel();
  return slept;
}

std::chrono::nanoseconds TokenBucket::time_until_at(std::int64_t now_ns, std::int64_t n) const noexcept {
  const GcraCell::View v = cell_.look();
  if (n <= 0 || v.gcra.unlimited()) return std::chrono::nanoseconds(0);
  if (!v.gcra.fits(n)) return std::chrono::nanoseconds::max();
  const std::int64_t at = v.gcra.units(now_ns);
  return std::chrono::nanoseconds(v.gcra.nanoseconds(v.gcra.due_in(v.gcra.take(v.tat, at, n).tat, at)));
}

}  // namespace fiberd::flow
