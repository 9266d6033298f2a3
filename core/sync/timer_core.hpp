#pragma once
// TimerCore: what Timer and Ticker are: a channel without a buffer, whose sender is the clock.
//
// Its whole state is the time when it is due. A tick is *there* when that time has come and nobody has had it: there is
// no buffer that a value could stand in, so stop() and reset() leave nothing stale behind, a receiver that looks after
// the time sees the tick however late the scheduler's timers are, and a ticker that nobody reads costs nothing. To take
// a tick is to move the time on: to never, or to the next multiple of the period that has not come yet, which drops
// what a slow reader has missed. The runtime's timer only wakes those who wait; it is set when the time is set and when
// a tick is taken, and finds out by itself (under the lock) that it has come for a time which holds no more.
//
// As a ChannelCore it hangs in select as any channel does: one moment of all, one winner, nothing lost.
#include <chrono>
#include <concepts>
#include <system_error>
#include <utility>

#include "core/context/context.hpp"
#include "core/sync/channel_core.hpp"
#include "core/sync/select.hpp"
#include "core/sync/settled_timer.hpp"

namespace fiberd::sync::detail {

class TimerCore : protected ChannelCore, protected SettledTimer {
 protected:
  TimerCore() noexcept : ChannelCore(&kOps, 0), SettledTimer(&TimerCore::on_time) {}
  ~TimerCore() { retire(); }

  /// `period`: ns, 0: once. True: it was running, or its tick had not been taken.
  bool set(std::int64_t due, std::int64_t period) noexcept;
  [[nodiscard]] bool set_now() const noexcept { return due_.load(std::memory_order_relaxed) != kNever; }
  [[nodiscard]] std::error_code wait_for(const context::Context* ctx) noexcept FIBERD_UNCHECKED_LOCKING;
  [[nodiscard]] bool try_take() noexcept FIBERD_UNCHECKED_LOCKING;

 private:
  template <class F>
  friend class TickCase;
  [[nodiscard]] bool take(std::int64_t now) noexcept FIBERD_REQUIRES(lock_);
  static void on_time(SettledTimer& timer) noexcept;
  /// As a channel's: the lock is released when the answer is true.
  static bool receive_op(ChannelCore& core, void* slot) noexcept FIBERD_UNCHECKED_LOCKING;
  static bool send_op(ChannelCore& core, void* slot) noexcept;
  static constexpr ChannelOps kOps{&TimerCore::receive_op, &TimerCore::send_op};

  std::int64_t period_ FIBERD_GUARDED_BY(lock_) = 0;  // changes of due_ are under the lock, too
};

/// The door from Timer and Ticker to what they are.
struct TickAccess {
  template <class T>
  [[nodiscard]] static TimerCore* core(T* timer) noexcept {
    return timer;
  }
};

/// A select's case of one.
template <class F>
class TickCase final : public SelectCase {
 public:
  TickCase(TimerCore* timer, F handler)
      : SelectCase(Kind::receive, static_cast<ChannelCore*>(timer)), handler_(std::forward<F>(handler)) {}

 private:
  void run(std::error_code) override { handler_(); }
  F handler_;
};

}  // namespace fiberd::sync::detail
