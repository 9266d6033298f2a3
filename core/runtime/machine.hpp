#pragma once
// Machine (M): an OS thread that runs fibers while it has a Processor. Its own stack (g0) runs the scheduler's slow
// part: finding work, polling, sleeping.
#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "core/base/thread_locals.hpp"
#include "core/fiber/context.hpp"
#include "core/runtime/poller.hpp"

namespace fiberd::runtime {

struct Fiber;
class Processor;
class Scheduler;

/// What is left to do for the fiber that was just switched away from, once its registers are saved.
enum class After : std::uint8_t { none, park, yield, end };

class Machine {
 public:
  Processor* processor = nullptr;
  Fiber* current = nullptr;
  Fiber* previous = nullptr;
  After after = After::none;
  bool spinning = false;           ///< holds the IdleSet's token
  fiber::EhGlobals* eh = nullptr;  ///< this thread's exception state
  Scheduler* scheduler = nullptr;
  fiber::SavedContext g0;

  // A machine without a Processor waits for one here.
  std::atomic<Processor*> assigned{nullptr};
  std::atomic<std::uint32_t> wakeups{0};
  Machine* next = nullptr;
  pthread_t thread{};
  Poller::Events events;

  [[nodiscard]] static Machine* current_machine() noexcept { return thread_locals()->machine; }
};

}  // namespace fiberd::runtime
