// What the fiber room asks of the runtime: whose stack this is, whose locals, who overflowed.
#include <array>
#include <new>
#include <string>

#include "core/base/bug.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/fiber/fault_handler.hpp"
#include "core/fiber/local.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static const Fiber* current_fiber() noexcept {
  const Machine* const m = Machine::current_machine();
  return m != nullptr ? m->current : nullptr;
}

static bool fiber_stack_bounds(fiber::StackBounds& bounds) noexcept {
  const Fiber* const f = current_fiber();
  const fiber::Stack* const stack = f != nullptr ? f->stack.load(std::memory_order_relaxed) : nullptr;
  if (stack == nullptr) return false;
  const fiber::StackPool& pool = *Scheduler::instance()->stack_pool(stack->stack_class);
  bounds.bottom = reinterpret_cast<std::uintptr_t>(pool.lowest(*stack));
  bounds.top = reinterpret_cast<std::uintptr_t>(pool.end(*stack));
  return true;
}

static void*& fiber_local_root() noexcept {
  Machine* const m = Machine::current_machine();
  return m != nullptr && m->current != nullptr ? m->current->locals : fiber::thread_local_root();
}

static fiber::Fault describe_overflow(const void* address, const fiber::FaultRegisters& where,
                                      fiber::OverflowInfo& info) noexcept {
  Scheduler* const s = Scheduler::instance();
  if (s == nullptr) return fiber::Fault::not_ours;
  if (s->outgrow(address, where)) return fiber::Fault::goes_on;
  const fiber::Stack* stack = nullptr;
  const fiber::StackPool* pool = nullptr;
  for (std::size_t i = 0; i < fiber::kStackClasses; ++i) {
    pool = s->stack_pool(static_cast<fiber::StackClass>(i));
    if (pool != nullptr && (stack = pool->find_guard_hit(address)) != nullptr) break;
  }
  if (stack == nullptr) return fiber::Fault::not_ours;
  info.stack_size = pool->usable_size();
  if (stack->stack_class != fiber::StackClass::normal) info.stack_class = fiber::to_string(stack->stack_class);
  info.stack_bottom = reinterpret_cast<std::uintptr_t>(pool->lowest(*stack));
  info.stack_top = reinterpret_cast<std::uintptr_t>(pool->end(*stack));
  info.name = "unknown";
  const Fiber* const f = current_fiber();
  if (f == nullptr || f->stack.load(std::memory_order_relaxed) != stack) return fiber::Fault::overflow;
  const FiberOrigin origin = f->origin.get();
  info.fiber_id = origin.id;
  info.name = origin.name;
  info.file = origin.where.file_name();
  info.line = static_cast<std::uint32_t>(origin.where.line());
  return fiber::Fault::overflow;
}

static std::string describe_where_a_bug_is() noexcept {
  const Fiber* const f = current_fiber();
  if (f == nullptr) return {};
  try {
    std::string text = "; " + describe_origin(f->origin.get());
    std::array<std::uintptr_t, 32> frames{};
    const std::size_t n = fiber::capture_backtrace(frames);
    for (std::size_t i = 0; i < n; ++i) text += "\n    " + fiber::symbolize(frames[i]);
    return text;
  } catch (const std::bad_alloc&) {
    return "; there is no memory to say which fiber";
  }
}

Result<void> Scheduler::install_hooks() noexcept {
  set_bug_details(&describe_where_a_bug_is);
  fiber::set_stack_bounds_hook(&fiber_stack_bounds);
  fiber::set_local_root_hook(&fiber_local_root);
  return fiber::install_fault_handler(&describe_overflow);
}

}  // namespace fiberd::runtime
