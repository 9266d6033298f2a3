#include "daemon/admin/health.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::daemon {

bool processors_answer(std::chrono::nanoseconds patience, std::string& why) {
  struct Roll {
    std::atomic<unsigned> missing{0};
    std::atomic<std::uint64_t> ticket{0};
  };
  // Shared: a fiber that comes too late must still find it.
  auto roll = std::make_shared<Roll>();
  const unsigned n = runtime::gomaxprocs();
  roll->missing = n;
  for (unsigned i = 0; i < n; ++i) {
    // When others have taken all stacks is when a probe must not fail for want of one.
    const Result<void> spawned = runtime::spawn_reserved_on(fiber::StackClaim::report, i, "healthz", [roll] {
      if (roll->missing.fetch_sub(1) == 1)
        if (const runtime::Ticket waiter{roll->ticket.load()}) runtime::wake(waiter);
    });
    if (!spawned) {
      why = "no fiber can be started: " + spawned.error().message();
      return false;
    }
  }
  const Deadline deadline = Deadline::in(patience);
  while (roll->missing.load() != 0) {
    const runtime::Ticket wait = runtime::prepare_park(runtime::WaitReason::join);
    roll->ticket.store(wait.value);
    // A fiber that counted before the store had no ticket to wake.
    if (roll->missing.load() == 0) {
      (void)runtime::abandon_park(wait);
      break;
    }
    if (runtime::park_until(wait, deadline) == runtime::Wake::timeout) break;
  }
  if (roll->missing.load() == 0) return true;
  why = std::to_string(roll->missing.load()) + " of " + std::to_string(n) +
        " Processors took up no fiber within a second";
  log(LogLevel::error, "healthz: " + why);
  return false;
}

}  // namespace fiberd::daemon
