#pragma once
// MemoryWatch: a fiber that looks at the process's memory twice a second, gives back what malloc keeps after a crowd
// has gone, and makes room while memory.limit is passed.
#include <atomic>
#include <cstdint>

#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "daemon/room.hpp"

namespace fiberd::daemon {

class MemoryWatch {
 public:
  /// What it is given must outlive the fiber.
  MemoryWatch(runtime::Runtime& runtime, Room& room) noexcept;

  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  /// Bytes; 0: none. From then on fibers that serve somebody new are refused while it is passed. Any thread.
  void set_limit(std::uint64_t limit) noexcept;
  /// Starts the fiber, which ends with `until`. Without a fiber it is logged that nobody watches. Once.
  void start(runtime::Cancellation& until);

 private:
  void watch(runtime::Cancellation& until);
  void save() noexcept;

  runtime::Runtime& runtime_;
  Room& room_;
  std::atomic<std::uint64_t> limit_{0};
};

}  // namespace fiberd::daemon
