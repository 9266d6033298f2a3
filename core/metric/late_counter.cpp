#include "core/metric/late_counter.hpp"

#include <exception>
#include <utility>

#include "core/base/bug.hpp"

namespace fiberd::metric {

LateCounter::LateCounter(Registry& registry, Family& family, std::string_view first, std::string_view second)
    : registry_(registry), family_(family), first_(first), second_(second) {
  if (registry.shows(family, {first_, second_})) (void)make();
}

Counter* LateCounter::make() noexcept {
  try {
    Lease<Counter> lease = registry_.lease_counter(family_, {first_, second_});
    const LockGuard guard(lock_);
    // Of two who come first one leases in vain, and gives back what the other has as well.
    if (counter_.load(std::memory_order_relaxed) == nullptr) {
      lease_ = std::move(lease);
      counter_.store(lease_.get(), std::memory_order_release);
    }
    return lease_.get();
  } catch (const std::exception& e) {
    report_bug(e.what());
    return nullptr;
  }
}

}  // namespace fiberd::metric
