// How much stack fibers need, measured; and what follows from it.
//
// Measuring. A stack is used by one fiber after the other, so which pages are resident says how deep all of them were.
// Of a fiber that is measured (the first 64 of a place in the source, then one in 1,024) everything below its first
// page is given back to the kernel before its function begins, and when that has ended the kernel is asked which pages
// are there now. Two system calls, on the fiber itself, so that one which takes over the stack of one that ended is
// measured like any other. Swapped-out pages are missed.
//
// Learning (Options::stack_learning). When 64 fibers of a place have ended, later ones get the smallest class of which
// the deepest used no more than half. It may be too small for once, for what was measured is not what can be: then the
// emergency page opens under the fiber (stack_pool.cpp), the place gets the next class for good, and it is told, by
// name, by sysmon, for the handler of a fault cannot. What needs more than the emergency page too ends by the report
// that it would have had from any stack.
//
// Who asks for a class has it, and where none can be had of a learnt class the fiber gets a normal one: no spawn is
// refused because of what was learnt. Without guards (FIBERDEBUG=guard=none, GuardMode::canary beyond the maps) an
// emergency page would not be noticed: then nothing is learnt.
//
// Rejected: a painted canary and a search for its end (it makes every page resident that it is to measure); the frames'
// sizes from the compiler (recursion, alloca, libraries; `make stack-report` tells them for people); copying a stack
// that is too small to a larger one, as Go does (pointers into it are anywhere).
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

using fiber::StackClass;

/// A leaf: errno belongs to the thread.
[[gnu::noinline]] static int give_back(std::uintptr_t from, std::uintptr_t to) noexcept {
  return madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED) == 0 ? 0 : -errno;
}

[[gnu::noinline]] void Scheduler::begin_measuring(Fiber& self) noexcept {
  // What this function and the calls below it need, generously; a signal's handler has a stack of its own.
  static constexpr std::uintptr_t kBelow = 1024;
  const fiber::Stack* const stack = self.stack.load(std::memory_order_relaxed);
  const fiber::StackPool& pool = pool_of(stack->stack_class);
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const auto bottom = reinterpret_cast<std::uintptr_t>(stack->base);
  const std::uintptr_t from = (here - kBelow) / pool.page_size() * pool.page_size();
  // Locked memory, or a kernel that refuses: what others used stays in the sum.
  if (from > bottom && give_back(bottom, from) != 0) self.measured = false;
  if (self.measured) sites_.began_measured(self.site);
}

[[gnu::noinline]] void Scheduler::end_measuring(Fiber& self) noexcept {
  self.measured = false;
  const fiber::Stack* const stack = self.stack.load(std::memory_order_relaxed);
  const std::size_t deepest = pool_of(stack->stack_class).high_water(*stack);
  if (deepest == 0 || !sites_.measured(self.site, deepest)) return;
  StackClass c = sites_.applies() ? sites_.wanted_class(self.site) : StackClass::normal;
  // Made here, so that no spawn need do it.
  if (c != StackClass::normal && !make_learnt_pool(c)) c = StackClass::normal;
  sites_.give(self.site, c);
}

bool Scheduler::make_learnt_pool(StackClass c) noexcept {
  const Result<fiber::StackPool*> pool = other_stacks_.get(c, *stacks_);
  if (pool) return true;
  if (sites_.applies()) {
    sites_.stop_applying();
    log(LogLevel::warning, "stacks: no class is learnt any more: " + pool.error().message());
  }
  return false;
}

/// At the start, for what is asked for and cannot be.
void Scheduler::configure_sites() {
  bool apply = kind_ == Kind::real && options_.stack_learning;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (apply &&
      (stacks_->stats().guard_kind == fiber::GuardKind::canary || options_.stack_guards == fiber::GuardMode::canary)) {
    log(LogLevel::warning,
        "stacks: classes are not learnt: a learnt stack needs a guard below its emergency page, and stacks may have "
        "none "
        "here");
    apply = false;
  } else if (apply && page > fiber::learnt_size(StackClass::learnt_16) / 4) {
    log(LogLevel::warning, "stacks: classes are not learnt: pages of " + std::to_string(page) + " bytes are too large");
    apply = false;
  }
  sites_.configure(kind_ == Kind::real, apply, options_.stack_size);
}

/// In the handler of a fault: whether `address` is in an emergency page, which is open from now on.
bool Scheduler::outgrow(const void* address, const fiber::FaultRegisters& where) noexcept {
  for (const StackClass c : {StackClass::learnt_16, StackClass::learnt_32, StackClass::learnt_64}) {
    fiber::StackPool* const pool = other_stacks_.find(c);
    if (pool == nullptr) continue;
    const fiber::Stack* const stack = pool->find_guard_hit(address);
    if (stack == nullptr) continue;
    if (!pool->open_emergency(address)) return false;
    SiteTable::Outgrown what;
    what.from = c;
    const Machine* const m = Machine::current_machine();
    if (m == nullptr) return true;
    // On its way out `current` may be the next one already.
    for (const Fiber* const f : {m->current, m->previous})
      if (f != nullptr && f->stack.load(std::memory_order_relaxed) == stack) {
        what.origin = f->origin.get();
        what.site = f->site;
        break;
      }
    what.depth =
        fiber::walk_frames(where.rbp, where.rip, reinterpret_cast<std::uintptr_t>(stack->base) - pool->page_size(),
                           reinterpret_cast<std::uintptr_t>(pool->end(*stack)), what.frames);
    sites_.outgrew(what);
    return true;
  }
  return false;
}

/// sysmon: tells what handlers wrote down.
void Scheduler::tell_outgrown() noexcept {
  SiteTable::Outgrown what;
  while (sites_.next_outgrown(what)) {
    // Which its fibers get from now on, or the fallback of spawn.
    const StackClass now = sites_.plan(what.site).stack_class();
    if (now != StackClass::normal) (void)make_learnt_pool(now);
    const auto left_out = outgrown_log_.pass(monotonic_now());
    if (!left_out) continue;
    try {
      std::string text = describe_origin(what.origin) + " outgrew its learnt " +
                         std::to_string(fiber::learnt_size(what.from) / 1024) +
                         " KiB stack and went on in its emergency page; fibers that are spawned there get a larger one "
                         "from now on";
      if (*left_out != 0) text += " (and " + std::to_string(*left_out) + " more since the last such line)";
      for (std::size_t i = 0; i < what.depth; ++i) text += "\n    " + fiber::symbolize(what.frames[i]);
      log(LogLevel::warning, text);
    } catch (const std::bad_alloc&) {
      log(LogLevel::warning, "a fiber outgrew its learnt stack, and memory to describe it is out");
    }
  }
}

}  // namespace fiberd::runtime
