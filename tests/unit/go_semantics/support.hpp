#pragma once
// What Go's users know of channels, select, contexts, locks, groups, limits and timers, and rely on: one case for each
// thing that Go's own tests hold, in our words and on our primitives.
//
// Most cases run in every way: on one Processor, on four, and under seeds, where each order of the fibers can come up
// and nobody can wait for ever unseen. What is about time runs in simulations alone: its clock is exact.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"
#include "tests/unit/sync/support.hpp"

namespace fiberd::go {

using test::Findings;
using Body = std::function<void(Findings& found)>;

/// Two errors to be told apart.
inline const std::error_code kReset = std::make_error_code(std::errc::connection_reset);
inline const std::error_code kRefused = std::make_error_code(std::errc::connection_refused);

/// The body on the main fiber of a simulation for each of `seeds` seeds.
inline void in_simulation(std::uint64_t seeds, const Body& body) {
  test::for_each_simulation(seeds, [&](std::uint64_t) {
    Findings found;
    body(found);
    for (const std::string& what : found.broken()) test::invariant(false, what);
  });
}

inline void in_every_way(const Body& body, std::uint64_t seeds = 100) {
  test::on_fibers(1, body);
  test::on_fibers(4, body);
  in_simulation(seeds, body);
}

/// go fn(), counted by `group`.
template <class F>
void start(sync::WaitGroup& group, F&& fn) {
  (void)group.go("fiber", std::forward<F>(fn));
}

/// Whether `condition` holds within ten seconds.
template <class F>
bool soon(F&& condition) {
  const Deadline end = Deadline::in(std::chrono::seconds(10));
  while (!condition()) {
    if (runtime::past(end)) return false;
    (void)runtime::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

/// Whoever can run has run: in a simulation with certainty, elsewhere most likely.
inline void let_others_run() {
  for (int i = 0; i < 3; ++i) (void)runtime::sleep_for(std::chrono::microseconds(20));
}

/// Counts up, and remembers the most.
class Gauge {
 public:
  void enter() noexcept {
    const int n = now_.fetch_add(1) + 1;
    int most = most_.load();
    while (most < n && !most_.compare_exchange_weak(most, n)) {
    }
  }
  void leave() noexcept { now_.fetch_sub(1); }
  [[nodiscard]] int most() const noexcept { return most_.load(); }

 private:
  std::atomic<int> now_{0};
  std::atomic<int> most_{0};
};

}  // namespace fiberd::go
