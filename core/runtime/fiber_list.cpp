// How a dump sees fibers that go on meanwhile.
//
//  - A waiting one is held still by the scan bit of its status word (status_word.hpp): whoever wakes it leaves its
//    queueing to us. What we read in that time, a microsecond, is consistent, and what it waits for lives, since the
//    wait has not returned. The caller sees a copy, after the bit is gone; so it may wait, for the network above all.
//  - Nothing holds a runnable one. Its origin is read by OriginCell's rule, and no more is told: where it stands would
//    have to be read from a stack that may begin to run at any moment.
//  - Only the thread that runs a fiber can look at it without stopping it: each machine is sent a signal, whose handler
//    writes down the fiber and its frames, by frame pointers inside of the bounds of its stack. Who is in a system call
//    is interrupted (SA_RESTART), who has no CPU answers late and is shown without frames.
//
// SIGURG for the reason that Go has it: programs that get one for another purpose (out-of-band data) must cope with
// spurious ones anyway, and by default it is ignored.
//
// Rejected: stopping all Processors (a dump of 100,000 fibers takes a tenth of a second); a lock around the table
// (spawn would take it); ptrace or perf_event (rights that a service does not have).
#include "core/runtime/fiber_list.hpp"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/cpu_relax.hpp"
#include "core/base/defer.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/fiber/interrupted_frames.hpp"
#include "core/runtime/interrupted.hpp"
#include "core/runtime/parked_frames.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::runtime {

static constexpr std::size_t kReasons = static_cast<std::size_t>(WaitReason::count_);
static std::array<std::atomic<DescribeWait>, kReasons> descriptions{};

void set_wait_description(WaitReason reason, DescribeWait describe) noexcept {
  descriptions[static_cast<std::size_t>(reason)].store(describe, std::memory_order_release);
}

void describe_wait(WaitReason reason, const void* object, std::string& text) {
  const DescribeWait tell = descriptions[static_cast<std::size_t>(reason)].load(std::memory_order_acquire);
  if (tell != nullptr && object != nullptr) tell(object, text);
}

std::string_view to_string(FiberView::State state) noexcept {
  switch (state) {
    case FiberView::State::runnable: return "runnable";
    case FiberView::State::running: return "running";
    case FiberView::State::waiting: break;
  }
  return "waiting";
}

// ---------------------------------------------------------------------------------------------- those that run

static constexpr int kSignal = SIGURG;

/// Written before there is a handler.
static fiber::ProgramCode program;

/// Words of a fiber's stack that is in use.
struct StackInUse {
  std::uintptr_t bottom;
  std::uintptr_t top;
  // The sanitizers consider what lies between variables nobody's.
#if defined(__clang__)
  __attribute__((no_sanitize("address", "thread")))
#else
  __attribute__((no_sanitize("address", "thread"), noinline))
#endif
  bool
  read(std::uintptr_t at, std::uintptr_t& word) const noexcept {
    if (at % sizeof word != 0 || at < bottom || at >= top || top - at < sizeof word) return false;
    word = *reinterpret_cast<const std::uintptr_t*>(at);
    return true;
  }
};

/// In the handler: what the interrupted thread runs.
static void answer_look(Machine& m, const void* ucontext) noexcept {
  RunningLook& look = m.look;
  const std::uint32_t asked = look.asked.load(std::memory_order_acquire);
  if (asked == look.answered.load(std::memory_order_relaxed)) return;
  look.fiber_index = 0;
  look.depth = 0;
  look.in_use = 0;
  look.stack = nullptr;
  const Interrupted seen = look_at_interrupted(ucontext);
  if (seen.fiber_index != 0) {
    look.fiber_index = seen.fiber_index;
    look.pinned = m.current->pins != 0;
    look.has_thread = m.current->machine != nullptr;
  }
  if (seen.stack.top != 0) {
    look.origin = seen.origin;
    // In a call of a library, which is where who blocks its thread is, the one that made it is whom the reader looks
    // for.
    const StackInUse stack{seen.rsp, seen.stack.top};
    look.depth = fiber::walk_interrupted({seen.rip, seen.rbp, seen.rsp}, program, stack, look.frames);
    look.in_use = seen.stack.top - seen.rsp;
    look.stack = m.current->stack.load(std::memory_order_relaxed);
  } else if (seen.fiber_index != 0 && !m.current->origin.read(look.origin)) {
    look.fiber_index = 0;
  }
  look.answered.store(asked, std::memory_order_release);
}

static void on_signal(int /*signo*/, siginfo_t* /*info*/, void* context) noexcept {
  const int saved = errno;
  const ThreadLocals* const t = thread_locals();
  if (t != nullptr && t->machine != nullptr) answer_look(*t->machine, context);
  errno = saved;
}

/// False: the handler is another's, who must keep it.
static bool handler_installed() noexcept {
  static const bool installed = [] {
    struct sigaction before {};
    if (sigaction(kSignal, nullptr, &before) != 0) return false;
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return false;
    program = fiber::program_code();
    struct sigaction action {};
    action.sa_sigaction = &on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    sigdelset(&action.sa_mask, SIGBUS);
    return sigaction(kSignal, &action, nullptr) == 0;
  }();
  return installed;
}

