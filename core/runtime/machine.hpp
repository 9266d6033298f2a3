#pragma once
// Machine (M): an OS thread that runs fibers while it has a Processor. Its own stack (g0) runs the scheduler's slow
// part: finding work, polling, sleeping.
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/base/thread_locals.hpp"
#include "core/fiber/context.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/poller.hpp"
#include "core/runtime/processor.hpp"
#include "core/runtime/seat.hpp"

namespace fiberd::runtime {

struct Fiber;
class Scheduler;

/// While timers fire, or the Poller is asked beside work: the first fiber that is woken goes before all others, the
/// next ones behind, in order. (Were each put first, the last would run first.)
enum class Firing : std::uint8_t { no, first, later };

/// What is left to do for the fiber that was just switched away from, once its registers are saved.
enum class After : std::uint8_t { none, park, yield, end };

/// What a machine's thread has answered to those who list fibers (fiber_list.cpp). Written in a signal handler there.
struct RunningLook {
  std::atomic<std::uint32_t> asked{0};
  std::atomic<std::uint32_t> answered{0};  ///< the last question; what follows belongs to it
  std::uint32_t fiber_index = 0;           ///< 0: it ran none
  bool pinned = false;
  bool has_thread = false;
  FiberOrigin origin{};
  std::size_t depth = 0;
  std::size_t in_use = 0;  ///< bytes of the stack
  const fiber::Stack* stack = nullptr;
  std::array<std::uintptr_t, FiberView::kFrames> frames{};
};

class Machine {
 public:
  Processor* processor = nullptr;
  Fiber* current = nullptr;
  Fiber* previous = nullptr;
  After after = After::none;
  Firing firing = Firing::no;
  bool spinning = false;           ///< holds the IdleSet's token
  fiber::EhGlobals* eh = nullptr;  ///< this thread's exception state
  Scheduler* scheduler = nullptr;
  fiber::SavedContext g0;

  // A machine without a Processor waits for one here.
  std::atomic<Processor*> assigned{nullptr};
  std::atomic<std::uint32_t> wakeups{0};
  Machine* next = nullptr;
  std::atomic<bool> ending{false};  ///< was a spare one too many
  std::size_t place = 0;            ///< among the scheduler's machines
  pthread_t thread{};
  std::atomic<pid_t> tid{0};
  Poller::Events events;

  RunningLook look;

  // Blocking sections (blocking_section.cpp).
  bool inside = false;        ///< of the section of the fiber that runs here
  Processor* own = nullptr;   ///< what `processor` was before the section; perhaps taken since
  std::uint64_t section = 0;  ///< its number in that
  Processor stand_in{0};      ///< retired, always

  // The one fiber that may run here (lock_thread.cpp). Written by that fiber, here, under the structure lock.
  Fiber* lodger = nullptr;
  Seat seat;
  [[nodiscard]] bool has_stand_in() const noexcept { return processor == &stand_in; }

  [[nodiscard]] static Machine* current_machine() noexcept { return thread_locals()->machine; }
};

}  // namespace fiberd::runtime
