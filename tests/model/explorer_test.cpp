// The explorer itself: does it visit what it says, and does it find what is there?
#include "tests/model/explorer.hpp"

#include <catch2/catch.hpp>
#include <set>

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {
struct Counter {
  Atomic<int> value;
  Atomic<int> other;
};
}  // namespace

TEST_CASE("a lost update is found and its schedule printed", "[model]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = w.make<Counter>();
    for (const char* name : {"first", "second"}) w.thread(name, [&s] { s.value.store(s.value.load() + 1); });
    w.finally([&s] { return s.value.peek() == 2 ? "" : "an increment is lost"; });
  });
  CHECK(o.failed);
  CHECK(o.report.find("an increment is lost") == 0);
  CHECK(o.report.find("first: load v0") != std::string::npos);
}

TEST_CASE("fetch_add loses nothing", "[model]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = w.make<Counter>();
    for (const char* name : {"a", "b", "c"})
      w.thread(name, [&s] {
        s.value.fetch_add(1);
        s.value.fetch_add(1);
      });
    w.finally([&s] { return s.value.peek() == 6 ? "" : "an increment is lost"; });
  });
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions >= 90);  // 6! / (2! 2! 2!)
}

TEST_CASE("steps that commute are not tried in both orders", "[model]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = w.make<Counter>();
    w.thread("a", [&s] {
      for (int i = 0; i < 6; ++i) s.value.store(i);
    });
    w.thread("b", [&s] {
      for (int i = 0; i < 6; ++i) s.other.store(i);
    });
  });
  CHECK(o.complete);
  CHECK(o.executions < 50);  // of 924 orders, one counts
}

TEST_CASE("store buffering: all outcomes that sequential consistency allows, and only those", "[model]") {
  for (const unsigned preemptions : {model::kUnbounded, 2U}) {
    std::set<std::pair<int, int>> seen;
    struct Both {
      Atomic<int> x, y;
      int a = -1, b = -1;
    };
    const model::Outcome o = model::explore({.preemptions = preemptions}, [&](World& w) {
      auto& s = w.make<Both>();
      w.thread("a", [&s] {
        s.x.store(1);
        s.a = s.y.load();
      });
      w.thread("b", [&s] {
        s.y.store(1);
        s.b = s.x.load();
      });
      w.finally([&] {
        seen.insert({s.a, s.b});
        return std::string();
      });
    });
    CHECK(o.complete);
    CHECK(seen == std::set<std::pair<int, int>>{{0, 1}, {1, 0}, {1, 1}});
  }
}

TEST_CASE("a deadlock is found; a weak exchange may fail without reason", "[model]") {
  const model::Outcome dead = model::explore({}, [](World& w) {
    auto& s = w.make<Counter>();
    w.thread("a", [&s] {
      s.value.wait_while(0);
      s.other.store(1);
    });
    w.thread("b", [&s] {
      s.other.wait_while(0);
      s.value.store(1);
    });
  });
  CHECK(dead.failed);
  CHECK(dead.report.find("deadlock") == 0);

  const auto once = [](unsigned spurious) {
    return model::explore({.spurious = spurious}, [](World& w) {
      auto& s = w.make<Counter>();
      w.thread("a", [&s] {
        int zero = 0;
        if (!s.value.compare_exchange_weak(zero, 1)) model::fail("failed without reason");
      });
    });
  };
  CHECK_FALSE(once(0).failed);
  CHECK(once(1).failed);
}
