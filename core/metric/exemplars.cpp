#include "core/metric/exemplars.hpp"

#include "core/base/cpu_relax.hpp"

namespace fiberd::metric {

void Exemplars::keep(std::size_t bucket, const KeptExemplar& kept) noexcept {
  Slot& slot = slots_[bucket];
  if (slot.taken.exchange(true, std::memory_order_acquire)) return;
  slot.kept = kept;
  slot.filled = true;
  slot.taken.store(false, std::memory_order_release);
}

std::optional<KeptExemplar> Exemplars::read(std::size_t bucket) const noexcept {
  static constexpr int kTries = 100;
  Slot& slot = slots_[bucket];
  for (int i = 0; i < kTries; ++i) {
    if (slot.taken.exchange(true, std::memory_order_acquire)) {
      cpu_relax();
      continue;
    }
    std::optional<KeptExemplar> kept;
    if (slot.filled) kept = slot.kept;
    slot.taken.store(false, std::memory_order_release);
    return kept;
  }
  return {};
}

}  // namespace fiberd::metric
