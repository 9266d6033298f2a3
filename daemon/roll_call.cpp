#include "daemon/roll_call.hpp"

#include <algorithm>
#include <new>

namespace fiberd::daemon {

/// GOMAXPROCS may grow to as many.
static constexpr std::size_t kMostProcessors = 256;

RollCall::RollCall(runtime::Runtime& runtime)
    : runtime_(runtime),
      places_(std::make_shared<Places>(std::max<std::size_t>(kMostProcessors, runtime.gomaxprocs()))) {}

bool RollCall::everyone() noexcept {
  const std::size_t n = std::min<std::size_t>(runtime_.gomaxprocs(), places_->size);
  missing_ = 0;
  for (std::size_t i = 0; i < n; ++i) {
    Place& place = places_->all[i];
    if (place.answered.load(std::memory_order_acquire) == round_) continue;
    ++missing_;
    if (place.asked.exchange(true, std::memory_order_acq_rel)) continue;
    Result<void> spawned;
    try {
      spawned = runtime_.spawn(
          {.name = "roll call", .processor = static_cast<unsigned>(i), .claim = fiber::StackClaim::report},
          [places = places_, i, round = round_] {
            places->all[i].answered.store(round, std::memory_order_release);
            places->all[i].asked.store(false, std::memory_order_release);
          });
    } catch (const std::bad_alloc&) {
      spawned = fail(std::errc::not_enough_memory);
    }
    if (!spawned) place.asked.store(false, std::memory_order_release);  // by the next call, then
  }
  if (missing_ != 0) return false;
  ++round_;
  return true;
}

}  // namespace fiberd::daemon
