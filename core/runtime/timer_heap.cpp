#include "core/runtime/timer_heap.hpp"

#include <new>

#include "core/base/cpu_relax.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static constexpr std::size_t kKept = 1024;  // places that a heap keeps whatever happens
static constexpr std::int64_t kSequenceBits = 10;
static constexpr std::int64_t kSequenceMask = (std::int64_t{1} << kSequenceBits) - 1;

std::atomic<std::uint16_t> TimerHeap::epoch_{0};

Timer::~Timer() {
  if ((place_.load(std::memory_order_relaxed) & kHangs) != 0) cancel();
}

void Timer::arm(Deadline deadline) noexcept {
  if (deadline.is_never()) {
    disarm();
    return;
  }
  std::int64_t wanted = deadline.ns();
  if (callback_ == nullptr) {
    wanted = wanted > INT64_MAX - 2 * kSequenceMask ? INT64_MAX - kSequenceMask - 1 : wanted + kSequenceMask;
    wanted = (wanted & ~kSequenceMask) |
             (static_cast<std::int64_t>(static_cast<FiberTimer*>(this)->ticket.load().sequence()) & kSequenceMask);
  }
  wanted_.store(wanted, std::memory_order_seq_cst);
  for (;;) {
    const std::uintptr_t place = place_.load(std::memory_order_seq_cst);
    const bool hangs = (place & kHangs) != 0;
    if (hangs && heap_time_.load(std::memory_order_relaxed) <= wanted) return;
    TimerHeap& target = hangs ? *heap_of(place) : heap_to_go_into();
    TimerHeap::Inserted inserted{};
    {
      const LockGuard guard(target.lock_);
      inserted = target.insert(*this);
    }
    if (inserted == TimerHeap::Inserted::elsewhere) continue;  // it moved meanwhile
    if (inserted == TimerHeap::Inserted::first) Scheduler::timer_became_first(target);
    return;
  }
}

/// The node may outlive that heap, which knows only the nodes that are in it, and be armed or cancelled again. The
/// epoch is read first: it is written behind the place, so the place that is read then is of that epoch or later.
TimerHeap* Timer::last_heap() const noexcept {
  if (last_epoch_.load(std::memory_order_acquire) != TimerHeap::epoch_.load(std::memory_order_relaxed)) return nullptr;
  return heap_of(place_.load(std::memory_order_seq_cst));
}

/// While its callback runs a node goes nowhere but into the heap that runs it: cancel() waits for one heap.
TimerHeap& Timer::heap_to_go_into() const noexcept {
  if (callback_ != nullptr) {
    TimerHeap* const last = last_heap();
    if (last != nullptr && last->firing_.load(std::memory_order_seq_cst) == this) return *last;
  }
  return Scheduler::timer_heap_for_caller();
}

void Timer::cancel() noexcept {
  do {
    wanted_.store(Deadline::never().ns(), std::memory_order_seq_cst);
    for (std::uintptr_t place = place_.load(std::memory_order_seq_cst); (place & kHangs) != 0;
         place = place_.load(std::memory_order_seq_cst)) {
      TimerHeap& heap = *heap_of(place);
      const LockGuard guard(heap.lock_);
      if (place_.load(std::memory_order_relaxed) == place) heap.remove(*this);
    }
    if (callback_ == nullptr) break;
    // The callback may run right now on another thread; or on this one, when it closes its own owner.
    const TimerHeap* const last = last_heap();
    while (last != nullptr && last->firing_.load(std::memory_order_seq_cst) == this &&
           last->firing_thread_.load(std::memory_order_relaxed) != thread_locals())
      cpu_relax();
    // It may have armed its timer again before it ended.
  } while ((place_.load(std::memory_order_seq_cst) & kHangs) != 0);
}

TimerHeap::~TimerHeap() {
  for (const Entry& e : heap_) e.timer->place_.store(0, std::memory_order_relaxed);
}

TimerHeap::Inserted TimerHeap::insert(Timer& timer) noexcept {
  const std::uintptr_t here = reinterpret_cast<std::uintptr_t>(this) | Timer::kHangs;
  std::uintptr_t place = timer.place_.load(std::memory_order_relaxed);
  while ((place & Timer::kHangs) == 0) {
    if (!timer.place_.compare_exchange_strong(place, here, std::memory_order_seq_cst)) continue;
    place = here;
    timer.last_epoch_.store(epoch_.load(std::memory_order_relaxed), std::memory_order_release);
    heap_.push_back({INT64_MAX, &timer});
    timer.index_ = static_cast<std::uint32_t>(heap_.size() - 1);
    count_.store(heap_.size(), std::memory_order_relaxed);
  }
  if (place != here) return Inserted::elsewhere;
  // What counts is what is wanted now, not what was wanted when the caller decided to insert.
  const std::int64_t time = timer.wanted_.load(std::memory_order_seq_cst);
  if (heap_[timer.index_].time <= time && time != INT64_MAX) return Inserted::behind;
  heap_[timer.index_].time = time;
  timer.heap_time_.store(time, std::memory_order_relaxed);
  sift_up(timer.index_);
  const bool first = heap_.front().timer == &timer;
  publish();
  return first ? Inserted::first : Inserted::behind;
}

