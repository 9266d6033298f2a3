#pragma once
// Drain: waiting until the last fiber has ended, which costs a fiber that ends next to nothing while nobody waits.
//
//   a fiber ends:   count it (a plain store: the counter has one writer); then look whether somebody waits
//   the waiter:     say so; then add up the counters; sleep until it is told of an end; add up again
//
// A store followed by a load of something else: on every machine the load may overtake the store, and then the one sees
// nobody waiting while the other does not see the end: it sleeps for ever. A full barrier per fiber would cost what a
// switch costs, so it is the waiter that makes all threads execute one (asymmetric_barrier.hpp), after it has said so
// and before it adds up: an end whose look came before that barrier is counted; one whose look comes after it tells.
//
// Counter::add() counts; the rest are parameters for tests/model.
#include <atomic>
#include <cstdint>

#include "core/runtime/asymmetric_barrier.hpp"

namespace fiberd::runtime {

template <template <class> class Atomic = std::atomic, class Barrier = AsymmetricBarrier>
class BasicDrain {
 public:
  template <class Counter>
  void ended(Counter& counter) noexcept {
    counter.add();
    if (Barrier::light_load(draining_) != 0) [[unlikely]]
      tell();
  }
  /// Returns when `none_left()`. One thread at a time.
  template <class NoneLeft>
  void wait(NoneLeft none_left) {
    draining_.exchange(1, std::memory_order_seq_cst);
    Barrier::heavy();
    for (;;) {
      const std::uint32_t seen = ends_.load(std::memory_order_acquire);
      if (none_left()) break;
      Barrier::wait_for_change(ends_, seen);
    }
    draining_.store(0, std::memory_order_relaxed);
  }

 private:
  [[gnu::noinline, gnu::cold]] void tell() noexcept {
    ends_.fetch_add(1, std::memory_order_release);
    Barrier::notify(ends_);
  }
  Atomic<std::uint32_t> draining_{0};
  Atomic<std::uint32_t> ends_{0};  // since somebody waits
};

using Drain = BasicDrain<>;

}  // namespace fiberd::runtime