static void wait_a_little() noexcept {
  if (on_fiber()) {
    (void)sleep_for(std::chrono::microseconds(200));
  } else {
    const timespec some{0, 200'000};
    (void)nanosleep(&some, nullptr);
  }
}

/// One dump at a time asks the machines; another one goes without.
static std::atomic<bool> asking{false};

void Scheduler::look_at_running(std::vector<RunningFiber>& running) {
  // Of 200 µs: a thread that has a CPU answers within one, and who asks when a machine is overloaded asks for one that
  // has none just now. Only one that hangs in the kernel is given up.
  static constexpr int kTries = 2500;
  // Who asks sees itself without a signal.
  const Machine* const own = Machine::current_machine();
  const std::uint32_t self = own != nullptr && own->current != nullptr ? own->current->index : 0;
  if (self != 0) {
    RunningFiber me;
    me.index = self;
    me.thread = own->tid.load(std::memory_order_relaxed);
    me.pinned = own->current->pins != 0;
    me.has_thread = own->current->machine != nullptr;
    me.origin = own->current->origin.get();
    me.depth = fiber::capture_backtrace(me.frames);
    me.in_use = fiber::current_stack_bounds().top - reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    me.stack = own->current->stack.load(std::memory_order_relaxed);
    running.push_back(me);
  }
  if (kind_ == Kind::simulated || asking.exchange(true, std::memory_order_acquire)) return;
  const defer over([] { asking.store(false, std::memory_order_release); });
  if (!handler_installed()) return;
  std::uint32_t question = 0;
  std::size_t asked = 0;
  {
    const LockGuard guard(structure_lock_);
    // Set under this lock, before machines are joined: afterwards there is nobody to ask.
    if (stopping_.load(std::memory_order_relaxed)) return;
    question = ++looks_;
    for (const auto& m : machines_) {
      m->look.asked.store(question, std::memory_order_release);
      if (pthread_kill(m->thread, kSignal) == 0) ++asked;
    }
  }
  // There may be more machines by then, but no more that were asked.
  running.reserve(asked + 1);
  for (int i = 0; i < kTries; ++i) {
    std::size_t answered = 0;
    {
      const LockGuard guard(structure_lock_);
      for (const auto& m : machines_)
        if (m->look.answered.load(std::memory_order_acquire) == question) ++answered;
    }
    if (answered >= asked) break;
    wait_a_little();
  }
  const LockGuard guard(structure_lock_);
  for (const auto& m : machines_) {
    const RunningLook& look = m->look;
    if (look.answered.load(std::memory_order_acquire) != question || look.fiber_index == 0) continue;
    if (look.fiber_index == self) continue;
    if (running.size() == running.capacity()) break;
    running.push_back({look.fiber_index, m->tid.load(std::memory_order_relaxed), look.pinned, look.has_thread,
                       look.origin, look.depth, look.in_use, look.stack, look.frames});
  }
}

bool Scheduler::look_at_thread(pid_t thread, RunningFiber& running) noexcept {
  static constexpr int kTries = 10;
  if (asking.exchange(true, std::memory_order_acquire)) return false;
  const defer over([] { asking.store(false, std::memory_order_release); });
  if (!handler_installed()) return false;
  std::uint32_t question = 0;
  // Found anew each time: it may end as soon as the lock is free.
  const auto with_machine = [&](auto&& fn) {
    const LockGuard guard(structure_lock_);
    for (const auto& m : machines_)
      if (m->tid.load(std::memory_order_relaxed) == thread) return fn(*m);
    return false;
  };
  {
    const LockGuard guard(structure_lock_);
    if (stopping_.load(std::memory_order_relaxed)) return false;
    question = ++looks_;
  }
  if (!with_machine([question](Machine& m) {
        m.look.asked.store(question, std::memory_order_release);
        return pthread_kill(m.thread, kSignal) == 0;
      }))
    return false;
  for (int i = 0; i < kTries; ++i) {
    wait_a_little();
    if (with_machine([&](const Machine& m) {
          const RunningLook& look = m.look;
          if (look.answered.load(std::memory_order_acquire) != question) return false;
          running = {look.fiber_index, thread,      look.pinned, look.has_thread, look.origin,
                     look.depth,       look.in_use, look.stack,  look.frames};
          return true;
        }))
      return running.index != 0;
  }
  return false;
}

// ---------------------------------------------------------------------------------------------- all

/// `view` is one that was used before: what is not set here must be reset here. False: it is not, or no more, what
/// `f.status` said.
bool Scheduler::look_at_waiting(Fiber& f, FiberView& view) {
  if (!f.status.begin_scan()) return false;
  // The bit must go whatever happens: a description may throw.
  const defer go_on([this, &f] {
    if (f.status.end_scan()) ready(f, false);
  });
  view.origin = f.origin.get();
  view.state = FiberView::State::waiting;
  view.reason = f.status.reason();
  view.waits_for = f.waits_for.load(std::memory_order_relaxed);
  view.parked_at = f.parked_at.load(std::memory_order_relaxed);
  view.until = f.timer.deadline();
  view.pinned = f.pins != 0;
  view.has_thread = f.machine != nullptr;
  if (const fiber::Stack* const stack = f.stack.load(std::memory_order_acquire)) {
    const fiber::StackPool& pool = *stack_pool(stack->stack_class);
    const fiber::FrameRegisters registers = fiber::parked_registers(f.context);
    const auto top = reinterpret_cast<std::uintptr_t>(pool.end(*stack));
    view.stack_class = stack->stack_class;
    view.stack_size = pool.usable_size();
    view.stack_base = stack->base;
    view.stack_in_use = top - registers.rsp;
    view.depth = parked_frames(registers, reinterpret_cast<std::uintptr_t>(pool.lowest(*stack)), top, view.stack);
  }
  describe_wait(view.reason, view.waits_for, view.waits_for_text);
  // Who woke it meanwhile may have begun to use a descriptor's number for another connection.
  if (f.status.state() != State::parked) view.waits_for_text.clear();
  return true;
}

std::size_t Scheduler::for_each_fiber(const std::function<bool(const FiberView&)>& visit) {
  static constexpr std::uint32_t kTurn = 64;
  static constexpr int kTries = 4096;
  std::vector<RunningFiber> running;
  look_at_running(running);
  std::size_t visited = 0;
  FiberView view;
  const auto reset = [&view](std::uint32_t index) {
    view.origin = {};
    view.reason = WaitReason::none;
    view.waits_for = nullptr;
    view.waits_for_text.clear();
    view.parked_at = 0;
    view.until = Deadline::never();
    view.pinned = view.has_thread = false;
    view.thread = 0;
    view.stack_size = view.stack_in_use = 0;
    view.stack_class = fiber::StackClass::normal;
    view.stack_base = nullptr;
    view.index = index;
    view.depth = 0;
  };
  for (const RunningFiber& r : running) {
    reset(r.index);
    view.origin = r.origin;
    view.state = FiberView::State::running;
    view.thread = r.thread;
    view.pinned = r.pinned;
    view.has_thread = r.has_thread;
    view.stack_in_use = r.in_use;
    if (r.stack != nullptr) {
      view.stack_class = r.stack->stack_class;
      view.stack_size = stack_pool(r.stack->stack_class)->usable_size();
      view.stack_base = r.stack->base;
    }
    view.depth = r.depth;
    std::copy_n(r.frames.begin(), r.depth, view.stack.begin());
    ++visited;
    if (!visit(view)) return visited;
  }
  // By its id: another one may have its place by now.
  const auto told_already = [&running](std::uint64_t id) {
    return std::any_of(running.begin(), running.end(), [id](const RunningFiber& r) { return r.origin.id == id; });
  };
  for (std::uint32_t i = 1, n = table_.size(); i < n; ++i) {
    if (i % kTurn == 0 && on_fiber()) yield();
    Fiber& f = table_.at(i);
    if (f.status.state() == State::idle) continue;
    reset(i);
    bool held = look_at_waiting(f, view);
    // Another look may have it: that is over in no time.
    for (int tries = 0; !held && tries < kTries && f.status.state() == State::parked; ++tries) {
      cpu_relax();
      held = look_at_waiting(f, view);
    }
    if (!held) {
      if (!f.origin.read(view.origin)) continue;
      const State now = f.status.state();
      if (now == State::idle) continue;
      view.reason = now == State::parked ? f.status.reason() : WaitReason::none;
      // What is on its way into a wait has a Processor.
      view.state = now == State::parked     ? FiberView::State::waiting
                   : now == State::runnable ? FiberView::State::runnable
                                            : FiberView::State::running;
    }
    if (told_already(view.origin.id)) continue;
    ++visited;
    if (!visit(view)) return visited;
  }
  return visited;
}

bool Scheduler::find_origin(std::uint32_t index, FiberOrigin& origin) const noexcept {
  return index != 0 && index < table_.size() && table_.at(index).status.state() != State::idle &&
         table_.at(index).origin.read(origin);
}

std::size_t stack_high_water(const FiberView& fiber) noexcept {
  const Scheduler* const s = Scheduler::instance();
  const fiber::StackPool* const pool =
      s != nullptr && fiber.stack_base != nullptr ? s->stack_pool(fiber.stack_class) : nullptr;
  fiber::Stack stack;
  stack.base = const_cast<std::byte*>(fiber.stack_base);
  return pool != nullptr ? pool->high_water(stack) : 0;
}

std::string describe_fiber(std::uint32_t index) {
  const Scheduler* const s = Scheduler::instance();
  FiberOrigin origin;
  return s != nullptr && s->find_origin(index, origin) ? describe_origin(origin) : "a fiber that has ended";
}

std::size_t for_each_fiber(const std::function<bool(const FiberView&)>& visit) {
  Scheduler* const s = Scheduler::instance();
  return s != nullptr ? s->for_each_fiber(visit) : 0;
}

}  // namespace fiberd::runtime
