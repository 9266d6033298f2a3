#pragma once
// Follower: brings a state after a wish that several change, one at a time. Whoever has changed the wish calls it: the
// first to come acts, the others leave it to that one, which looks again before it goes. So the last act began after
// the last change, and no act undoes a later one. (runtime/settle.hpp lets them act at once, which needs acts that are
// sequentially consistent; to disarm a timer is one relaxed store.)
//
// Atomic is std::atomic; tests/model instantiates the template with its own to visit every interleaving.
#include <atomic>
#include <cstdint>

namespace fiberd::sync::detail {

template <template <class> class Atomic = std::atomic>
class BasicFollower {
 public:
  /// What was written before the call is seen by an act() that begins after it, here or at who is at it.
  template <class Act>
  void follow(Act&& act) noexcept {
    if (changes_.fetch_add(1, std::memory_order_acq_rel) != 0) return;
    std::uint32_t seen = 1;
    do {
      act();
    } while (!changes_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel, std::memory_order_acquire));
  }

 private:
  Atomic<std::uint32_t> changes_{0};  // not acted on yet; not 0: somebody is at it
};
using Follower = BasicFollower<>;

}  // namespace fiberd::sync::detail
