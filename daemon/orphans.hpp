#pragma once
// Orphans: the first process of a container is the parent of every process whose own parent has ended, and must take
// them off the kernel's list when they end: else they stay there for ever, a place in pids.max each.
//
// A child of the program's own is waited for by who started it, and that at once; so what was dead at one look and is
// still there at the next belongs to nobody. A look goes over all children (/proc/self/task), for the kernel shows who
// asks for "any that is dead" the same one again and again. Where /proc is not that of our namespace it is one a look.
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/base/result.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::daemon {

class Orphans {
 public:
  explicit Orphans(runtime::Runtime& runtime) : runtime_(runtime) {}

  /// Whether this process is the first one of its namespace.
  [[nodiscard]] static bool are_ours() noexcept;
  /// A child has ended (SIGCHLD): starts a fiber that looks, if none does. `until` must outlive it. Any thread.
  void look(runtime::Cancellation& until) noexcept;

 private:
  void run(runtime::Cancellation& until) noexcept;
  [[nodiscard]] bool reap();

  runtime::Runtime& runtime_;
  std::atomic<std::uint32_t> asked_{0};  // times that SIGCHLD came since the fiber began; 0: there is none
  std::vector<pid_t> dead_;              // at the last look, sorted; the fiber's
};

}  // namespace fiberd::daemon
