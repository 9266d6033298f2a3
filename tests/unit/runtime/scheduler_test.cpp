#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

TEST_CASE("a fiber runs and the runtime stops cleanly", "[scheduler]") {
  for (unsigned processors : {1U, 2U, 4U}) {
    bool ran = false;
    auto rt = test::start_runtime(processors);
    rt->run([&] { ran = on_fiber(); });
    rt.reset();
    CHECK(ran);
    CHECK_FALSE(on_fiber());
  }
}

TEST_CASE("an exception of run() reaches the caller's thread", "[scheduler]") {
  auto rt = test::start_runtime(1);
  CHECK_THROWS_AS(rt->run([] { throw std::runtime_error("here"); }), std::runtime_error);
}

TEST_CASE("every spawned fiber runs exactly once", "[scheduler]") {
  for (unsigned processors : {1U, 2U, 4U}) {
    constexpr int kSpawned = 3000;
    std::vector<std::atomic<int>> runs(kSpawned);
    {
      auto rt = test::start_runtime(processors);
      rt->run([&] {
        for (int i = 0; i < kSpawned; ++i)
          (void)spawn("counter", [&runs, i] {
            if (i % 3 == 0) yield();
            runs[static_cast<std::size_t>(i)].fetch_add(1);
          });
      });
    }
    int wrong = 0;
    for (auto& r : runs) wrong += r.load() != 1;
    CHECK(wrong == 0);
  }
}

TEST_CASE("two fibers that yield take turns", "[scheduler]") {
  std::vector<int> order;
  {
    auto rt = test::start_runtime(1);
    rt->run([&] {
      for (int id : {1, 2})
        (void)spawn("turn", [&order, id] {
          for (int i = 0; i < 5; ++i) {
            order.push_back(id);
            yield();
          }
        });
    });
  }
  REQUIRE(order.size() == 10);
  for (std::size_t i = 2; i < order.size(); ++i) CHECK(order[i] == order[i - 2]);
}

TEST_CASE("a throwing fiber ends alone, counted, and logged with name, spawn site and throw site", "[scheduler]") {
  static std::atomic<int> told;
  static std::atomic<int> others;
  told = others = 0;
  set_log_sink([](LogLevel level, std::string_view line) noexcept {
    const auto has = [line](std::string_view part) { return line.find(part) != std::string_view::npos; };
    const bool what =
        has("\"bad\"") ? has("std::runtime_error: on purpose") : has("\"odd\"") && has("exception of type int");
    ++(level == LogLevel::error && what && has("scheduler_test.cpp:") && has("thrown at:\n    ") ? told : others);
  });
  auto rt = test::start_runtime(2);
  rt->run([] {
    (void)spawn("bad", [] { throw std::runtime_error("on purpose"); });
    (void)spawn("odd", [] { throw 42; });
  });
  bool after = false;
  rt->run([&] { after = true; });
  for (int i = 0; i < 10000 && rt->read_mem_stats().fibers_panicked < 2; ++i) std::this_thread::yield();
  CHECK(rt->read_mem_stats().fibers_panicked == 2);
  rt.reset();
  set_log_sink(nullptr);
  CHECK(after);
  CHECK(told == 2);
  CHECK(others == 0);
}

TEST_CASE("an admission hook refuses before a fiber exists", "[scheduler]") {
  auto rt = test::start_runtime(1);
  rt->set_admission_hook([](std::string_view name) noexcept {
    return as_result(name == "refused" ? std::make_error_code(std::errc::resource_unavailable_try_again)
                                       : std::error_code{});
  });
  std::error_code refused;
  bool ran = false;
  bool destroyed = false;
  rt->run([&] {
    auto token = std::shared_ptr<void>(nullptr, [&](void*) { destroyed = true; });
    auto r = spawn("refused", [&ran, token = std::move(token)] { ran = true; });
    if (!r) refused = r.error();
  });
  CHECK(refused == std::errc::resource_unavailable_try_again);
  CHECK_FALSE(ran);
  CHECK(destroyed);
  CHECK(rt->read_mem_stats().spawns_refused == 1);
}

