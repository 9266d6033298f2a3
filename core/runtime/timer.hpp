#pragma once
// Timer: an intrusive node of a Poller's timer heap. Two kinds: wake a fiber, or call a function that never parks.
//
// Arming is lazy: the wanted deadline is one store; the heap is touched only when the node is not in a heap or must
// fire earlier than the heap believes. On expiry the heap looks at the wanted deadline again and re-inserts, drops or
// fires. Disarming therefore costs one store, and a deadline that never fires costs nothing else.
#include <atomic>
#include <cstdint>

#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

class TimerHeap;

class Timer {
 public:
  using Callback = void (*)(Timer& timer) noexcept;

  constexpr Timer() noexcept = default;
  /// Calls `callback` inside the scheduler at the deadline: it must not park. The node must outlive its being armed:
  /// cancel() before destroying it.
  explicit constexpr Timer(Callback callback) noexcept : callback_(callback) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  /// (Re)arms. Callable on a fiber or inside the scheduler.
  void arm(Deadline deadline) noexcept;
  /// One store; the node may stay in the heap until its old time, where it is dropped.
  void disarm() noexcept { wanted_.store(Deadline::never().ns(), std::memory_order_relaxed); }
  /// disarm() and out of the heap: afterwards the node may be destroyed, and its callback is not running.
  void cancel() noexcept;

 private:
  friend class TimerHeap;
  [[nodiscard]] TimerHeap* last_heap() const noexcept;
  [[nodiscard]] TimerHeap& heap_to_go_into() const noexcept;
  std::atomic<std::int64_t> wanted_{Deadline::never().ns()};
  std::atomic<std::int64_t> heap_time_{INT64_MAX};
  std::atomic<TimerHeap*> heap_{nullptr};       // where it hangs now
  std::atomic<TimerHeap*> last_heap_{nullptr};  // where its callback may be running, while that runtime lives:
  std::atomic<std::uint32_t> last_epoch_{0};    // this one
  std::uint32_t index_ = 0;
  Callback callback_ = nullptr;

 public:
  /// The wait to end with Wake::timeout when there is no callback; written by its fiber before arm().
  struct AtomicTicket {
    std::atomic<std::uint64_t> value{0};
    void store(Ticket t) noexcept { value.store(t.value, std::memory_order_release); }
    [[nodiscard]] Ticket load() const noexcept { return Ticket{value.load(std::memory_order_acquire)}; }
  } ticket;
};

}  // namespace fiberd::runtime
