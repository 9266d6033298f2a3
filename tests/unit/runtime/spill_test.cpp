// Fibers that spilled out of a full ring, beside a load from outside that never lets the global queue run empty.
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "core/base/cpu_relax.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;

TEST_CASE("spilled fibers run though the global queue is never empty", "[scheduler]") {
  static constexpr int kSpilled = 800;   // a ring and several halves
  static constexpr int kMost = 100'000;  // of the others, until which all of them must have run
  static constexpr int kBacklog = 3'000;
  std::atomic<int> early{0};
  std::atomic<int> others{0};
  int others_spawned = 0;
  bool all = false;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    std::atomic<bool> go{false};
    std::atomic<bool> stop{false};
    std::thread load([&] {
      while (!stop) {
        if (others_spawned - others >= kBacklog) {
          std::this_thread::yield();
          continue;
        }
        if (runtime::spawn("other", [&] {
              // Slower than they are spawned.
              for (int i = 0; i < 400; ++i) cpu_relax();
              ++others;
            }))
          ++others_spawned;
        if (others_spawned == kBacklog) go = true;
      }
    });
    (*rt)->run([&] {
      // The load is there before anything spills, and stays.
      while (!go) runtime::yield();
      for (int i = 0; i < kSpilled; ++i) (void)runtime::spawn("early", [&] { ++early; });
      while (early != kSpilled && others < kMost) runtime::yield();
      all = early == kSpilled;
      stop = true;
    });
    load.join();
  }
  CHECK(all);
}