TEST_CASE("an Admission has state, says why, and every reason is counted", "[scheduler]") {
  struct Third final : Admission {
    std::atomic<int> asked{0};
    Result<void> admit(std::string_view name) noexcept override {
      if (name != "limited") return {};
      const int n = asked.fetch_add(1);
      if (n % 3 == 0) return {};
      return fail(n % 3 == 1 ? std::errc::timed_out : std::errc::connection_refused);
    }
  } third;
  auto rt = test::start_runtime(2);
  rt->set_admission(&third);
  std::atomic<int> ran{0};
  for (int i = 0; i < 30; ++i) (void)rt->spawn("limited", [&] { ran.fetch_add(1); });
  (void)rt->spawn("other", [&] { ran.fetch_add(1); });
  rt->run([&] {
    for (int i = 0; i < 30; ++i) (void)spawn("limited", [&] { ran.fetch_add(1); });
  });
  rt->set_admission(nullptr);
  (void)rt->spawn("limited", [&] { ran.fetch_add(1); });
  const MemStats stats = rt->read_mem_stats();
  rt.reset();
  CHECK(third.asked == 60);
  CHECK(ran == 22);
  CHECK(stats.spawns_refused == 40);
  CHECK(stats.spawn_refusals[0].reason == std::errc::timed_out);
  CHECK(stats.spawn_refusals[0].count == 20);
  CHECK(stats.spawn_refusals[1].reason == std::errc::connection_refused);
  CHECK(stats.spawn_refusals[1].count == 20);
  CHECK(stats.spawn_refusals[2].count == 0);
}

TEST_CASE("more reasons than are told apart count as the last", "[scheduler]") {
  SpawnRefusals refusals;
  for (int i = 1; i <= 40; ++i)
    for (int n = 0; n < i; ++n) refusals.add(std::error_code(i, std::generic_category()));
  std::array<SpawnRefusal, kSpawnRefusals> read{};
  refusals.read(read);
  std::uint64_t sum = 0;
  for (const SpawnRefusal& r : read) sum += r.count;
  CHECK(sum == 40 * 41 / 2);
  CHECK(read[3].count == 4);
  CHECK(read[14].count == 15);
}

TEST_CASE("runnext cannot starve the queue", "[scheduler]") {
  // Two fibers wake each other for ever through runnext; a third one in the queue must still run.
  std::atomic<bool> third{false};
  {
    auto rt = test::start_runtime(1);
    rt->run([&] {
      static Ticket tickets[2];
      tickets[0] = tickets[1] = {};
      for (std::size_t me : {std::size_t{0}, std::size_t{1}})
        (void)spawn("pingpong", [&third, me] {
          for (int i = 0; i < 100'000 && !third; ++i) {
            tickets[me] = prepare_park(WaitReason::test);
            const Ticket mine = tickets[me];
            if (tickets[1 - me]) wake(tickets[1 - me]);
            (void)park_until(mine, Deadline::in(std::chrono::milliseconds(50)));
          }
        });
      yield();
      (void)spawn("third", [&] { third = true; });
      yield();
    });
  }
  CHECK(third);
}

TEST_CASE("a fiber that never parks yields by its budget", "[scheduler]") {
  std::atomic<bool> other{false};
  int calls = 0;
  {
    auto rt = test::start_runtime(1);
    rt->run([&] {
      (void)spawn("other", [&] { other = true; });
      for (; calls < 1000 && !other; ++calls) spend_budget();
    });
  }
  CHECK(other);
  CHECK(calls <= 64);
}

TEST_CASE("work is stolen by an idle Processor", "[scheduler]") {
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  auto rt = test::start_runtime(2);
  rt->run([&] {
    for (int i = 0; i < 2; ++i)
      (void)spawn("busy", [&] {
        const int n = ++at_once;
        int seen = most.load();
        while (n > seen && !most.compare_exchange_weak(seen, n)) {
        }
        const std::int64_t end = monotonic_now() + 2'000'000'000;
        while (most.load() < 2 && monotonic_now() < end) {
        }
        --at_once;
      });
  });
  rt.reset();
  CHECK(most == 2);
}

