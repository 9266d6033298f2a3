#include "core/runtime/poll_descriptor.hpp"

#include <sys/epoll.h>

#include "core/base/bug.hpp"
#include "core/runtime/poll_descriptor_pool.hpp"
#include "core/runtime/poll_registration.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static_assert(kMaxProcessors <= 1U << (16U - 3U));  // registered_ has room for the slot

PollDescriptor::PollDescriptor() noexcept : Timer(&PollDescriptor::on_idle_timer) {}

Result<PollDescriptor*> PollDescriptor::open(int fd) noexcept {
  PollDescriptor* const d = PollDescriptorPool::instance().take();
  if (d == nullptr) return fail(std::errc::not_enough_memory);
  d->fd_.store(fd, std::memory_order_relaxed);
  d->registered_.store(0, std::memory_order_relaxed);
  for (PollWord& word : d->words_) word.reset();
  return d;
}

void PollDescriptor::shutdown() noexcept {
  for (PollWord& word : words_)
    if (const Ticket t = word.close()) wake(t, Wake::canceled);
}

bool PollDescriptor::is_shut_down() const noexcept { return words_[0].closed(); }

void PollDescriptor::close() noexcept {
  // The generation first: events from here on are stale.
  use_.next();
  shutdown();
  cancel();
  std::uint16_t registered = registered_.load(std::memory_order_relaxed);
  if ((registered & kWatched) != 0) {
    const LockGuard guard(register_lock_);
    registered &= static_cast<std::uint16_t>(~kWatched);
    registered_.store(registered, std::memory_order_relaxed);
  }
  // epoll forgets the descriptor by itself when it is closed. A connection that was idle when its runtime ended may be
  // closed after it: then the Poller is gone.
  if (registered != 0)
    if (Scheduler* const s = Scheduler::instance(); s != nullptr)
      if (Poller* const poller = s->poller_of(registered >> kSlotShift); poller != nullptr)
        poller->descriptors.fetch_sub(1, std::memory_order_relaxed);
  PollDescriptorPool::instance().give_back(*this);
}

std::error_code PollDescriptor::ensure_registered(Direction direction) noexcept {
  const std::uint16_t wanted = direction == Direction::read ? kRead : kRead | kWrite;
  if ((registered_.load(std::memory_order_acquire) & wanted) == wanted) return {};
  const LockGuard guard(register_lock_);
  const std::uint16_t present = registered_.load(std::memory_order_relaxed);
  if ((present & wanted) == wanted) return {};
  Scheduler& s = *Scheduler::instance();
  const unsigned slot = present == 0 ? s.slot_for_caller() : present >> kSlotShift;
  // EPOLLOUT only once somebody waits for it: at registration an empty socket would report a writable edge for nothing.
  const std::uint32_t mask = EPOLLIN | EPOLLRDHUP | EPOLLET | ((wanted & kWrite) != 0 ? EPOLLOUT : 0U);
  Poller* const poller = s.poller_of(slot);
  if (poller == nullptr) return std::make_error_code(std::errc::bad_file_descriptor);  // of a runtime that has ended
  const std::error_code error = poller->add_descriptor(fd(), this, use_.generation(), mask, present != 0);
  if (!error)
    registered_.store(static_cast<std::uint16_t>(present | wanted | slot << kSlotShift), std::memory_order_release);
  return error;
}

Result<void> PollDescriptor::wait(Direction direction, WaitReason reason, Deadline deadline,
                                  Cancellation* cancellation) noexcept {
  if (const std::error_code error = ensure_registered(direction)) return fail(error);
  PollWord& word = words_[static_cast<unsigned>(direction)];
  const Ticket mine = prepare_park(reason, this);
  switch (word.begin_wait(mine)) {
    case PollWord::Begin::waiting: break;
    case PollWord::Begin::ready: (void)abandon_park(mine); return {};
    case PollWord::Begin::closed: (void)abandon_park(mine); return as_result(to_error(Wake::canceled));
    case PollWord::Begin::busy:
      (void)abandon_park(mine);
      report_bug("two fibers wait for the same direction of a descriptor");
      return fail(std::errc::device_or_resource_busy);
  }
  const Wake w = park_until(mine, deadline, cancellation);
  if (w != Wake::ready) {
    word.withdraw(mine);
    return as_result(to_error(w));
  }
  return as_result(word.end_ready() ? std::error_code{} : to_error(Wake::canceled));
}

