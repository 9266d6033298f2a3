#include "core/runtime/poll_descriptor.hpp"

#include <sys/epoll.h>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/runtime/poll_descriptor_pool.hpp"
#include "core/runtime/poll_registration.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static constexpr std::uint8_t kRead = 1;
static constexpr std::uint8_t kWrite = 2;

PollDescriptor::PollDescriptor() noexcept : Timer(&PollDescriptor::on_idle_timer) {}

Result<PollDescriptor*> PollDescriptor::open(int fd) noexcept {
  PollDescriptor* const d = PollDescriptorPool::instance().take();
  if (d == nullptr) return fail(std::errc::not_enough_memory);
  d->fd_ = fd;
  d->poller_ = nullptr;
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
  if (watched_.load(std::memory_order_relaxed)) {
    const LockGuard guard(register_lock_);
    watched_.store(false, std::memory_order_relaxed);
  }
  // epoll forgets the descriptor by itself when it is closed. A connection that was idle when its runtime ended may be
  // closed after it: then the Poller is gone.
  if (registered_.load(std::memory_order_relaxed) != 0 && Scheduler::instance() != nullptr)
    poller_->descriptors.fetch_sub(1, std::memory_order_relaxed);
  PollDescriptorPool::instance().give_back(*this);
}

std::error_code PollDescriptor::ensure_registered(Direction direction) noexcept {
  const std::uint8_t wanted = direction == Direction::read ? kRead : kRead | kWrite;
  if ((registered_.load(std::memory_order_acquire) & wanted) == wanted) return {};
  const LockGuard guard(register_lock_);
  const std::uint8_t present = registered_.load(std::memory_order_relaxed);
  if ((present & wanted) == wanted) return {};
  if (present == 0) poller_ = &Scheduler::instance()->poller_for_caller();
  // EPOLLOUT only once somebody waits for it: at registration an empty socket would report a writable edge for nothing.
  const std::uint32_t mask = EPOLLIN | EPOLLRDHUP | EPOLLET | ((wanted & kWrite) != 0 ? EPOLLOUT : 0U);
  const std::error_code error = poller_->add_descriptor(fd_, this, use_.generation(), mask, present != 0);
  if (!error) registered_.store(present | wanted, std::memory_order_release);
  return error;
}

Result<void> PollDescriptor::wait(Direction direction, WaitReason reason, Deadline deadline,
                                  Cancellation* cancellation) noexcept {
  if (const std::error_code error = ensure_registered(direction)) return fail(error);
  PollWord& word = words_[static_cast<unsigned>(direction)];
  const Ticket mine = prepare_park(reason);
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

bool PollDescriptor::go_idle(const IdleHandler& handler, Deadline deadline) noexcept {
  if (ensure_registered(Direction::read)) return false;  // the caller's read will find the same trouble
  idle_ = handler;
  idle_generation_ = idle_generation_ % 0xfff'ffffU + 1;
  const bool timed = !deadline.is_never();
  idle_deadline_.store(deadline.ns(), std::memory_order_relaxed);
  if (timed) arm(deadline);
  // From the moment this succeeds the object belongs to whoever claims it.
  return words_[0].go_idle(idle_generation_);
}

bool PollDescriptor::claim_idle() noexcept {
  const std::uint32_t generation = words_[0].idle_generation();
  return generation != 0 && words_[0].claim_idle(generation);
}

void PollDescriptor::on_idle_timer(Timer& timer) noexcept {
  auto& d = static_cast<PollDescriptor&>(timer);
  const std::uint32_t generation = d.words_[0].idle_generation();
  if (generation == 0) return;  // active; going idle again arms the timer again
  const std::int64_t deadline = d.idle_deadline_.load(std::memory_order_relaxed);
  if (deadline > monotonic_now()) {
    timer.arm(Deadline::at(deadline));
    return;
  }
  if (!d.words_[0].claim_idle(generation)) return;
  const IdleHandler handler = d.idle_;
  handler.on_timeout(handler.argument);
}

Result<void> PollDescriptor::watch_hang_up(HangUpWatch& watch) noexcept {
  if (const std::error_code error = ensure_registered(Direction::read)) return fail(error);
  const LockGuard guard(register_lock_);
  (void)FIBERD_BUG_IF(watched_.load(std::memory_order_relaxed));
  idle_.argument = &watch;
  // Either an event's thread sees this, or it is seen here what the event said.
  watched_.store(true, std::memory_order_seq_cst);
  if (hung_up()) watch.on_hang_up(watch, was_reset());
  return {};
}

void PollDescriptor::unwatch_hang_up(HangUpWatch& watch) noexcept {
  const LockGuard guard(register_lock_);
  if (watched_.load(std::memory_order_relaxed) && idle_.argument == &watch)
    watched_.store(false, std::memory_order_relaxed);
}

void PollDescriptor::tell_watch(std::uint16_t generation) noexcept {
  const LockGuard guard(register_lock_);
  // The descriptor may have been closed, opened and watched anew since this event was looked at: whoever set the watch
  // that is seen here came after the generation that is seen here.
  if (!watched_.load(std::memory_order_relaxed) || use_.generation() != generation) return;
  auto& watch = *static_cast<HangUpWatch*>(idle_.argument);
  watch.on_hang_up(watch, was_reset());
}

void PollDescriptor::deliver(std::uint32_t events, std::uint16_t generation) noexcept {
  // Before anybody is woken by it.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    const bool reset = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (!use_.mark(generation, reset ? UseWord::kEnded | UseWord::kReset : UseWord::kEnded)) return;
    if (watched_.load(std::memory_order_seq_cst)) tell_watch(generation);
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
    const IdleHandler handler = idle_;
    handler.on_ready(handler.argument);
  }
}

void deliver_to_descriptor(void* descriptor, std::uint16_t generation, std::uint32_t events) noexcept {
  auto& d = *static_cast<PollDescriptor*>(descriptor);
  if (d.use_.generation() == generation) d.deliver(events, generation);
}

}  // namespace fiberd::runtime
