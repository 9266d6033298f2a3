#pragma once
// WaitQueue: fibers that wait for something a lock guards, first come, first served. Every primitive of this room is a
// small state under a base Lock, with one or two of these queues.
//
// The protocol. A fiber that must wait begins its wait and hangs a Waiter, which lives on its stack, in the queue, both
// under the lock; then it releases the lock and parks. Whoever has what it waits for takes the Waiter *out under the
// lock*: that is the grant. It writes the result into the Waiter, copies the ticket, releases the lock and wakes. So
// being out of the queue decides: a fiber whose wait was ended by its context takes the lock and looks. Still hanging:
// it leaves, with the error. Out already: it has been granted what it waited for, and that counts. There is one
// outcome, and nothing that was handed over is lost.
//
// After the grant only the ticket is used, which is never dangling (runtime/wait.hpp): the fiber may have left, and the
// Waiter and even the primitive be gone. Where one grant goes to many (close, wait group, broadcast) they are taken out
// in one hold of the lock and chained through their own hooks. A chained Waiter must stay until the chain has passed
// it: `released` says so to the rare fiber whose context was faster than its wake.
//
// Rejected: deciding by the status word's winner alone (a value handed to a fiber that timed out would have to be taken
// back); a lock held across the switch, as gopark does (its commit function would have to agree with time-outs).
#include <atomic>
#include <system_error>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::sync {

/// One fiber's place in a WaitQueue; lives on its stack.
struct Waiter : ListHook {
  runtime::Ticket ticket;
  bool chained = false;  ///< a WakeChain has it; written under the lock
  std::atomic<bool> released{false};
};

/// Fibers taken out under the lock, to be woken after its release.
class WakeChain {
 public:
  /// Under the lock; `waiter` is out of its queue.
  void add(Waiter& waiter) noexcept {
    waiter.chained = true;
    waiter.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &waiter;
    last_ = &waiter;
  }
  /// After the lock's release. Touches nothing of the primitive.
  void wake() noexcept;

 private:
  ListHook* first_ = nullptr;
  ListHook* last_ = nullptr;
};

/// For a primitive's destructor, when fibers still wait for it, or it is held: a BUG. They will touch what is gone.
/// Nothing is said when there is no runtime: a simulation that ends in a deadlock leaves waiters behind whose fibers
/// are gone, and what they waited for dies after it.
void report_early_death(const char* what) noexcept;

/// All members under the primitive's lock.
template <class W = Waiter>
class BasicWaitQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  [[nodiscard]] W* front() const noexcept { return list_.front(); }
  /// Begins the calling fiber's wait for `what`, the primitive, and hangs it at the end.
  void add(W& waiter, runtime::WaitReason reason, const void* what) noexcept {
    waiter.ticket = runtime::prepare_park(reason, what);
    list_.push_back(waiter);
  }
  /// The same at the front, for one that has waited already.
  void add_front(W& waiter, runtime::WaitReason reason, const void* what) noexcept {
    waiter.ticket = runtime::prepare_park(reason, what);
    list_.push_front(waiter);
  }
  /// For waits that hang in several queues: the wait has begun.
  void add_begun(W& waiter) noexcept { list_.push_back(waiter); }
  /// The grant: the first one, or nullptr.
  W* pop() noexcept { return list_.pop_front(); }
  static void remove(W& waiter) noexcept { List<W>::remove(waiter); }
  /// In the primitive's destructor, without its lock: nobody may be at it any more.
  void dies(const char* what) const noexcept {
    if (!empty()) [[unlikely]]
      report_early_death(what);
  }
  void take_all(WakeChain& chain) noexcept {
    while (W* const w = list_.pop_front()) chain.add(*w);
  }

 private:
  List<W> list_;
};
using WaitQueue = BasicWaitQueue<>;

/// Parks the calling fiber, which hangs in a queue under `lock` (not held here). Success: granted. Otherwise `ctx`
/// ended it, and the fiber is out of the queue; never without a context.
template <class L>
[[nodiscard]] std::error_code wait(L& lock, Waiter& waiter, const context::Context* ctx) noexcept;
extern template std::error_code wait(Lock& lock, Waiter& waiter, const context::Context* ctx) noexcept;
extern template std::error_code wait(LeafLock& lock, Waiter& waiter, const context::Context* ctx) noexcept;

/// What an operation looks at first: a context that is done costs nothing more.
[[nodiscard]] inline std::error_code ended_by(const context::Context* ctx) noexcept {
  return ctx != nullptr ? ctx->err() : std::error_code{};
}

}  // namespace fiberd::sync
