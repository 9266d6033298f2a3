#include "core/sync/once.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>

#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using runtime::Simulation;
using sync::Once;

TEST_CASE("once: the first calls, the others wait until it is over", "[sync][once]") {
  int calls = 0;
  int early = 0;
  const auto outcome = Simulation(1).run([&] {
    Once once;
    bool over = false;
    int left = 10;
    for (int i = 0; i < 10; ++i)
      (void)runtime::spawn("caller", [&] {
        once.call([&] {
          ++calls;
          (void)runtime::sleep_for(1ms);
          over = true;
        });
        early += over ? 0 : 1;
        --left;
      });
    while (left != 0) (void)runtime::sleep_for(1ms);
    CHECK(once.done());
  });
  CHECK_FALSE(outcome.deadlock);
  CHECK(calls == 1);
  CHECK(early == 0);
}

TEST_CASE("once: a function that throws was called; the waiters go on", "[sync][once]") {
  int calls = 0;
  int thrown = 0;
  int returned = 0;
  const auto outcome = Simulation(2).run([&] {
    Once once;
    int left = 5;
    for (int i = 0; i < 5; ++i)
      (void)runtime::spawn("caller", [&] {
        try {
          once.call([&] {
            ++calls;
            (void)runtime::sleep_for(1ms);
            throw std::runtime_error("no");
          });
          ++returned;
        } catch (const std::runtime_error&) {
          ++thrown;
        }
        --left;
      });
    while (left != 0) (void)runtime::sleep_for(1ms);
    once.call([&] { ++calls; });
  });
  CHECK_FALSE(outcome.deadlock);
  CHECK(calls == 1);
  CHECK(thrown == 1);
  CHECK(returned == 4);
}

TEST_CASE("once: the wait obeys a context, and a done one calls nothing", "[sync][once]") {
  bool called = false;
  std::error_code first;
  std::error_code waited;
  std::error_code later;
  const auto outcome = Simulation(3).run([&] {
    Once once;
    auto gone = context::with_cancel(context::background());
    gone.cancel();
    first = error_of(once.call(gone.context, [&] { called = true; }));
    (void)runtime::spawn("slow", [&] { once.call([] { (void)runtime::sleep_for(1s); }); });
    (void)runtime::sleep_for(1ms);
    auto brief = context::with_timeout(context::background(), 10ms);
    waited = error_of(once.call(brief.context, [&] { called = true; }));
    later = error_of(once.call(context::background(), [&] { called = true; }));
  });
  CHECK_FALSE(outcome.deadlock);
  CHECK(first == context::errc::canceled);
  CHECK(waited == context::errc::deadline_exceeded);
  CHECK_FALSE(later);
  CHECK_FALSE(called);
}

TEST_CASE("once: what it wrote is seen by everybody, on 4 Processors", "[sync][once]") {
  static constexpr int kRounds = 2'000;
  std::atomic<int> wrong{0};
  std::atomic<int> calls{0};
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < kRounds; ++round) {
        struct Shared {
          Once once;
          int value = 0;
          std::atomic<int> left{4};
        } shared;
        for (int i = 0; i < 4; ++i)
          (void)runtime::spawn("caller", [&] {
            shared.once.call([&] {
              ++calls;
              runtime::yield();
              shared.value = 1;
            });
            if (shared.value != 1) ++wrong;
            --shared.left;
          });
        while (shared.left != 0) runtime::yield();
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(calls == kRounds);
}

/// Says nothing by itself: ASan and TSan do.
TEST_CASE("once: whoever has waited may destroy it at once", "[sync][once]") {
  static constexpr int kRounds = 2'000;
  int destroyed = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < kRounds; ++round) {
        auto* const once = new Once;
        std::atomic<bool> begun{false};
        std::atomic<bool> go{false};
        std::atomic<bool> over{false};
        (void)runtime::spawn("first", [&, once] {
          once->call([&] {
            begun = true;
            while (!go) runtime::yield();
          });
          over = true;
        });
        while (!begun) runtime::yield();
        (void)runtime::spawn("lets go", [&] { go = true; });
        once->call([] {});
        delete once;
        ++destroyed;
        while (!over) runtime::yield();
      }
    });
  }
  CHECK(destroyed == kRounds);
}
