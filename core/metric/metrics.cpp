#include "core/metric/metrics.hpp"

#include <chrono>
#include <memory>
#include <new>

#include "core/base/clock.hpp"

namespace fiberd::metric {

[[gnu::noinline, gnu::cold]] void Histogram::keep(std::uint32_t bucket, std::uint64_t value,
                                                  const Exemplar& exemplar) noexcept {
  Exemplars* kept = exemplars_.load(std::memory_order_acquire);
  if (kept == nullptr) {
    std::unique_ptr<Exemplars> made;
    try {
      made = std::make_unique<Exemplars>(bounds_.size() + 1);
    } catch (const std::bad_alloc&) {
      return;
    }
    if (exemplars_.compare_exchange_strong(kept, made.get(), std::memory_order_acq_rel, std::memory_order_acquire))
      kept = made.release();
  }
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(wall_now().time_since_epoch());
  kept->keep(bucket, {exemplar, value, now.count()});
}

}  // namespace fiberd::metric
