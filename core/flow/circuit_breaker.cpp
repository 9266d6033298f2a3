#include "core/flow/circuit_breaker.hpp"

#include <algorithm>

#include "core/base/clock.hpp"

namespace fiberd::flow {

static CircuitBreakerOptions sane(CircuitBreakerOptions o) noexcept {
  o.window = std::max(o.window, std::chrono::nanoseconds(10));
  o.open_for = std::max(o.open_for, std::chrono::nanoseconds(0));
  o.open_for_most = std::max(o.open_for, o.open_for_most);
  o.probes = std::max(o.probes, 1U);
  return o;
}

CircuitBreaker::CircuitBreaker(const CircuitBreakerOptions& options) noexcept
    : options_(sane(options)), open_for_(options_.open_for.count()) {}

void CircuitBreaker::change(State state) noexcept {
  state_ = state;
  ++generation_;
  probing_ = probed_ = 0;
  row_ = 0;
  slices_.fill({});
}

void CircuitBreaker::open(std::int64_t now) noexcept {
  change(State::open);
  open_until_ = time_after(now, std::chrono::nanoseconds(open_for_));
  open_for_ = std::min(time_after(open_for_, std::chrono::nanoseconds(open_for_)), options_.open_for_most.count());
  opened_.fetch_add(1, std::memory_order_relaxed);
}

Result<CircuitBreaker::Call> CircuitBreaker::begin() noexcept {
  {
    const LockGuard guard(lock_);
    if (state_ == State::open && monotonic_now() >= open_until_) change(State::half_open);
    if (state_ == State::closed) return Call(*this, generation_);
    if (state_ == State::half_open && probing_ + probed_ < options_.probes) {
      ++probing_;
      return Call(*this, generation_);
    }
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  return fail(errc::circuit_open);
}

bool CircuitBreaker::fails_too_often(std::int64_t slice) const noexcept {
  if (options_.consecutive_failures != 0 && row_ >= options_.consecutive_failures) return true;
  std::uint64_t calls = 0;
  std::uint64_t failures = 0;
  for (const Slice& s : slices_) {
    if (s.number <= slice - static_cast<std::int64_t>(kSlices)) continue;
    calls += s.calls;
    failures += s.failures;
  }
  return calls >= std::max<std::uint64_t>(options_.least_calls, 1) &&
         static_cast<double>(failures) >= options_.failure_ratio * static_cast<double>(calls) && failures != 0;
}

void CircuitBreaker::report(std::uint64_t generation, Call::Report what) noexcept {
  const LockGuard guard(lock_);
  if (generation != generation_) return;
  if (state_ == State::half_open) {
    --probing_;
    if (what == Call::Report::failure) {
      open(monotonic_now());
    } else if (what == Call::Report::success && ++probed_ >= options_.probes) {
      open_for_ = options_.open_for.count();
      change(State::closed);
    }
    return;
  }
  if (what == Call::Report::nothing) return;
  const std::int64_t now = monotonic_now();
  const std::int64_t number = now / (options_.window.count() / static_cast<std::int64_t>(kSlices));
  Slice& slice = slices_[static_cast<std::size_t>(number % static_cast<std::int64_t>(kSlices))];
  if (slice.number != number) slice = {number, 0, 0};
  ++slice.calls;
  if (what == Call::Report::success) {
    row_ = 0;
    return;
  }
  ++slice.failures;
  ++row_;
  if (fails_too_often(number)) open(now);
}

CircuitBreaker::State CircuitBreaker::state() const noexcept {
  const LockGuard guard(lock_);
  return state_ == State::open && monotonic_now() >= open_until_ ? State::half_open : state_;
}

std::int64_t CircuitBreaker::retry_at() const noexcept {
  const LockGuard guard(lock_);
  return state_ == State::open ? open_until_ : 0;
}

}  // namespace fiberd::flow
