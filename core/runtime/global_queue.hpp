#pragma once
// GlobalQueue: the runnable fibers that no Processor has: what came from threads outside, from full rings, from
// Processors that were replaced, and from fibers that yield while others wait here.
//
// Two orders in one queue. Who ran already waits for a turn like everybody else, in the order of coming, and so does
// what comes from the Poller: a list. What fibers made runnable faster than they ran, and never ran itself, is taken
// back newest first: a tree of a million fibers is gone through branch by branch, with thousands of them alive and in
// the caches, and not level by level with all of them. So a full ring's new fibers come as a list of their own, and
// these lists are a stack.
//
// Between the two it is who came first: each spilled list knows how many had come in order before it. But not for ever,
// in either direction: a root that was spilled before all others may have no end, and where newer ones are spilled all
// the time there is always somebody in order who came before the newest. So while both wait no more than 2,048 of the
// spilled go in a row, the others get no further ahead than 256 beyond two thirds, and every 64th turn of the spilled
// is the oldest's.
//
// One lock, and beside it the size as an atomic number, for the many who only want to know whether there is anything.
//
// Rejected: one list in the order of coming (the million fibers above; their stacks alone are gigabytes); newest first
// for all (a fiber that yields would wait behind everything that is spawned after it); a lock-free list (a taker wants
// a batch, and whoever comes here has already failed to find work that is nearer).
#include <atomic>
#include <cstdint>
#include <deque>

#include "core/base/lock.hpp"
#include "core/runtime/fiber.hpp"
#include "core/runtime/processor.hpp"

namespace fiberd::runtime {

class GlobalQueue {
 public:
  void push(Fiber& f) noexcept { push_list(&f, &f, 1); }
  /// `n` fibers from `head` to `tail`, linked by Fiber::next.
  void push_list(Fiber* head, Fiber* tail, std::uint32_t n) noexcept;
  /// The same, of fibers that never ran and that one full ring gave away.
  void spill(Fiber* head, Fiber* tail, std::uint32_t n) noexcept;
  /// The first of what is `p`'s share among `processors`, and into its ring the rest of it; `most` altogether. nullptr:
  /// nothing is here.
  Fiber* pop(Processor& p, std::uint32_t processors, std::uint32_t most) noexcept;

  [[nodiscard]] std::uint32_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// As the idle protocol wants to know it: whoever pushed before, or sees us asleep.
  [[nodiscard]] bool settled_empty() const noexcept { return size_.load(std::memory_order_seq_cst) == 0; }
  /// Whether anybody waits in the order of coming.
  [[nodiscard]] bool in_order() const noexcept {
    const LockGuard guard(lock_);
    return head_ != nullptr;
  }

 private:
  struct Spilled {
    Fiber* head;
    std::uint64_t others;  // pushed_ at that time: those that came before it
  };
  mutable Lock lock_;
  Fiber* head_ FIBERD_GUARDED_BY(lock_) = nullptr;
  Fiber* tail_ FIBERD_GUARDED_BY(lock_) = nullptr;
  std::uint64_t pushed_ FIBERD_GUARDED_BY(lock_) = 0;  // how many ever came into that list
  std::uint64_t popped_ FIBERD_GUARDED_BY(lock_) = 0;
  std::deque<Spilled> spilled_ FIBERD_GUARDED_BY(lock_);  // the newest last
  std::uint32_t spill_turn_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint32_t spilled_in_a_row_ FIBERD_GUARDED_BY(lock_) = 0;  // taken while others waited in order
  std::uint32_t others_ahead_ FIBERD_GUARDED_BY(lock_) = 0;      // how far the others are beyond their two thirds
  std::atomic<std::uint32_t> size_{0};                           // all of it; written under the lock
};

}  // namespace fiberd::runtime
