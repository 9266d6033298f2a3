#pragma once
// MemoryWatch: a fiber that looks at the process's memory twice a second, gives back what malloc keeps after a crowd
// has gone, and makes room while memory.limit is passed.
#include <cstdint>
#include <functional>
#include <vector>

#include "core/http/open_files.hpp"
#include "core/http/server.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::daemon {

class MemoryWatch {
 public:
  /// `limit` in bytes, 0: none. What it is given must outlive the fiber.
  MemoryWatch(std::uint64_t limit, http::OpenFiles& files, const std::vector<http::Server*>& servers) noexcept;

  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  /// Starts the fiber, which ends with `until`; `connections` says how many are open. Without a fiber it is logged that
  /// nobody watches. Once.
  void start(runtime::Runtime& runtime, runtime::Cancellation& until, std::function<std::size_t()> connections);

 private:
  void watch(runtime::Cancellation& until);
  void save() noexcept;

  std::uint64_t limit_;
  http::OpenFiles& files_;
  const std::vector<http::Server*>& servers_;
  std::function<std::size_t()> connections_;
};

}  // namespace fiberd::daemon
