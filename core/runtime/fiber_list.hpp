#pragma once
// Every fiber that there is, for people: Go's goroutine dump (runtime.Stack(all), pprof's goroutine profile). How it
// looks at fibers that go on meanwhile: fiber_list.cpp.
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "core/base/clock.hpp"
#include "core/fiber/stack_class.hpp"
#include "core/runtime/fiber_origin.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

/// One fiber as it was when it was looked at.
struct FiberView {
  enum class State : std::uint8_t { runnable, running, waiting };
  static constexpr std::size_t kFrames = 64;

  FiberOrigin origin;
  State state = State::waiting;
  // Of a waiting one:
  WaitReason reason = WaitReason::none;
  const void* waits_for = nullptr;  ///< the mutex, the channel …; nullptr: the wait has not said
  std::string waits_for_text{};     ///< what is known of it: a mutex's owner, a socket's peer
  std::int64_t parked_at = 0;       ///< monotonic ns, too early by as long as it ran before; 0: unknown
  Deadline until{};                 ///< when the wait ends by itself
  bool pinned = false;
  bool has_thread = false;       ///< by a LockThread
  pid_t thread = 0;              ///< of a running one: whose number the system gave it; 0: unknown
  std::size_t stack_size = 0;    ///< bytes; 0: it has none now
  std::size_t stack_in_use = 0;  ///< of them
  fiber::StackClass stack_class = fiber::StackClass::normal;
  const std::byte* stack_base = nullptr;  ///< its lowest byte, for stack_high_water()
  std::uint32_t index = 0;                ///< of Ticket::fiber_index(); another fiber has it after this one has ended
  // Of waiting ones, and of running ones whose thread has answered in time: return addresses, innermost first.
  std::array<std::uintptr_t, kFrames> stack{};
  std::size_t depth = 0;
  [[nodiscard]] std::span<const std::uintptr_t> frames() const noexcept { return {stack.data(), depth}; }
};
[[nodiscard]] std::string_view to_string(FiberView::State state) noexcept;

/// How deep its stack has been used, bytes, a whole number of pages: by this fiber, or by one that had the stack before
/// and whose pages were not given back since; 0: unknown. A system call or a few; the runtime must live.
[[nodiscard]] std::size_t stack_high_water(const FiberView& fiber) noexcept;

/// Calls `visit` for each fiber of the present runtime, which must live until it returns: those that run first, then
/// the others in no order; 0: there is no runtime. None is stopped for longer than its own stack takes to be walked,
/// and none while `visit` is called, which may park; between fibers others are let go first. A fiber that is born, ends
/// or is woken meanwhile is told once or not at all. The view is valid during the call. Any thread; several may look at
/// the same time, of whom one sees the stacks of those that run. `visit` returns false to end it. Returns how many were
/// visited. What it throws comes through.
std::size_t for_each_fiber(const std::function<bool(const FiberView&)>& visit);

/// "fiber 7 \"reader\" spawned at main.cpp:12" of the fiber that has this index now; "a fiber that has ended" if none.
[[nodiscard]] std::string describe_fiber(std::uint32_t index);

/// Who knows more of what fibers wait for: writes what `object`, of a wait for `reason`, is ("held by fiber 7"). Called
/// while the waiting fiber is held still, so the object lives; it must not park. One for each reason, at start.
using DescribeWait = void (*)(const void* object, std::string& text);
void set_wait_description(WaitReason reason, DescribeWait describe) noexcept;

}  // namespace fiberd::runtime