bool PollDescriptor::go_idle(const IdleHandler& handler, void* argument, Deadline deadline) noexcept {
  // As if there were bytes: whoever reads, finds none and is told so again gives the descriptor up after a few times.
  if (ensure_registered(Direction::read)) return false;
  idle_handler_ = &handler;
  argument_ = argument;
  idle_generation_ = ((idle_generation_ | 1U) + 1) & 0xfff'fffeU;
  if (idle_generation_ == 0) idle_generation_ = 2;
  if (!deadline.is_never()) {
    idle_generation_ |= 1U;
    arm(deadline);
  }
  // From the moment this succeeds the object belongs to whoever claims it.
  return words_[0].go_idle(idle_generation_);
}

bool PollDescriptor::claim_idle() noexcept {
  const std::uint32_t generation = words_[0].idle_generation();
  return generation != 0 && words_[0].claim_idle(generation);
}

/// An idle period arms the timer before it begins, so of the one that is seen here the deadline has either passed, or
/// it is what the timer is armed for anew.
void PollDescriptor::on_idle_timer(Timer& timer) noexcept {
  auto& d = static_cast<PollDescriptor&>(timer);
  const std::uint32_t generation = d.words_[0].idle_generation();
  if ((generation & 1U) == 0) return;  // active, or idle without a deadline; the next that has one arms the timer again
  if (d.armed()) return;
  if (d.words_[0].claim_idle(generation)) d.idle_handler_->on_timeout(d.argument_);
}

Result<void> PollDescriptor::watch_hang_up(HangUpWatch& watch) noexcept {
  if (const std::error_code error = ensure_registered(Direction::read)) return fail(error);
  const LockGuard guard(register_lock_);
  const std::uint16_t registered = registered_.load(std::memory_order_relaxed);
  (void)FIBERD_BUG_IF((registered & kWatched) != 0);
  argument_ = &watch;
  // Either an event's thread sees this, or it is seen here what the event said.
  registered_.store(registered | kWatched, std::memory_order_seq_cst);
  if (hung_up()) watch.on_hang_up(watch, was_reset());
  return {};
}

void PollDescriptor::unwatch_hang_up(HangUpWatch& watch) noexcept {
  const LockGuard guard(register_lock_);
  const std::uint16_t registered = registered_.load(std::memory_order_relaxed);
  if ((registered & kWatched) != 0 && argument_ == &watch)
    registered_.store(registered & static_cast<std::uint16_t>(~kWatched), std::memory_order_relaxed);
}

void PollDescriptor::tell_watch(std::uint16_t generation) noexcept {
  const LockGuard guard(register_lock_);
  // The descriptor may have been closed, opened and watched anew since this event was looked at: whoever set the watch
  // that is seen here came after the generation that is seen here.
  if ((registered_.load(std::memory_order_relaxed) & kWatched) == 0 || use_.generation() != generation) return;
  auto& watch = *static_cast<HangUpWatch*>(argument_);
  watch.on_hang_up(watch, was_reset());
}

void PollDescriptor::deliver(std::uint32_t events, std::uint16_t generation) noexcept {
  // Before anybody is woken by it.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    const bool reset = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (!use_.mark(generation, reset ? UseWord::kEnded | UseWord::kReset : UseWord::kEnded)) return;
    if ((registered_.load(std::memory_order_seq_cst) & kWatched) != 0) tell_watch(generation);
  }
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
    const PollWord::Notified n = words_[1].notify();
    if (n.ticket) wake(n.ticket);
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) return;
  const PollWord::Notified n = words_[0].notify();
  if (n.ticket) {
    wake(n.ticket);
  } else if (n.start_idle) {
    idle_handler_->on_ready(argument_);
  }
}

void deliver_to_descriptor(void* descriptor, std::uint16_t generation, std::uint32_t events) noexcept {
  auto& d = *static_cast<PollDescriptor*>(descriptor);
  if (d.use_.generation() == generation) d.deliver(events, generation);
}

}  // namespace fiberd::runtime
