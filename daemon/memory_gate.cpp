#include "daemon/memory_gate.hpp"

namespace fiberd::daemon {

static constexpr auto kRelaxed = std::memory_order_relaxed;  // numbers that need not fit each other exactly

void MemoryGate::bound(std::int64_t left, std::int64_t more, bool last) noexcept {
  last_.store(last, kRelaxed);
  more_.store(more, kRelaxed);
  half_.store(left / 2, kRelaxed);
  left_.store(left, kRelaxed);
  asked_.store(false, kRelaxed);
  bounded_.store(true, kRelaxed);
}

std::int64_t MemoryGate::spend(std::int64_t cost) noexcept {
  const std::int64_t left = left_.fetch_sub(cost, kRelaxed);
  // One look for each bound: the flag keeps a crowd from asking a thousand times. Where there is no room for two, looks
  // are frequent anyhow.
  const std::int64_t half = half_.load(kRelaxed);
  if (half > 0 && left <= half && look_ != nullptr && !asked_.load(kRelaxed) && !asked_.exchange(true, kRelaxed))
    look_(argument_);
  return left;
}

bool MemoryGate::admit(bool connection_is_work) noexcept {
  if (!bounded_.load(kRelaxed)) return true;
  const std::int64_t left = spend(connection_is_work ? 1 : kRequestCost);
  if (last_.load(kRelaxed)) return false;
  if (connection_is_work) return left > 0 && !pressure_.sheds(flow::Priority::normal);
  return left > -more_.load(kRelaxed);
}

bool MemoryGate::grow(std::size_t bytes) noexcept {
  if (!bounded_.load(kRelaxed)) return true;
  if (last_.load(kRelaxed)) return false;
  return spend(static_cast<std::int64_t>((bytes + kConnectionBytes - 1) / kConnectionBytes)) > -more_.load(kRelaxed);
}

}  // namespace fiberd::daemon
