#pragma once
// PollDescriptor: a descriptor's readiness, as waits and as an idle callback. How it works: poll_word.hpp, poller.hpp.
#include <atomic>
#include <cstdint>
#include <system_error>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/runtime/poll_word.hpp"
#include "core/runtime/timer.hpp"
#include "core/runtime/use_word.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

class Poller;

enum class Direction : std::uint8_t { read, write };

/// Called when an idle descriptor becomes readable, times out or is closed by closing the Poller. Runs inside the
/// scheduler, not on a fiber: must not park or throw; it typically calls spawn(). One for each kind of owner, which
/// outlives them all; what it is called with goes beside it.
struct IdleHandler {
  void (*on_ready)(void* argument) noexcept = nullptr;
  /// The idle deadline passed. The descriptor has left the idle state; the callee owns it now.
  void (*on_timeout)(void* argument) noexcept = nullptr;
};

/// Told when the peer goes away while the descriptor is active and nobody may be reading. Intrusive: outlives its being
/// watched with.
struct HangUpWatch {
  /// `reset`: both directions are gone (a reset, an error); else the peer has ended its stream (FIN) and may read
  /// still. Inside the scheduler, or in watch_hang_up(), under a lock of the descriptor's: must not park, nor call the
  /// descriptor. May come again.
  void (*on_hang_up)(HangUpWatch& watch, bool reset) noexcept = nullptr;
};

/// Its address is never used for anything else, and stale events are recognised by generation
/// (poll_descriptor_pool.hpp). Registered with epoll (edge-triggered, both directions) on the first wait, not at open:
/// a connection that is answered and closed without waiting never costs an epoll_ctl.
class PollDescriptor : private Timer {  // the idle deadline's node
 public:
  /// Takes over readiness of `fd` (non-blocking; the caller keeps owning and closing the descriptor itself).
  /// `fd` must stay open until close(). Error: not_enough_memory.
  [[nodiscard]] static Result<PollDescriptor*> open(int fd) noexcept;
  /// Wakes all waits with std::errc::operation_canceled (Wake::canceled) and gives the object back. Call before the
  /// descriptor itself is closed. Once; no other call may begin after it.
  void close() noexcept;

  /// Parks until `direction` may make progress. Spurious wake-ups are possible, lost ones are not. Errors: timed_out,
  /// operation_canceled (also when shut down from another fiber), or what epoll_ctl said. At most one waiter per
  /// direction at a time (BUG otherwise).
  [[nodiscard]] Result<void> wait(Direction direction, WaitReason reason, Deadline deadline = Deadline::never(),
                                  Cancellation* cancellation = nullptr) noexcept;

  /// From any fiber: makes present and future waits fail with operation_canceled. The object stays valid until close().
  void shutdown() noexcept;
  [[nodiscard]] bool is_shut_down() const noexcept;

  /// Goes idle: no fiber, no stack. When the descriptor becomes readable, `handler` runs once and the descriptor is
  /// active again. False: it may be readable already, and the caller should read; or epoll does not take it, which is
  /// the case when this happens again and again and no read finds anything. `deadline` → on_timeout.
  /// Exactly one of: false returned, on_ready, on_timeout, or a successful claim_idle() by someone else.
  [[nodiscard]] bool go_idle(const IdleHandler& handler, void* argument, Deadline deadline) noexcept;
  /// Takes an idle descriptor away from its handler (drain, reclaim, reload): true for exactly one caller, and then
  /// neither on_ready nor on_timeout will run.
  [[nodiscard]] bool claim_idle() noexcept;

  /// A hint: whether it is idle now.
  [[nodiscard]] bool is_idle() const noexcept { return words_[0].idle_generation() != 0; }
  [[nodiscard]] int fd() const noexcept { return fd_.load(std::memory_order_relaxed); }
  /// An event so far said that the peer closed or that there is an error: reading will not block any more, and no
  /// further edge may come.
  [[nodiscard]] bool hung_up() const noexcept { return use_.marks() != 0; }
  /// Of those, that it was more than the end of the peer's stream.
  [[nodiscard]] bool was_reset() const noexcept { return (use_.marks() & UseWord::kReset) != 0; }

  /// From now on `watch` is told, until unwatch_hang_up(), which must come before the descriptor goes idle, or close().
  /// What events have said already is told before this returns. One at a time. Registers the descriptor if no
  /// wait has done so. Errors: what epoll_ctl said; then nothing is watched.
  [[nodiscard]] Result<void> watch_hang_up(HangUpWatch& watch) noexcept;
  /// Afterwards the callback is not running and does not come. Also of a descriptor that was closed meanwhile: its next
  /// use is not mistaken for the one that was watched.
  void unwatch_hang_up(HangUpWatch& watch) noexcept;

 private:
  friend class PollDescriptorPool;
  friend void deliver_to_descriptor(void*, std::uint16_t, std::uint32_t) noexcept;
  PollDescriptor() noexcept;
  static void on_idle_timer(Timer& timer) noexcept;
  std::error_code ensure_registered(Direction direction) noexcept;
  void deliver(std::uint32_t events, std::uint16_t generation) noexcept;
  void tell_watch(std::uint16_t generation) noexcept;

  // Of registered_, which changes under register_lock_ once the descriptor is open: in epoll, for reading; for writing
  // too; somebody watches; above them the slot whose Poller it is in.
  static constexpr std::uint16_t kRead = 1;
  static constexpr std::uint16_t kWrite = 2;
  static constexpr std::uint16_t kWatched = 4;
  static constexpr unsigned kSlotShift = 3;

  std::atomic<std::uint16_t> registered_{0};  // first: it lies where the Timer's last word ends
  PollWord words_[2];
  const IdleHandler* idle_handler_ = nullptr;  // while idle
  void* argument_ =
      nullptr;  // the handler's; while watched the HangUpWatch, under register_lock_; in the pool the next
  UseWord use_;
  std::uint32_t idle_generation_ = 0;  // of the last idle period; odd: it had a deadline
  std::atomic<int> fd_{-1};            // a dump reads it beside the next open()
  Lock register_lock_;                 // orders those who change registered_; it is read without
};

// One for each connection, and most are idle.
static_assert(sizeof(PollDescriptor) == 88);

}  // namespace fiberd::runtime
