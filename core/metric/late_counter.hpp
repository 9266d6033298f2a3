#pragma once
// LateCounter: a counter whose series is made when it first counts, for what hardly ever happens: of fifty reasons to
// refuse a request most listeners meet three, and a page with a zero for each of the others is longer and says nothing.
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"

namespace fiberd::metric {

class LateCounter {
 public:
  /// Of a family with two labels. Where the series is there already (a configuration before has counted, or still
  /// does) it is leased at once, so that it stays. Throws as Registry does.
  LateCounter(Registry& registry, Family& family, std::string_view first, std::string_view second);
  LateCounter(const LateCounter&) = delete;
  LateCounter& operator=(const LateCounter&) = delete;

  /// Thread-safe; never parks. The first time takes the registry's lock; when there is no memory then,
  /// fiberd_bugs_total counts the loss.
  void add() noexcept {
    Counter* counter = counter_.load(std::memory_order_acquire);
    if (counter == nullptr) [[unlikely]]
      counter = make();
    if (counter != nullptr) counter->add();
  }

  [[nodiscard]] std::uint64_t value() const noexcept {
    const Counter* const counter = counter_.load(std::memory_order_acquire);
    return counter != nullptr ? counter->value() : 0;
  }

 private:
  Counter* make() noexcept;
  Registry& registry_;
  Family& family_;
  const std::string first_;
  const std::string second_;
  std::atomic<Counter*> counter_{nullptr};
  Lock lock_;
  Lease<Counter> lease_ FIBERD_GUARDED_BY(lock_);
};

/// As count(Counter*).
inline void count(LateCounter* counter) noexcept {
  if (counter != nullptr) counter->add();
}

}  // namespace fiberd::metric
