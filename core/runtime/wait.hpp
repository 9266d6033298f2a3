#pragma once
// The one way to wait. Every wait in the project is prepare_park → publish the ticket → park_until; so every wait can
// be timed, cancelled, named and seen.
//
//   Ticket t = prepare_park(WaitReason::semaphore);     // the wait has begun: a wake from here on is not lost
//   queue.push(t);                                     // publish it where a waker finds it
//   switch (park_until(t, deadline, cancellation)) …   // exactly one of ready, timeout, canceled wins
//
// A ticket names one wait of one fiber. wake() on a ticket whose wait is over does nothing and returns false, so
// wakers never need to be unregistered in time; fibers are type-stable, so a stale ticket is never a wild pointer.
#include <chrono>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"

namespace fiberd::runtime {

enum class WaitReason : std::uint8_t {
  none,
  sleep,
  io_read,
  io_write,
  accept,
  connect,
  resolve,
  blocking,
  service,
  mutex,
  shared_mutex,
  once,
  condition,
  semaphore,
  wait_group,
  channel_send,
  channel_receive,
  select,
  join,
  pool,
  file,
  test,
  count_
};
[[nodiscard]] std::string_view to_string(WaitReason reason) noexcept;

enum class Wake : std::uint8_t { none, ready, timeout, canceled };

/// One wait of one fiber: fiber index and wait sequence number. Copyable, comparable, never dangling.
struct Ticket {
  std::uint64_t value = 0;
  [[nodiscard]] std::uint32_t fiber_index() const noexcept { return static_cast<std::uint32_t>(value >> 32U); }
  [[nodiscard]] std::uint32_t sequence() const noexcept { return static_cast<std::uint32_t>(value); }
  explicit operator bool() const noexcept { return value != 0; }
  friend bool operator==(Ticket, Ticket) noexcept = default;
};

class Cancellation;

/// Node by which a waiting fiber hangs in its Cancellation's list.
struct CancelNode : ListHook {
  Ticket ticket;
};

/// What waits obey: one can see that it was cancelled and wait for that, no more. Who may cancel holds something else:
/// a CancelSource, or a context's CancelFunction (core/context implements this as a tree). So what is handed down to a
/// callee, a Cancellation* or a Context, gives it no way to end its caller's work. Cancelling is final.
/// All members are thread-safe. Must outlive every wait that uses it.
class Cancellation {
 public:
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  [[nodiscard]] bool canceled() const noexcept { return canceled_.load(std::memory_order_acquire); }

  /// For park_until: false when already cancelled (then the node is not linked).
  bool link(CancelNode& node) noexcept;
  void unlink(CancelNode& node) noexcept;

 protected:
  Cancellation() noexcept = default;
  ~Cancellation() = default;
  /// Wakes every wait that hangs here with Wake::canceled. True for the one call that did it. Never parks.
  bool cancel() noexcept;

 private:
  std::atomic<bool> canceled_{false};
  Lock lock_;
  List<CancelNode> waiters_ FIBERD_GUARDED_BY(lock_);
};

/// A Cancellation, and the right to cancel it. Waits are given its address.
class CancelSource final : public Cancellation {
 public:
  using Cancellation::cancel;
};

/// Begins a wait of the calling fiber. Must be followed by park_until or abandon_park. Only on a fiber. `what`: what it
/// waits for, for those who look at fibers (a mutex, a channel, a PollDescriptor): it lives as long as the wait does.
[[nodiscard]] Ticket prepare_park(WaitReason reason, const void* what = nullptr) noexcept;

/// Parks until wake(ticket), the deadline or the cancellation, whichever is first. A deadline already past and a
/// cancellation already made return at once, unless a wake came before them. The fiber may continue on another thread.
[[nodiscard]] Wake park_until(Ticket ticket, Deadline deadline = Deadline::never(),
                              Cancellation* cancellation = nullptr) noexcept;

/// park_until for a wait that only wake() ends.
void park(Ticket ticket) noexcept;

/// Ends a wait that was begun but is not needed. Returns what a waker already delivered (Wake::none if nothing).
Wake abandon_park(Ticket ticket) noexcept;

/// Ends the wait that `ticket` names. True if this call ended it. Any thread, any time; never parks.
bool wake(Ticket ticket, Wake cause = Wake::ready) noexcept;

/// Wake → std::error_code: ready is success, else std::errc::timed_out or std::errc::operation_canceled. Rooms above
/// core/context turn these into context::errc.
[[nodiscard]] std::error_code to_error(Wake wake) noexcept;

}  // namespace fiberd::runtime
