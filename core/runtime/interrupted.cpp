#include "core/runtime/interrupted.hpp"

#include <ucontext.h>

#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

Interrupted look_at_interrupted(const void* ucontext) noexcept {
  Interrupted seen;
  const ucontext_t& where = *static_cast<const ucontext_t*>(ucontext);
#if defined(__x86_64__)
  seen.rsp = static_cast<std::uintptr_t>(where.uc_mcontext.gregs[REG_RSP]);
  seen.rbp = static_cast<std::uintptr_t>(where.uc_mcontext.gregs[REG_RBP]);
  seen.rip = static_cast<std::uintptr_t>(where.uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  seen.rsp = static_cast<std::uintptr_t>(where.uc_mcontext.sp);
  seen.rbp = static_cast<std::uintptr_t>(where.uc_mcontext.regs[29]);
  seen.rip = static_cast<std::uintptr_t>(where.uc_mcontext.pc);
#else
  (void)where;
#endif
  const ThreadLocals* const t = thread_locals();
  const Machine* const m = t != nullptr ? t->machine : nullptr;
  const Fiber* const f = m != nullptr ? m->current : nullptr;
  if (f == nullptr || m->scheduler == nullptr) return seen;
  seen.fiber_index = f->index;
  const fiber::Stack* const stack = f->stack.load(std::memory_order_relaxed);
  const fiber::StackPool* const pool = stack != nullptr ? m->scheduler->stack_pool(stack->stack_class) : nullptr;
  if (pool == nullptr) return seen;
  const auto bottom = reinterpret_cast<std::uintptr_t>(pool->lowest(*stack));
  const auto top = reinterpret_cast<std::uintptr_t>(pool->end(*stack));
  if (seen.rsp < bottom || seen.rsp >= top) return seen;
  seen.stack = {bottom, top};
  seen.origin = f->origin.get();
  seen.labels = f->labels.load(std::memory_order_relaxed);
  return seen;
}

}  // namespace fiberd::runtime
