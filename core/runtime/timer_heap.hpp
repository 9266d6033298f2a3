#pragma once
// TimerHeap: the timers of one Poller, an intrusive 4-ary heap under a lock that its Processor finds free.
//
// The arm/expire race. arm() stores the wanted deadline, then reads whether the node is in a heap; the heap, when it
// pops a node, first says "in no heap", then reads the wanted deadline. Both are sequentially consistent, so either the
// heap sees the new deadline and re-inserts, or arm() sees that the node is out and inserts it: a deadline is never
// lost.
//
// The heaps' race. A node that no heap has may be inserted by its armer into one heap and by the heap that just popped
// it into another: whoever moves `place_` to a heap by CAS has it, the loser looks again. A node in no heap has no time
// (heap_time_ is INT64_MAX), so between the claim and the insertion nobody trusts an old one.
//
// The owner's race. cancel() lets the owner free the node, so run() marks it as `firing_` before it takes it out of the
// heap and looks at it no more once the mark is gone: cancel() finds the node in the heap and takes its lock, or sees
// the mark and waits. It looks at one heap only, the last, so a node that is armed while its callback runs goes back
// into the heap that runs it: were it put into the caller's, cancel() would wait there while the callback went on here.
// (A fiber's node is type-stable: nobody waits for it.)
//
// The ticket race. A fiber's node is armed again and again for different waits. The low bits of the wanted time carry
// the low bits of the wait's sequence number (the deadline is rounded up to 1.024 µs), and expiry claims the wanted
// time by CAS: a claim therefore belongs to one wait, and a ticket whose sequence does not match it is not woken early.
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/base/lock.hpp"
#include "core/runtime/timer.hpp"

namespace fiberd::runtime {

class TimerHeap {
 public:
  TimerHeap() = default;
  /// Lets its timers go: nodes may outlive the scheduler.
  ~TimerHeap();
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;
  /// The living runtime's heaps are about to die: nodes that they have fired forget them.
  static void runtime_ends() noexcept { epoch_.fetch_add(1, std::memory_order_relaxed); }

  /// Earliest time in the heap, INT64_MAX when empty. Lock-free.
  [[nodiscard]] std::int64_t earliest() const noexcept { return earliest_.load(std::memory_order_acquire); }
  /// Timers that fire in one run().
  static constexpr std::uint64_t kMostFired = 16;
  /// Fires what is due at `now`, at most kMostFired: a thousand time-outs of one moment would keep everybody else's
  /// events waiting. earliest() tells whether more is due. Wakes fibers and calls callbacks with no lock held. Returns
  /// how many fired; 0 when another thread is at it already.
  std::uint64_t run(std::int64_t now) noexcept;
  /// Nodes in the heap; those disarmed lazily included.
  [[nodiscard]] std::uint64_t size() const noexcept { return count_.load(std::memory_order_relaxed); }
  /// Some timer in it is armed. Looks at all of them in the worst case, under the lock.
  [[nodiscard]] bool any_armed() noexcept;
  [[nodiscard]] std::uint64_t fired() const noexcept { return fired_.load(std::memory_order_relaxed); }

 private:
  friend class Timer;
  struct Entry {
    std::int64_t time;
    Timer* timer;
  };
  enum class Inserted : std::uint8_t {
    first,  ///< it is the earliest now
    behind,
    elsewhere  ///< another heap has it
  };
  Inserted insert(Timer& timer) noexcept FIBERD_REQUIRES(lock_);
  void take_out(Timer& timer) noexcept FIBERD_REQUIRES(lock_);
  void remove(Timer& timer) noexcept FIBERD_REQUIRES(lock_);
  void place(std::size_t at, Entry entry) noexcept FIBERD_REQUIRES(lock_);
  void sift_up(std::size_t at) noexcept FIBERD_REQUIRES(lock_);
  void sift_down(std::size_t at) noexcept FIBERD_REQUIRES(lock_);
  void erase(std::size_t at) noexcept FIBERD_REQUIRES(lock_);
  void publish() noexcept FIBERD_REQUIRES(lock_);
  void shrink() noexcept FIBERD_REQUIRES(lock_);

  // Runtimes that have ended, one lives at a time; modulo 65,536: no node waits through so many of them to be armed
  // again.
  static std::atomic<std::uint16_t> epoch_;

  Lock lock_;
  std::atomic<std::int64_t> earliest_{INT64_MAX};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> fired_{0};
  std::vector<Entry> heap_ FIBERD_GUARDED_BY(lock_);
  std::atomic<bool> running_{false};           // one thread at a time fires
  std::atomic<const Timer*> firing_{nullptr};  // run() looks at it, or its callback runs, on firing_thread_
  std::atomic<const ThreadLocals*> firing_thread_{nullptr};
};

}  // namespace fiberd::runtime
