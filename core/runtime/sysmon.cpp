// What sysmon does, and how often.
//
// Every millisecond while one Processor runs and another idles now and then, so that it could help; every 5 ms once all
// have run for 20 looks, since then only a hand-off helps and its limit is 10 ms (a wake-up costs a virtual machine
// several µs: at 1 ms they were 5 % of a busy core); not at all while all sleep. It polls Pollers that nobody polled
// for 1 ms, fires their timers, wakes a sleeper when work lies about, replaces a Processor whose fiber has held it for
// 10 ms while other work waits that no idle Processor could do (fibers pinned there), retakes those of machines that
// block (blocking_section.cpp), trims unused stacks and threads once a second, and looks for a deadlock (deadlock.cpp)
// while all sleep. It runs no fibers.
#include "core/runtime/sysmon.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/quiet_thread.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static constexpr std::int64_t kPeriod = 1'000'000;
static constexpr std::int64_t kBusyPeriod = 5'000'000;
static constexpr std::int64_t kHeldTooLong = 10'000'000;
static constexpr std::int64_t kTrimPeriod = 1'000'000'000;
static constexpr std::int64_t kCoolPeriod = kTrimPeriod / 16;
static constexpr unsigned kIdleRounds = 20;
static constexpr unsigned kBusyRounds = 20;
// A blocking section that was seen once is looked at again soon: short ones are over by then. Where sections do last
// more of them will come, so the short looks go on for some time after each that was retaken.
static constexpr std::int64_t kSectionPeriod = 50'000;
static constexpr std::int64_t kSectionLasts = 20'000;
static constexpr unsigned kSectionLooks = 20;

void* Sysmon::main(void* sysmon) noexcept {
  pthread_setname_np(pthread_self(), "fiberd-sysmon");
  thread_locals()->serves_timers = true;
  static_cast<Sysmon*>(sysmon)->run();
  return nullptr;
}

std::error_code Sysmon::start() noexcept {
  const int error = create_quiet_thread(thread_, &Sysmon::main, this);
  if (error != 0) return {error, std::system_category()};
  started_ = true;
  return {};
}

void Sysmon::stop() noexcept {
  if (!started_) return;
  wake();
  pthread_join(thread_, nullptr);
  started_ = false;
}

void Sysmon::run() noexcept {
  const auto events = std::make_unique<Poller::Events>();
  unsigned idle_rounds = 0;
  unsigned busy_rounds = 0;
  while (!s_.stopping_.load(std::memory_order_acquire)) {
    const bool active = round(monotonic_now(), *events);
    idle_rounds = active ? 0 : idle_rounds + 1;
    busy_rounds = active && !s_.idle_.any_idle() ? busy_rounds + 1 : 0;
    if (idle_rounds < kIdleRounds) {
      pause(busy_rounds);
      continue;
    }
    idle_rounds = 0;
    s_.look_for_deadlock(monotonic_now());
    pausing_.store(kAllAsleep, std::memory_order_seq_cst);
    // Somebody who woke up before the store does not wake us; hence a limit, and a look at the trim list.
    if (s_.idle_.count() == s_.gomaxprocs() && !s_.stopping_.load(std::memory_order_seq_cst)) {
      const timespec limit{1, 0};
      syscall(SYS_futex, &pausing_, FUTEX_WAIT_PRIVATE, kAllAsleep, &limit, nullptr, 0);
    }
    pausing_.store(0, std::memory_order_relaxed);
    last_round_ = 0;
  }
}

