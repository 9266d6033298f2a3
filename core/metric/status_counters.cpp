#include "core/metric/status_counters.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/bug.hpp"

namespace fiberd::metric {

StatusCounters::StatusCounters(Registry& registry, const StatusFamilies& families, std::string_view listener,
                               std::string_view route, std::span<const std::string_view> methods)
    : registry_(registry),
      durations_(families.durations),
      received_(registry.lease_counter(families.received, {listener, route})),
      sent_(registry.lease_counter(families.sent, {listener, route})),
      in_flight_(registry.lease_gauge(families.in_flight, {listener, route})),
      names_(methods.first(std::min(methods.size(), kMostMethods))),
      listener_(listener),
      route_(route) {}

StatusCounters::~StatusCounters() {
  for (const std::atomic<ByCode*>& codes : methods_) delete codes.load(std::memory_order_relaxed);
}

Histogram* StatusCounters::make(std::size_t method, std::size_t slot) noexcept {
  try {
    const std::string_view name = method < names_.size() ? names_[method] : names_.front();
    const std::string code = slot == kOther ? "other" : std::to_string(kCodes[slot]);
    ByCode* codes = methods_[method].load(std::memory_order_acquire);
    if (codes == nullptr) {
      auto fresh = std::make_unique<ByCode>();
      if (methods_[method].compare_exchange_strong(codes, fresh.get(), std::memory_order_acq_rel,
                                                   std::memory_order_acquire))
        codes = fresh.release();
    }
    Lease<Histogram> lease = registry_.lease_histogram(durations_, {listener_, route_, name, code});
    Histogram* const made = lease.get();
    {
      const LockGuard guard(lock_);
      leases_.push_back(std::move(lease));
    }
    // Two first answers race to the same histogram, since the registry returns one series per label values.
    Histogram* expected = nullptr;
    (*codes)[slot].compare_exchange_strong(expected, made, std::memory_order_acq_rel, std::memory_order_acquire);
    return made;
  } catch (const std::exception& e) {
    report_bug(e.what());
    return nullptr;
  }
}

}  // namespace fiberd::metric
