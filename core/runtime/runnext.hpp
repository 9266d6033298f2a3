#pragma once
// Runnext: the place for the fiber that a Processor runs next. Its owner exchanges what is in it at every wake and at
// every switch; somebody else looks into it once in a long while, when the owner's fiber does not come back into the
// runtime (sysmon) or the Processor is retired. An atomic exchange would make the owner pay for that each time: two of
// the six read-modify-write instructions of a hand-off between two fibers.
//
// So the lock between them is asymmetric (Dekker's, with the fence on the rare side only). The owner says `busy_`,
// looks whether the place is `open_` to others, and works with plain loads and stores. The other says `open_`, makes
// every running thread of the process execute a full barrier (membarrier(2), PRIVATE_EXPEDITED), and waits until the
// owner is not busy. After the barrier either the owner sees `open_` and waits, or the other sees `busy_` and waits;
// not neither. Where the kernel has no such call, the owner's `busy_` is an exchange, which is a full barrier itself.
//
// Rejected: leaving the fiber to its owner (a handler that computes for a second would hold up a fiber that nobody else
// can see); a signal to the owner's thread, as Go preempts (it would interrupt users' system calls).
#include <atomic>

#include "core/runtime/asymmetric_barrier.hpp"

namespace fiberd::runtime {

template <class T, template <class> class Atomic = std::atomic, class Barrier = AsymmetricBarrier>
class BasicRunnext {
 public:
  /// Owner. Returns what was in it.
  T* exchange(T* next) noexcept {
    for (;;) {
      Barrier::light_store(busy_);
      // Acquire: who sees that the other has closed it again must not work with a value read before that (on ARM loads
      // overtake each other), and sees what the other stored before it took.
      if (!open_.load(std::memory_order_acquire)) [[likely]] {
        T* const before = value_.load(std::memory_order_relaxed);
        value_.store(next, std::memory_order_release);
        busy_.store(false, std::memory_order_release);
        return before;
      }
      busy_.store(false, std::memory_order_release);
      Barrier::wait_until_false(open_);
    }
  }
  /// Owner: exchange() for the case that nothing is in it and nobody is at it; else false, and nothing is changed.
  bool put_if_empty(T* next) noexcept {
    Barrier::light_store(busy_);
    const bool put = !open_.load(std::memory_order_relaxed) && value_.load(std::memory_order_relaxed) == nullptr;
    if (put) value_.store(next, std::memory_order_release);
    busy_.store(false, std::memory_order_release);
    return put;
  }
  /// Anybody; one at a time. Leaves it empty. An owner that goes on afterwards sees what the caller stored before.
  T* take() noexcept {
    open_.store(true, std::memory_order_seq_cst);
    Barrier::heavy();
    Barrier::wait_until_false(busy_);
    T* const taken = value_.load(std::memory_order_acquire);
    value_.store(nullptr, std::memory_order_relaxed);
    open_.store(false, std::memory_order_release);
    return taken;
  }
  /// A hint for others, the truth for the owner.
  [[nodiscard]] bool empty() const noexcept { return value_.load(std::memory_order_relaxed) == nullptr; }

 private:
  Atomic<T*> value_{nullptr};
  Atomic<bool> busy_{false};
  Atomic<bool> open_{false};
};

}  // namespace fiberd::runtime
