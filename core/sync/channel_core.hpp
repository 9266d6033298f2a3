#pragma once
// ChannelCore: what a channel is without its value type: the lock, the places of the ring, the two queues, and the
// operations that select calls.
//
// A waiter of a select hangs in several channels at once. Its SelectState is claimed by CAS by the first channel that
// can serve it; a plain waiter is claimed by being taken out.
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "core/base/lock.hpp"
#include "core/sync/select_state.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Values that did not go anywhere, because a try_send found the channel full or a select with a default branch could
/// not send at once; since the process began. Metric fiberd_channel_unsent_total.
[[nodiscard]] std::uint64_t unsent_count() noexcept;

namespace detail {

class ChannelCore;
class Selector;
struct ChannelLook;  // wait_looks.hpp

struct ChannelWaiter : Waiter {
  void* slot = nullptr;  ///< receiving: room for a T; sending: the T
  SelectState* select = nullptr;
  std::uint32_t index = 0;  ///< of the select's case
  bool completed = false;   ///< the value has changed hands; otherwise, when out of the queue: closed
};

/// Where the memory is of a channel that a shared_ptr owns: nothing else is in there.
struct ChannelPlace {
  const void* object = nullptr;   ///< nullptr: no shared_ptr, so nobody knows what it is a part of
  const void* control = nullptr;  ///< the shared_ptr's block, in front of the object or elsewhere
  std::size_t size = 0;           ///< of the object
};

struct ChannelOps {
  /// Under the lock. True: done, and the lock is released.
  bool (*receive)(ChannelCore& channel, void* slot) noexcept;
  bool (*send)(ChannelCore& channel, void* slot) noexcept;
  /// nullptr: a timer sends.
  ChannelPlace (*place)(const ChannelCore& channel) noexcept = nullptr;
};

class ChannelCore {
 public:
  ChannelCore(const ChannelCore&) = delete;
  ChannelCore& operator=(const ChannelCore&) = delete;

 protected:
  using ChannelWaiter = detail::ChannelWaiter;
  ChannelCore(const ChannelOps* ops, std::size_t capacity) noexcept : ops_(ops), capacity_(capacity) {}
  ~ChannelCore() {
    receivers_.dies("a channel died while fibers waited for a value");
    senders_.dies("a channel died while fibers waited to send");
  }

  /// Under the lock: the first waiter that is still to be had, out of the queue.
  static ChannelWaiter* claim(BasicWaitQueue<ChannelWaiter>& queue) noexcept { return claim_first(queue); }
  /// The value has changed hands: releases the lock and wakes the other side.
  void complete_and_unlock(ChannelWaiter& waiter) noexcept FIBERD_RELEASE(lock_) {
    waiter.completed = true;
    const runtime::Ticket ticket = waiter.ticket;
    lock_.unlock();
    runtime::wake(ticket);
  }
  [[nodiscard]] std::size_t place_at_end() const noexcept FIBERD_REQUIRES(lock_) {
    const std::size_t at = head_ + size_;
    return at >= capacity_ ? at - capacity_ : at;
  }
  void pushed() noexcept FIBERD_REQUIRES(lock_) { ++size_; }
  void popped() noexcept FIBERD_REQUIRES(lock_) {
    if (++head_ == capacity_) head_ = 0;
    --size_;
  }

  /// Under the lock, which they release. Success: the value has changed hands. Errors: errc::closed, context::errc.
  [[nodiscard]] std::error_code wait_to_send(void* value, const context::Context* ctx) noexcept FIBERD_RELEASE(lock_);
  [[nodiscard]] std::error_code wait_to_receive(void* storage, const context::Context* ctx) noexcept
      FIBERD_RELEASE(lock_);
  [[nodiscard]] std::error_code wait_in(BasicWaitQueue<ChannelWaiter>& queue, void* slot,
                                        const context::Context* ctx) noexcept FIBERD_RELEASE(lock_);
  /// The same without a context. False: closed.
  [[nodiscard]] bool wait_plainly_in(BasicWaitQueue<ChannelWaiter>& queue, void* slot) noexcept FIBERD_RELEASE(lock_);
  /// Releases the lock, says errc::closed; a misuse is reported.
  std::error_code unlock_closed(bool misuse = true) noexcept FIBERD_RELEASE(lock_);
  std::error_code close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;
  static void count_unsent() noexcept;

  friend class Selector;
  friend struct ChannelLook;
  const ChannelOps* const ops_;
  mutable LeafLock lock_;
  bool closed_ FIBERD_GUARDED_BY(lock_) = false;
  const std::size_t capacity_;
  std::size_t head_ FIBERD_GUARDED_BY(lock_) = 0;
  std::size_t size_ FIBERD_GUARDED_BY(lock_) = 0;
  BasicWaitQueue<ChannelWaiter> receivers_ FIBERD_GUARDED_BY(lock_);
  BasicWaitQueue<ChannelWaiter> senders_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace detail
}  // namespace fiberd::sync
