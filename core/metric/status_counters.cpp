#include "core/metric/status_counters.hpp"

#include <exception>
#include <utility>

#include "core/base/bug.hpp"

namespace fiberd::metric {

StatusCounters::StatusCounters(Registry& registry, Family& requests, Family& durations, std::string_view listener,
                               std::string_view route)
    : registry_(registry),
      requests_(requests),
      durations_(registry.lease_histogram(durations, {listener, route})),
      listener_(listener),
      route_(route) {}

Counter* StatusCounters::make(std::size_t slot) noexcept {
  try {
    const std::string code = slot == kOther ? "other" : std::to_string(kCodes[slot]);
    Lease<Counter> lease = registry_.lease_counter(requests_, {listener_, route_, code});
    Counter* const made = lease.get();
    {
      const LockGuard guard(lock_);
      leases_.push_back(std::move(lease));
    }
    // Two first answers race to the same counter, since the registry returns one series per label values.
    Counter* expected = nullptr;
    counters_[slot].compare_exchange_strong(expected, made, std::memory_order_acq_rel, std::memory_order_acquire);
    return made;
  } catch (const std::exception& e) {
    report_bug(e.what());
    return nullptr;
  }
}

}  // namespace fiberd::metric
