#include "core/runtime/timer.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

struct Node : Timer {
  Node() noexcept : Timer(&Node::fire) {}
  static void fire(Timer& timer) noexcept {
    auto& n = static_cast<Node&>(timer);
    ++n.fired;
    n.fired_at = monotonic_now();
  }
  std::atomic<int> fired{0};
  std::int64_t fired_at = 0;
};

/// Its callback takes three milliseconds.
struct Slow : Timer {
  Slow() noexcept : Timer(&Slow::fire) {}
  static void fire(Timer& t) noexcept {
    auto& s = static_cast<Slow&>(t);
    s.inside = true;
    const std::int64_t end = monotonic_now() + 3'000'000;
    while (monotonic_now() < end) {
    }
    s.over = true;
    s.inside = false;
  }
  /// Nobody who waits for `inside` comes too late without knowing it.
  [[nodiscard]] bool begun() const noexcept { return inside || over; }
  std::atomic<bool> inside{false};
  std::atomic<bool> over{false};
};

}  // namespace

TEST_CASE("ten thousand timers with random changes fire as a plain list says", "[timer]") {
  constexpr std::size_t kTimers = 10'000;
  auto nodes = std::make_unique<Node[]>(kTimers);
  std::vector<std::int64_t> expected(kTimers, 0);  // 0: never
  int early = 0;
  int late = 0;
  int missing = 0;
  int unwanted = 0;
  Simulation(11).run([&] {
    Random random(42);
    const std::int64_t begin = monotonic_now();
    const auto some_time = [&] { return begin + 1'000'000 + static_cast<std::int64_t>(random.below(1'000'000'000)); };
    for (std::size_t i = 0; i < kTimers; ++i) {
      expected[i] = some_time();
      nodes[i].arm(Deadline::at(expected[i]));
    }
    for (std::uint32_t change = 0; change < 3 * kTimers; ++change) {
      const std::size_t i = random.below(kTimers);
      switch (random.below(4)) {
        case 0:
          nodes[i].disarm();
          expected[i] = 0;
          break;
        case 1:
          nodes[i].cancel();
          expected[i] = 0;
          break;
        default:  // earlier and later: the second is the lazy one
          expected[i] = some_time();
          nodes[i].arm(Deadline::at(expected[i]));
      }
    }
    (void)sleep_for(2s);
    for (std::size_t i = 0; i < kTimers; ++i) {
      if (expected[i] == 0) {
        unwanted += nodes[i].fired != 0;
        continue;
      }
      missing += nodes[i].fired != 1;
      early += nodes[i].fired == 1 && nodes[i].fired_at < expected[i];
      late += nodes[i].fired_at > expected[i] + 10'000;
    }
    for (std::size_t i = 0; i < kTimers; ++i) nodes[i].cancel();
  });
  CHECK(missing == 0);
  CHECK(unwanted == 0);
  CHECK(early == 0);
  CHECK(late == 0);
}

TEST_CASE("moving a deadline out again and again leaves the heap alone", "[timer]") {
  std::uint64_t fired = 1;
  std::uint64_t in_heap = 0;
  int final_count = 0;
  Simulation(3).run([&] {
    Node n;
    const TimerHeap& heap = Scheduler::timer_heap_for_caller();
    for (int i = 0; i < 1000; ++i) n.arm(Deadline::in(1h));
    in_heap = heap.size();
    n.arm(Deadline::in(1ms));
    for (int i = 0; i < 20; ++i) {  // each time before it expires, or shortly after
      n.arm(Deadline::in(20ms));
      (void)sleep_for(1ms);
    }
    fired = static_cast<std::uint64_t>(n.fired);
    (void)sleep_for(100ms);
    final_count = n.fired;
    n.cancel();
  });
  CHECK(in_heap == 1);
  CHECK(fired == 0);
  CHECK(final_count == 1);
}

TEST_CASE("a timer armed from inside its callback, and cancelled meanwhile, is out for good", "[timer]") {
  struct Periodic : Timer {
    Periodic() noexcept : Timer(&Periodic::fire) {}
    static void fire(Timer& t) noexcept {
      auto& p = static_cast<Periodic&>(t);
      p.ticks.fetch_add(1);
      t.arm(Deadline::in(1us));
    }
    std::atomic<int> ticks{0};
  };
  int alive_after = 0;
  auto rt = test::start_runtime(2);
  rt->run([&] {
    for (int i = 0; i < 200; ++i) {
      auto p = std::make_unique<Periodic>();
      p->arm(Deadline::in(1us));
      while (p->ticks.load() < i % 5) (void)sleep_for(1us);
      p->cancel();
      const int seen = p->ticks.load();
      yield();
      alive_after += p->ticks.load() != seen;
    }
  });
  CHECK(alive_after == 0);
}

TEST_CASE("a crowd of timers that are due at once fires a few at a time", "[timer]") {
  static constexpr int kTimers = 500;
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < kTimers; ++i) nodes.push_back(std::make_unique<Node>());
  std::uint64_t most = 0;
  int fired = 0;
  auto rt = test::start_runtime(1);
  rt->run([&] {
    for (int round = 0; round < 20; ++round) {
      const Deadline all = Deadline::in(500us);
      for (auto& n : nodes) n->arm(all);
      while (monotonic_now() < all.ns()) {
      }
      // Whoever fires them, this fiber or sysmon: never all at once.
      TimerHeap& heap = Scheduler::timer_heap_for_caller();
      while (heap.earliest() <= monotonic_now()) most = std::max(most, heap.run(monotonic_now()));
    }
    for (auto& n : nodes) {
      n->cancel();
      fired += n->fired;
    }
  });
  CHECK(fired == 20 * kTimers);
  CHECK(most == TimerHeap::kMostFired);
}

TEST_CASE("cancel waits for a callback that runs on another thread", "[timer]") {
  int running_after_cancel = 0;
  auto rt = test::start_runtime(2);
  for (int i = 0; i < 20; ++i) {
    Slow s;
    rt->run([&] { s.arm(Deadline::in(200us)); });
    // From a thread outside the runtime: the callback runs on a machine.
    for (int spins = 0; spins < 10'000'000 && !s.begun(); ++spins) std::this_thread::yield();
    s.cancel();
    running_after_cancel += s.inside.load();
  }
  CHECK(running_after_cancel == 0);
}

TEST_CASE("cancel waits for a callback whose timer was armed elsewhere meanwhile", "[timer]") {
  int running_after_cancel = 0;
  int seen = 0;
  auto rt = test::start_runtime(2);
  for (int i = 0; i < 20; ++i) {
    Slow s;
    std::atomic<int> done{0};
    rt->run([&] {
      (void)spawn_on(0, "arms", [&] {
        s.arm(Deadline::in(200us));
        (void)sleep_for(1ms);  // its Processor fires it
        ++done;
      });
      (void)spawn_on(1, "cancels", [&] {
        const std::int64_t end = monotonic_now() + 1'000'000'000;
        while (!s.begun() && monotonic_now() < end) {
        }
        seen += s.inside;
        s.arm(Deadline::in(10s));
        s.cancel();
        running_after_cancel += s.inside;
        ++done;
      });
      while (done != 2) (void)sleep_for(1ms);
    });
  }
  CHECK(seen > 0);
  CHECK(running_after_cancel == 0);
}

TEST_CASE("a node outlives the runtime that fired it", "[timer]") {
  Node n;
  for (int i = 0; i < 3; ++i) {
    test::start_runtime(1)->run([&] {
      n.arm(Deadline::in(100us));
      (void)sleep_for(5ms);
      n.cancel();
      if (i == 1) n.arm(Deadline::in(1h));  // still in the heap when that goes
    });
  }
  n.cancel();
  CHECK(n.fired == 3);
}

TEST_CASE("a node that was fired and not cancelled outlives its runtime, and what stands where that was", "[timer]") {
  Node n;
  test::start_runtime(1)->run([&] {
    n.arm(Deadline::in(100us));
    (void)sleep_for(5ms);
  });
  REQUIRE(n.fired == 1);
  {
    // All that was freed is somebody else's now, and looks as if the node's callback were running.
    std::vector<std::vector<const void*>> others;
    for (std::size_t words = 8; words < 4096; words += 8) others.emplace_back(words, &n);
    n.cancel();
  }
  test::start_runtime(1)->run([&] {
    n.arm(Deadline::in(100us));
    (void)sleep_for(5ms);
    n.cancel();
  });
  CHECK(n.fired == 2);
}
