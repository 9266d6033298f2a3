#pragma once
// RetryBudget: retries may be a share of the requests and no more, so that retrying cannot be what keeps a service
// down (Finagle's com.twitter.finagle.service.RetryBudget; Linkerd's retry budgets). Each request pays `ratio` of a
// retry in; each retry takes one out; `least_per_second` retries are there even without requests. What is paid in or
// taken out is forgotten after ten seconds (`window`), slice by slice.
//
//   budget.request();                                      // for each first try
//   if (failed && budget.try_retry()) … try again …        // else give up: errc::retry_budget_exhausted
//
// A clock that jumps forward forgets everything; one that jumps back is taken to stand still.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "core/base/lock.hpp"

namespace fiberd::flow {

struct RetryBudgetOptions {
  double ratio = 0.2;            ///< retries to requests, 0 … 1000; negative and NaN are 0
  double least_per_second = 10;  ///< retries that are always allowed, 0 … 10^6; negative and NaN are 0
  std::chrono::nanoseconds window = std::chrono::seconds(10);  ///< ≥ 1 s
};

/// All members are thread-safe and never park.
class RetryBudget {
 public:
  explicit RetryBudget(const RetryBudgetOptions& options = {}) noexcept;
  RetryBudget(const RetryBudget&) = delete;
  RetryBudget& operator=(const RetryBudget&) = delete;

  /// A request is made for the first time.
  void request() noexcept;
  /// Whether it may be retried; then the budget has paid for it. A refusal is counted.
  [[nodiscard]] bool try_retry() noexcept;
  /// Retries left at this moment.
  [[nodiscard]] std::uint64_t left() const noexcept;
  /// Retries not allowed so far.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kSlices = 10;
  static constexpr std::int64_t kRetry = 1'000'000;  // a retry in the unit of account
  struct Slice {
    std::int64_t number = -1;
    std::int64_t balance = 0;
  };
  [[nodiscard]] std::int64_t now() const noexcept FIBERD_REQUIRES(lock_);
  Slice& current(std::int64_t number) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] std::int64_t balance(std::int64_t number) const noexcept FIBERD_REQUIRES(lock_);

  const std::int64_t paid_;     // by a request
  const std::int64_t reserve_;  // in a window
  const std::int64_t slice_ns_;
  mutable Lock lock_;
  mutable std::int64_t newest_ FIBERD_GUARDED_BY(lock_) = 0;  // slice
  std::array<Slice, kSlices> slices_ FIBERD_GUARDED_BY(lock_){};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace fiberd::flow
