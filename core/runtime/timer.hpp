#pragma once
// Timer: an intrusive node of a Poller's timer heap. Two kinds: call a function that never parks, or wake a fiber
// (FiberTimer).
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
  /// What it is armed for; never: it is not. Any thread: a moment's truth.
  [[nodiscard]] Deadline deadline() const noexcept { return Deadline::at(wanted_.load(std::memory_order_relaxed)); }
  /// disarm() and out of the heap: afterwards the node may be destroyed, and its callback is not running.
  void cancel() noexcept;

 protected:
  /// Whether it is armed now, or was re-armed since it fired.
  [[nodiscard]] bool armed() const noexcept {
    return wanted_.load(std::memory_order_acquire) != Deadline::never().ns();
  }

 private:
  friend class TimerHeap;
  friend class FiberTimer;
  constexpr Timer() noexcept = default;
  static constexpr std::uintptr_t kHangs = 1;
  [[nodiscard]] static TimerHeap* heap_of(std::uintptr_t place) noexcept {
    return reinterpret_cast<TimerHeap*>(place & ~kHangs);
  }
  [[nodiscard]] TimerHeap* last_heap() const noexcept;
  [[nodiscard]] TimerHeap& heap_to_go_into() const noexcept;
  std::atomic<std::int64_t> wanted_{Deadline::never().ns()};
  std::atomic<std::int64_t> heap_time_{INT64_MAX};
  // The heap where it hangs, with kHangs; without, the one where it hung last and where its callback may be running,
  // while that runtime (last_epoch_) lives.
  std::atomic<std::uintptr_t> place_{0};
  Callback callback_ = nullptr;  // none: a FiberTimer
  std::uint32_t index_ = 0;      // in the heap, under its lock
  std::atomic<std::uint16_t> last_epoch_{0};
};

/// Wakes a fiber.
class FiberTimer final : public Timer {
 public:
  constexpr FiberTimer() noexcept = default;
  /// The wait to end with Wake::timeout; written by its fiber before arm().
  struct AtomicTicket {
    std::atomic<std::uint64_t> value{0};
    void store(Ticket t) noexcept { value.store(t.value, std::memory_order_release); }
    [[nodiscard]] Ticket load() const noexcept { return Ticket{value.load(std::memory_order_acquire)}; }
  } ticket;
};

// Each idle connection has one.
static_assert(sizeof(Timer) == 40);

}  // namespace fiberd::runtime
