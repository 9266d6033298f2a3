#pragma once
// Trimmer: gives memory back that the process only keeps for later, when somebody asks for it.
#include <atomic>
#include <string>

#include "core/base/result.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/room.hpp"

namespace fiberd::daemon {

/// Thread-safe.
class Trimmer {
 public:
  /// Counts in the families that MemoryGovernor's trims count in. All three outlive it.
  Trimmer(runtime::Runtime& runtime, Room& room, metric::Registry& registry);
  Trimmer(const Trimmer&) = delete;
  Trimmer& operator=(const Trimmer&) = delete;

  /// Files that nobody is sending are let go, the pages of stacks that nobody uses and what malloc keeps go back to the
  /// kernel. Connections stay. What came of it: lines. Takes milliseconds: on a thread that may. Error:
  /// device_or_resource_busy, somebody else is about it. Throws std::bad_alloc.
  [[nodiscard]] Result<std::string> trim();

 private:
  runtime::Runtime& runtime_;
  Room& room_;
  metric::Counter& trims_;
  metric::Counter& given_back_;
  std::atomic<bool> busy_{false};
};

}  // namespace fiberd::daemon