/// Out of the heap at `at`. The time is forgotten first: whoever sees the node in a heap again reads no old time.
void TimerHeap::take_out(Timer& timer) noexcept {
  erase(timer.index_);
  timer.heap_time_.store(INT64_MAX, std::memory_order_relaxed);
  timer.place_.store(reinterpret_cast<std::uintptr_t>(this), std::memory_order_seq_cst);
}

void TimerHeap::remove(Timer& timer) noexcept {
  take_out(timer);
  publish();
}

/// A callback begins; whom a timer wakes is in the trace by the wake.
static void trace_timer() noexcept {
  const std::uint64_t word = trace_word(TraceKind::timer, 0, 0);
  Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr)
    m->processor->trace.record(word);
  else if (Scheduler* const s = Scheduler::instance())
    s->tracer().record_outside(word);
}

std::uint64_t TimerHeap::run(std::int64_t now) noexcept {
  if (earliest() > now || running_.exchange(true, std::memory_order_acquire)) return 0;
  std::uint64_t fired = 0;
  lock_.lock();
  while (fired != kMostFired && !heap_.empty() && heap_.front().time <= now) {
    Timer& timer = *heap_.front().timer;
    // Before the node is seen to be in no heap: whoever cancels it then waits until nobody here looks at it any more.
    firing_thread_.store(thread_locals(), std::memory_order_relaxed);
    firing_.store(&timer, std::memory_order_relaxed);
    take_out(timer);
    std::int64_t wanted = timer.wanted_.load(std::memory_order_seq_cst);
    if (wanted > now || !timer.wanted_.compare_exchange_strong(wanted, INT64_MAX, std::memory_order_seq_cst)) {
      // Lazily moved, disarmed, or re-armed at this moment; whoever armed it saw it out of the heap and inserts it, or
      // we do.
      if (timer.wanted_.load(std::memory_order_seq_cst) != INT64_MAX) insert(timer);
      firing_.store(nullptr, std::memory_order_release);
      continue;
    }
    publish();
    lock_.unlock();
    ++fired;
    fired_.store(fired_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (timer.callback_ != nullptr) {
      trace_timer();
      timer.callback_(timer);
    } else {
      const Ticket ticket = static_cast<FiberTimer&>(timer).ticket.load();
      if ((static_cast<std::int64_t>(ticket.sequence()) & kSequenceMask) == (wanted & kSequenceMask))
        wake(ticket, Wake::timeout);
    }
    firing_.store(nullptr, std::memory_order_release);
    lock_.lock();
  }
  publish();
  lock_.unlock();
  running_.store(false, std::memory_order_release);
  return fired;
}

bool TimerHeap::any_armed() noexcept {
  const LockGuard guard(lock_);
  for (const Entry& e : heap_)
    if (e.timer->wanted_.load(std::memory_order_relaxed) != INT64_MAX) return true;
  return false;
}

void TimerHeap::place(std::size_t at, Entry entry) noexcept {
  heap_[at] = entry;
  entry.timer->index_ = static_cast<std::uint32_t>(at);
}

void TimerHeap::sift_up(std::size_t at) noexcept {
  const Entry entry = heap_[at];
  while (at > 0) {
    const std::size_t parent = (at - 1) / 4;
    if (heap_[parent].time <= entry.time) break;
    place(at, heap_[parent]);
    at = parent;
  }
  place(at, entry);
}

void TimerHeap::sift_down(std::size_t at) noexcept {
  const Entry entry = heap_[at];
  for (;;) {
    const std::size_t first = at * 4 + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    for (std::size_t child = first + 1; child < heap_.size() && child < first + 4; ++child)
      if (heap_[child].time < heap_[least].time) least = child;
    if (heap_[least].time >= entry.time) break;
    place(at, heap_[least]);
    at = least;
  }
  place(at, entry);
}

void TimerHeap::erase(std::size_t at) noexcept {
  const Entry last = heap_.back();
  heap_.pop_back();
  count_.store(heap_.size(), std::memory_order_relaxed);
  if (heap_.capacity() > kKept && heap_.size() < heap_.capacity() / 4) [[unlikely]]
    shrink();
  if (at == heap_.size()) return;
  place(at, last);
  sift_up(at);
  sift_down(last.timer->index_);
}

/// After a crowd has gone its memory goes too.
void TimerHeap::shrink() noexcept {
  try {
    std::vector<Entry> smaller;
    smaller.reserve(heap_.capacity() / 2);
    smaller.assign(heap_.begin(), heap_.end());
    heap_.swap(smaller);
  } catch (const std::bad_alloc&) {
    // Then it stays as it is.
  }
}

void TimerHeap::publish() noexcept {
  earliest_.store(heap_.empty() ? INT64_MAX : heap_.front().time, std::memory_order_release);
}

}  // namespace fiberd::runtime
