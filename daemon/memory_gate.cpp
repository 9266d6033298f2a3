#include "daemon/memory_gate.hpp"

namespace fiberd::daemon {

static constexpr auto kLoosely = std::memory_order_relaxed;  // numbers that need not fit each other exactly

void MemoryGate::bound(std::int64_t left, std::int64_t more, bool last) noexcept {
  last_.store(last, kLoosely);
  more_.store(more, kLoosely);
  half_.store(left / 2, kLoosely);
  left_.store(left, kLoosely);
  asked_.store(false, kLoosely);
  bounded_.store(true, kLoosely);
}

std::int64_t MemoryGate::spend(std::int64_t cost) noexcept {
  const std::int64_t left = left_.fetch_sub(cost, kLoosely);
  // One look for each bound: the flag keeps a crowd from asking a thousand times. Where there is no room for two, looks
  // are frequent anyhow.
  const std::int64_t half = half_.load(kLoosely);
  if (half > 0 && left <= half && look_ != nullptr && !asked_.load(kLoosely) && !asked_.exchange(true, kLoosely))
    look_(argument_);
  return left;
}

bool MemoryGate::admit(bool connection_is_work) noexcept {
  if (!bounded_.load(kLoosely)) return true;
  const std::int64_t left = spend(connection_is_work ? 1 : kRequestCost);
  if (last_.load(kLoosely)) return false;
  if (connection_is_work) return left > 0 && !pressure_.sheds(flow::Priority::normal);
  return left > -more_.load(kLoosely);
}

bool MemoryGate::grow(std::size_t bytes) noexcept {
  if (!bounded_.load(kLoosely)) return true;
  if (last_.load(kLoosely)) return false;
  return spend(static_cast<std::int64_t>((bytes + kConnectionBytes - 1) / kConnectionBytes)) > -more_.load(kLoosely);
}

}  // namespace fiberd::daemon