TEST_CASE("a held Processor is replaced and the others go on", "[scheduler]") {
  std::atomic<bool> other{false};
  bool seen = false;
  auto rt = test::start_runtime(1);
  rt->run([&] {
    (void)spawn("other", [&] { other = true; });
    const std::int64_t end = monotonic_now() + 5'000'000'000;
    while (!other.load() && monotonic_now() < end) {
    }
    seen = other.load();
    yield();
  });
  CHECK(seen);
  CHECK(rt->read_mem_stats().handoffs >= 1);
}

TEST_CASE("a pinned fiber is not handed off", "[scheduler]") {
  std::atomic<bool> other{false};
  bool seen = true;
  std::uint64_t handed_off = 1;
  auto rt = test::start_runtime(1);
  rt->run([&] {
    const Pin pin;
    // While it is pinned: a thread that has no CPU may be taken for one that holds its Processor before and behind.
    const std::uint64_t before = rt->read_mem_stats().handoffs;
    (void)spawn("other", [&] { other = true; });
    const std::int64_t end = monotonic_now() + 60'000'000;
    while (!other.load() && monotonic_now() < end) {
    }
    seen = other.load();
    handed_off = rt->read_mem_stats().handoffs - before;
  });
  CHECK_FALSE(seen);
  CHECK(handed_off == 0);
}

TEST_CASE("a blocking section that lasts hands the Processor on", "[scheduler]") {
  std::atomic<bool> other{false};
  bool seen = false;
  auto rt = test::start_runtime(1);
  rt->run([&] {
    (void)spawn("other", [&] { other = true; });
    blocking_section([&] {
      for (int i = 0; i < 5'000'000 && !other.load(); ++i) std::this_thread::yield();
    });
    seen = other.load();
  });
  CHECK(seen);
}

TEST_CASE("GOMAXPROCS goes up and down under load and loses nothing", "[scheduler]") {
  std::atomic<int> done{0};
  auto rt = test::start_runtime(2);
  for (int i = 0; i < 200; ++i)
    REQUIRE(rt->spawn("worker", [&] {
      for (int k = 0; k < 200; ++k) {
        if (k % 8 == 0)
          (void)sleep_for(std::chrono::microseconds(50));
        else
          yield();
      }
      ++done;
    }));
  for (unsigned n : {1U, 4U, 2U, 8U, 1U, 3U, 2U}) {
    rt->set_gomaxprocs(n);
    CHECK(rt->gomaxprocs() == n);
  }
  rt.reset();
  CHECK(done == 200);
}

TEST_CASE("from very many Processors to one: all of them leave", "[scheduler]") {
  auto rt = std::move(*Runtime::start({.gomaxprocs = 1, .handoff_max = 0}));
  rt->set_gomaxprocs(200);  // more than fit the list of retired ones at a time
  rt->set_gomaxprocs(1);
  std::atomic<int> running{0};
  std::atomic<int> together{0};
  for (int i = 0; i < 100; ++i)
    REQUIRE(rt->spawn("alone", [&] {
      if (++running > 1) ++together;
      const std::int64_t end = monotonic_now() + 100'000;
      while (monotonic_now() < end) {
      }
      --running;
    }));
  rt.reset();
  CHECK(together < 5);  // one that was just looking for work may still take a fiber along
}

TEST_CASE("statistics add up", "[scheduler]") {
  auto rt = test::start_runtime(2);
  rt->run([] {
    for (int i = 0; i < 100; ++i) (void)spawn("s", [] { (void)sleep_for(std::chrono::microseconds(1)); });
  });
  for (int i = 0; i < 100000 && rt->read_mem_stats().fibers_ended != 101; ++i) std::this_thread::yield();
  const MemStats s = rt->read_mem_stats();
  CHECK(s.fibers_created == 101);
  CHECK(s.fibers_ended == 101);
  CHECK(s.fibers_waiting == 0);
  CHECK(s.switches >= 101);
  CHECK(s.parks[static_cast<std::size_t>(WaitReason::sleep)] == 100);
  CHECK(s.gomaxprocs == 2);
}
