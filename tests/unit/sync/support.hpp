#pragma once
// Runs a test's body on a fiber and brings what it found back to the main thread, where Catch's assertions belong.
#include <catch2/catch.hpp>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/bug.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::test {

/// Thread-safe.
class Findings {
 public:
  void check(bool holds, const std::string& what) {
    if (holds) return;
    const std::lock_guard guard(mutex_);
    broken_.push_back(what);
  }
  [[nodiscard]] const std::vector<std::string>& broken() const noexcept { return broken_; }

 private:
  std::mutex mutex_;
  std::vector<std::string> broken_;
};

inline void on_fibers(unsigned processors, const std::function<void(Findings&)>& body) {
  auto runtime = runtime::Runtime::start({.gomaxprocs = processors});
  REQUIRE(runtime);
  Findings found;
  (*runtime)->run([&] { body(found); });
  runtime->reset();
  CHECK(found.broken() == std::vector<std::string>{});
}

}  // namespace fiberd::test