void Sysmon::pause(unsigned& busy_rounds) noexcept {
  if (std::exchange(section_seen_, false)) {
    busy_rounds = 0;
    const bool soon = section_looks_ != 0;
    if (soon) --section_looks_;
    const timespec pause{0, soon ? kSectionPeriod : kPeriod};
    nanosleep(&pause, nullptr);
    return;
  }
  if (busy_rounds < kBusyRounds) {
    const timespec pause{0, kPeriod};
    nanosleep(&pause, nullptr);
    return;
  }
  pausing_.store(kBusyPause, std::memory_order_seq_cst);
  if (!s_.stopping_.load(std::memory_order_seq_cst)) {
    const timespec limit{0, kBusyPeriod};
    syscall(SYS_futex, &pausing_, FUTEX_WAIT_PRIVATE, kBusyPause, &limit, nullptr, 0);
  }
  if (pausing_.exchange(0, std::memory_order_relaxed) == 0) busy_rounds = 0;
}

void Sysmon::wake() noexcept {
  if (pausing_.exchange(0, std::memory_order_acq_rel) != 0)
    syscall(SYS_futex, &pausing_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

/// True when some Processor is not asleep.
bool Sysmon::round(std::int64_t now, Poller::Events& events) noexcept {
  s_.tell_outgrown();
  const unsigned n = s_.slot_count_.load(std::memory_order_acquire);
  const std::int64_t before = std::exchange(last_round_, now);
  for (unsigned i = 0; i < n; ++i) {
    if (before != 0) note_load(*s_.slots_[i], now - before);
    look_after(*s_.slots_[i], now, events);
  }
  stalls_.look_at_replaced(now);
  // A trim that has more to do goes on in the next round.
  if (now - last_trim_ >= kTrimPeriod && !s_.trim_stacks()) {
    last_trim_ = now;
    s_.trim_machines();
  }
  // A little at a time: hand-offs wait for the end of this round. Where nobody runs rounds are rare, and nothing waits.
  if (now - last_cool_ >= kCoolPeriod) {
    s_.cool_parked_stacks(now,
                          static_cast<std::uint32_t>(std::min<std::int64_t>((now - last_cool_) / kCoolPeriod, 16)));
    last_cool_ = now;
  }
  // Once in a period, also where blocking sections have us look more often: where fibers are through in no time there
  // is always something queued, and a helper would be woken for it all the time.
  if (now - last_help_ >= kPeriod && s_.work_anywhere()) {
    last_help_ = now;
    s_.wake_helper();
  }
  return s_.idle_.count() < s_.gomaxprocs() || !s_.retired_.empty();
}

/// Who is awake now is taken to have been since the last look: a sample a millisecond is within some percent after a
/// second, and costs the Processors nothing. A clock at each sleep and wake-up would be exact, and two calls each.
void Sysmon::note_load(Slot& slot, std::int64_t since_last) noexcept {
  const Processor* const p = slot.processor.load(std::memory_order_acquire);
  if (p == nullptr) return;
  const auto phase = p->phase.load(std::memory_order_relaxed);
  if (phase != Processor::Phase::scheduling && phase != Processor::Phase::running) return;
  slot.busy_ns.store(slot.busy_ns.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(since_last),
                     std::memory_order_relaxed);
}

void Sysmon::look_after(Slot& slot, std::int64_t now, Poller::Events& events) noexcept {
  Processor* const p = slot.processor.load(std::memory_order_acquire);
  const bool orphan = p == nullptr || p->retired.load(std::memory_order_relaxed);
  if (!orphan && slot.poller.sleeping.load(std::memory_order_relaxed)) {
    if (p->stalled_since.load(std::memory_order_relaxed) != 0) stalls_.over(*p, now);
    return;
  }
  // A Processor that goes from fiber to fiber looks at its timers and into its Poller itself; it is only told to do so
  // at its next turn when it has not. What it wakes goes first there; what we wake goes through the global queue.
  const std::uint64_t tick = p != nullptr ? p->tick.load(std::memory_order_relaxed) : 0;
  const bool turning = !orphan && p == slot.seen && tick != slot.seen_tick;
  const bool due =
      slot.poller.timers.earliest() <= now || now - slot.poller.last_poll.load(std::memory_order_relaxed) >= kPeriod;
  if (due && !orphan) {
    if (!turning) p->look_wide.store(true, std::memory_order_relaxed);
    p->next_look.store(0, std::memory_order_relaxed);
  }
  if (due && (!turning || s_.idle_.any_idle()) &&
      now - slot.poller.last_poll.load(std::memory_order_relaxed) >= kPeriod) {
    const int count = slot.poller.wait(events, 0);
    slot.poller.last_poll.store(now, std::memory_order_relaxed);
    if (count > 0) slot.poller.deliver(events, count);
  }
  if (!turning) slot.poller.timers.run(now);
  if (orphan) return;
  if (const std::uint64_t section = p->section.current(); section != 0) {
    look_at_section(slot, *p, section, now);
    return;
  }
  if (p != slot.seen || tick != slot.seen_tick ||
      p->phase.load(std::memory_order_relaxed) != Processor::Phase::running) {
    if (p == slot.seen) stalls_.over(*p, now);  // else it was replaced, and its machine says when it is over
    slot.seen = p;
    slot.seen_tick = tick;
    slot.seen_since = now;
    // Should this turn be a long one, its end says so: by a look at the clock, which costs nothing but at such an end.
    p->watched_at.store(now, std::memory_order_relaxed);
    p->watched.store(tick, std::memory_order_release);
    // Woken by a fiber that perhaps goes on computing, beside somebody who could run it: looked at again soon.
    if (now - last_second_look_ >= kPeriod && p->phase.load(std::memory_order_relaxed) == Processor::Phase::running &&
        !p->runnext.empty() && s_.idle_.any_idle()) {
      last_second_look_ = now;
      section_seen_ = true;
      if (section_looks_ == 0) section_looks_ = 1;
    }
    return;
  }
  p->next_look.store(0, std::memory_order_relaxed);
  // Told last: whoever waits for this Processor does not wait for the log, too.
  const auto stalled = stalls_.look(slot, *p, now);
  const defer told([&] {
    if (stalled) stalls_.tell(*stalled);
  });
  const bool waiting =
      !p->runnext.empty() || s_.work_anywhere() || slot.pinned_count.load(std::memory_order_relaxed) != 0;
  if (!waiting) return;
  // Others may take what is queued here, but not what is pinned.
  if (s_.idle_.any_idle() && slot.pinned_count.load(std::memory_order_relaxed) == 0) {
    const LockGuard guard(s_.structure_lock_);
    if (slot.processor.load(std::memory_order_relaxed) == p && !p->runnext.empty()) s_.share_runnext(*p);
    s_.wake_helper();
    return;
  }
  if (now - slot.seen_since < kHeldTooLong || p->pin.pinned() ||
      handoffs_.load(std::memory_order_relaxed) >= s_.options_.handoff_max)
    return;
  const LockGuard guard(s_.structure_lock_);
  if (slot.processor.load(std::memory_order_relaxed) != p || !s_.replace(*p)) return;
  stalls_.was_replaced(slot);
  s_.share_runnext(*p);
  p->by_sysmon = true;
  handoffs_.fetch_add(1, std::memory_order_relaxed);
}

void Sysmon::look_at_section(Slot& slot, Processor& p, std::uint64_t section, std::int64_t now) noexcept {
  section_seen_ = true;
  slot.seen = nullptr;  // as if it had run only from the section's end on
  if (slot.seen_section != section || slot.section_of != &p) {
    slot.seen_section = section;
    slot.section_of = &p;
    slot.section_since = now;
    if (section_looks_ == 0) section_looks_ = 1;
    return;
  }
  const std::int64_t lasts = now - slot.section_since;
  if (lasts < kSectionLasts) return;
  const bool waiting = !p.runnext.empty() || s_.work_anywhere() ||
                       slot.pinned_count.load(std::memory_order_relaxed) != 0 || slot.poller.timers.earliest() <= now;
  if ((waiting || lasts >= kPeriod) && s_.retake(p, section)) section_looks_ = kSectionLooks;
}

}  // namespace fiberd::runtime
