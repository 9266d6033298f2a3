#include "core/flow/retry_budget.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/clock.hpp"

namespace fiberd::flow {

static constexpr std::int64_t kLeastWindow = 1'000'000'000;
static constexpr double kMostRatio = 1000;
static constexpr double kMostPerSecond = 1e6;

static double between(double value, double most) noexcept { return value > 0 ? std::min(value, most) : 0; }

RetryBudget::RetryBudget(const RetryBudgetOptions& o) noexcept
    : paid_(std::llround(between(o.ratio, kMostRatio) * static_cast<double>(kRetry))),
      reserve_(std::llround(between(o.least_per_second, kMostPerSecond) *
                            (static_cast<double>(std::max<std::int64_t>(o.window.count(), kLeastWindow)) / 1e9) *
                            static_cast<double>(kRetry))),
      slice_ns_(std::max<std::int64_t>(o.window.count(), kLeastWindow) / static_cast<std::int64_t>(kSlices)) {}

/// The slice of this moment; never an earlier one than before.
std::int64_t RetryBudget::now() const noexcept {
  newest_ = std::max(newest_, monotonic_now() / slice_ns_);
  return newest_;
}

RetryBudget::Slice& RetryBudget::current(std::int64_t number) noexcept {
  Slice& slice = slices_[static_cast<std::size_t>(number % static_cast<std::int64_t>(kSlices))];
  if (slice.number != number) slice = {number, 0};
  return slice;
}

std::int64_t RetryBudget::balance(std::int64_t number) const noexcept {
  std::int64_t sum = reserve_;
  for (const Slice& s : slices_)
    if (s.number > number - static_cast<std::int64_t>(kSlices)) sum += s.balance;
  return sum;
}

void RetryBudget::request() noexcept {
  const LockGuard guard(lock_);
  current(now()).balance += paid_;
}

bool RetryBudget::try_retry() noexcept {
  {
    const LockGuard guard(lock_);
    const std::int64_t number = now();
    if (balance(number) >= kRetry) {
      current(number).balance -= kRetry;
      return true;
    }
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

std::uint64_t RetryBudget::left() const noexcept {
  const LockGuard guard(lock_);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(balance(now()), 0) / kRetry);
}

}  // namespace fiberd::flow
