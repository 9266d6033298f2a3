#include "core/metric/status_counters.hpp"

#include <exception>
#include <utility>

#include "core/base/bug.hpp"

namespace fiberd::metric {

StatusCounters::StatusCounters(Registry& registry, const StatusFamilies& families, std::string_view listener,
                               std::string_view route)
    : registry_(registry),
      requests_(families.requests),
      durations_(registry.lease_histogram(families.durations, {listener, route})),
      received_(registry.lease_counter(families.received, {listener, route})),
      sent_(registry.lease_counter(families.sent, {listener, route})),
      in_flight_(registry.lease_gauge(families.in_flight, {listener, route})),
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
