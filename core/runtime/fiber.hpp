#pragma once
// Fiber: Go's G. Type-stable: its memory is never given back while its scheduler lives, so a stale Ticket is harmless.
#include <atomic>
#include <cstdint>

#include "core/base/unique_function.hpp"
#include "core/fiber/context.hpp"
#include "core/fiber/stack_pool.hpp"
#include "core/runtime/fiber_origin.hpp"
#include "core/runtime/profile_label.hpp"
#include "core/runtime/status_word.hpp"
#include "core/runtime/timer.hpp"

namespace fiberd::runtime {

class Cancellation;
class Machine;

struct Fiber {
  // Touched by every switch.
  StatusWord status;
  fiber::SavedContext context;
  Fiber* next = nullptr;                      ///< global queue, free lists
  std::atomic<fiber::Stack*> stack{nullptr};  ///< bound at the first run; atomic for those who only look
  /// By its Processor only, so no exchange is needed.
  [[nodiscard]] fiber::Stack* take_stack() noexcept {
    fiber::Stack* const s = stack.load(std::memory_order_relaxed);
    stack.store(nullptr, std::memory_order_relaxed);
    return s;
  }
  std::int64_t runnable_since = 0;  ///< ns, when this switch is sampled for the latency histogram; else 0
  std::uint32_t index = 0;          ///< in the all-fibers table, from 1
  std::uint16_t pins = 0;
  std::uint16_t pin_slot = 0;
  fiber::StackClass stack_class = fiber::StackClass::normal;
  // By whoever owns it at that moment: itself, or who makes it runnable.
  bool measured : 1 = false;     ///< the depth of its stack is (stack_learning.cpp)
  bool woke_itself : 1 = false;  ///< the switch that runnable_since is of
  std::uint16_t site = 0;        ///< in the scheduler's SiteTable
  std::uint32_t locks = 0;       ///< LockThreads that live
  Machine* machine = nullptr;    ///< the one it is locked to; then it counts as pinned, too
  // Touched by waits with a deadline, by spawn and at the end.
  FiberTimer timer;
  void* locals = nullptr;  ///< fiber-local storage
  UniqueFunction function;
  OriginCell origin;  ///< its id is as Go's goid: unique among all fibers of the process
  // For those who look (fiber_list.cpp): of the present wait, or the last one.
  std::atomic<const void*> waits_for{nullptr};  ///< what it hangs at, if the wait named it
  std::atomic<std::int64_t> parked_at{0};       ///< monotonic ns, coarse; 0: unknown
  std::uint32_t cooled = 0;                     ///< sysmon's: the wait for which its stack was trimmed
  std::uint32_t woke_itself_in = 0;             ///< its own: the last wait that it has ended itself before it had left
  /// What CPU samples of it are told apart by: read by signals on the thread that runs it.
  std::atomic<const ProfileLabelNode*> labels{nullptr};
  std::atomic<Cancellation*> obeys{nullptr};  ///< what may cancel it
};

}  // namespace fiberd::runtime
