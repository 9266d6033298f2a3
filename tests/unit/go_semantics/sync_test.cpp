// What Go's package sync holds of Once and its functions, Map and Pool.
#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/sync/object_pool.hpp"
#include "core/sync/once.hpp"
#include "core/sync/once_function.hpp"
#include "core/sync/sharded_map.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::ObjectPool;
using sync::ShardedMap;
using sync::WaitGroup;

TEST_CASE("go once: called once, by the first, and the others wait for its end", "[go][once]") {
  in_every_way([](Findings& found) {
    sync::Once once;
    WaitGroup group;
    std::atomic<int> calls{0};
    std::atomic<bool> over{false};
    for (int i = 0; i < 10; ++i)
      start(group, [&] {
        once.call([&] {
          ++calls;
          let_others_run();
          over = true;
        });
        found.check(over, "not before its end");
      });
    group.wait();
    found.check(calls == 1, "once");
  });
}

TEST_CASE("go once: a function that panicked was called", "[go][once]") {
  in_every_way(
      [](Findings& found) {
        sync::Once once;
        bool thrown = false;
        try {
          once.call([] { throw std::runtime_error("no"); });
        } catch (const std::runtime_error&) {
          thrown = true;
        }
        once.call([&] { found.check(false, "called again"); });
        found.check(thrown && once.done(), "done");
      },
      5);
}

TEST_CASE("go oncefunc: one call for many, and what it owns goes with it", "[go][once]") {
  in_every_way([](Findings& found) {
    std::atomic<int> calls{0};
    const auto owned = std::make_shared<int>(1);
    sync::OnceFunction once([&calls, owned] {
      ++calls;
      let_others_run();
    });
    WaitGroup group;
    for (int i = 0; i < 8; ++i)
      start(group, [&] {
        once();
        found.check(calls == 1, "over");
      });
    group.wait();
    found.check(once(context::background()).has_value() && calls == 1, "under a context");
    const auto gone = context::with_cancel(context::background());
    gone.cancel();
    found.check(error_of(once(gone.context)) == context::errc::canceled, "under one that is done");
    found.check(owned.use_count() == 1, "destroyed after the call");
  });
}

TEST_CASE("go oncefunc: a panic comes again at each call", "[go][once]") {
  in_every_way(
      [](Findings& found) {
        std::atomic<int> calls{0};
        sync::OnceFunction once([&] {
          ++calls;
          let_others_run();
          throw std::runtime_error("no");
        });
        sync::OnceValue value([&]() -> int { throw std::runtime_error("none"); });
        WaitGroup group;
        std::atomic<int> thrown{0};
        for (int i = 0; i < 6; ++i)
          start(group, [&] {
            try {
              once();
            } catch (const std::runtime_error& e) {
              thrown += std::string(e.what()) == "no" ? 1 : 0;
            }
            try {
              (void)value();
            } catch (const std::runtime_error& e) {
              thrown += std::string(e.what()) == "none" ? 10 : 0;
            }
          });
        group.wait();
        found.check(calls == 1 && thrown == 66, "for everybody");
      },
      30);
}

TEST_CASE("go oncevalue: the value is made once, and all see the same", "[go][once]") {
  in_every_way([](Findings& found) {
    std::atomic<int> calls{0};
    sync::OnceValue value([&] {
      ++calls;
      let_others_run();
      return std::make_unique<std::string>("made");
    });
    WaitGroup group;
    std::array<const std::string*, 8> seen{};
    for (std::size_t i = 0; i < 8; ++i)
      start(group, [&, i] { seen[i] = i % 2 == 0 ? value().get() : (*value(context::background())).get().get(); });
    group.wait();
    for (const std::string* s : seen) found.check(s == seen[0] && *s == "made", "the same");
    found.check(calls == 1, "once");
  });
}

TEST_CASE("go oncevalue: who waits for the first may give up", "[go][once][context]") {
  in_every_way([](Findings& found) {
    sync::Channel<int> gate;
    std::atomic<bool> begun{false};
    sync::OnceValue value([&] {
      begun = true;
      return gate.receive().value_or(-1);
    });
    WaitGroup group;
    start(group, [&] { found.check(value() == 4, "the first has time"); });
    found.check(soon([&] { return begun.load(); }), "it begins");
    const auto c = context::with_timeout(context::background(), 100us);
    const auto none = value(c.context);
    found.check(!none && none.error() == context::errc::deadline_exceeded, "the second has not");
    (void)gate.send(4);
    group.wait();
    found.check(value() == 4, "later");
  });
}

TEST_CASE("go map: LoadOrStore: one of many stores", "[go][map]") {
  in_every_way([](Findings& found) {
    ShardedMap<std::string, int> map;
    WaitGroup group;
    std::atomic<int> stored{0};
    std::array<int, 8> seen{};
    for (std::size_t i = 0; i < 8; ++i)
      start(group, [&, i] {
        const auto [value, loaded] = map.load_or_store("key", [&] { return static_cast<int>(i); });
        seen[i] = value;
        stored += loaded ? 0 : 1;
      });
    group.wait();
    found.check(stored == 1, "one");
    for (const int v : seen) found.check(v == seen[0], "all get its value");
  });
}

TEST_CASE("go map: LoadAndDelete: one of many gets it", "[go][map]") {
  in_every_way([](Findings& found) {
    ShardedMap<int, std::unique_ptr<int>> map;
    (void)map.store(1, std::make_unique<int>(5));
    WaitGroup group;
    std::atomic<int> got{0};
    for (int i = 0; i < 8; ++i)
      start(group, [&] {
        if (const auto value = map.load_and_erase(1)) got += **value;
      });
    group.wait();
    found.check(got == 5 && map.size() == 0 && !map.load_and_erase(1), "once");
  });
}

TEST_CASE("go map: CompareAndSwap and CompareAndDelete act on what they expect alone", "[go][map]") {
  in_every_way([](Findings& found) {
    ShardedMap<std::string, int> map;
    found.check(!map.compare_and_swap("key", 0, 1) && !map.compare_and_erase("key", 0) && map.size() == 0,
                "nothing is made");
    (void)map.store("key", 0);
    found.check(!map.compare_and_swap("key", 7, 8) && map.load("key") == 0, "another value");
    found.check(map.compare_and_swap("key", 0, 1) && map.load("key") == 1, "swapped");
    found.check(!map.compare_and_erase("key", 0) && map.compare_and_erase("key", 1) && map.size() == 0, "erased");
    (void)map.store("count", 0);
    WaitGroup group;
    for (int i = 0; i < 4; ++i)
      start(group, [&] {
        for (int k = 0; k < 50; ++k)
          for (;;) {
            const int n = map.load("count").value_or(-1);
            if (map.compare_and_swap(std::string_view("count"), n, n + 1)) break;
          }
      });
    group.wait();
    found.check(map.load("count") == 200, "a counter by it loses nothing");
  });
}

TEST_CASE("go map: range while others change it sees each key at most once", "[go][map]") {
  in_every_way(
      [](Findings& found) {
        ShardedMap<int, int> map;
        for (int i = 0; i < 100; ++i) (void)map.store(i, i);
        WaitGroup group;
        std::atomic<bool> over{false};
        for (int w = 0; w < 2; ++w)
          start(group, [&, w] {
            for (int i = w; !over; i = (i + 7) % 100) {
              (void)map.compute(i, [](int& v) { v += 100; });
              (void)runtime::sleep_for(1us);
            }
          });
        for (int round = 0; round < 10; ++round) {
          std::vector<int> seen(100);
          (void)map.range([&](const int& key, const int& value) {
            found.check(value % 100 == key, "its value");
            ++seen[static_cast<std::size_t>(key)];
            return true;
          });
          for (const int n : seen) found.check(n == 1, "once");
          runtime::yield();
        }
        over = true;
        group.wait();
      },
      10);
}

TEST_CASE("go pool: what was given back comes again; else a new one", "[go][pool]") {
  in_every_way([](Findings& found) {
    std::atomic<int> made{0};
    const auto make = [&] { return std::make_unique<int>(++made); };
    ObjectPool<std::unique_ptr<int>, decltype(make)> pool(4, make);
    const runtime::Pin pin;
    {
      auto first = pool.get();
      auto second = pool.get();
      found.check(**first == 1 && **second == 2 && made == 2, "new ones");
      **first = 10;
    }
    found.check(pool.idle() == 2, "given back");
    auto again = pool.get();
    found.check(**again == 10 && made == 2, "the last one, as it was left");
    again.discard();
    found.check(!again && pool.idle() == 1, "discarded");
  });
}

TEST_CASE("go pool: no more are kept than asked for, and trim lets them go", "[go][pool]") {
  in_every_way(
      [](Findings& found) {
        const auto alive = std::make_shared<int>(0);
        const auto make = [alive] { return alive; };
        {
          ObjectPool<std::shared_ptr<int>, decltype(make)> pool(3, make);
          const runtime::Pin pin;
          {
            std::vector<decltype(pool)::Pooled> out;
            for (int i = 0; i < 10; ++i) out.push_back(pool.get());
            found.check(alive.use_count() == 13, "ten are out");
          }
          found.check(pool.idle() == 3 && alive.use_count() == 6, "three are kept");
          found.check(pool.trim() == 3 && pool.idle() == 0, "none");
          (void)pool.get();
        }
        found.check(alive.use_count() == 2, "none left behind");
      },
      5);
}

TEST_CASE("go pool: an object of another Processor, or thread, is found before one is made", "[go][pool]") {
  ObjectPool<std::string> pool;
  { *pool.get() = "from the main thread"; }
  std::string seen;
  std::thread([&] { seen = *pool.get(); }).join();
  CHECK(seen == "from the main thread");
  in_every_way([&](Findings& found) {
    ObjectPool<int> numbers;
    WaitGroup group;
    start(group, [&] { *numbers.get() = 7; });
    group.wait();
    found.check(*numbers.get() == 7, "wherever it was");
  });
}

TEST_CASE("go pool: hammered, an object is with one at a time", "[go][pool]") {
  struct Owned {
    std::atomic<int> users{0};
    Owned() = default;
    Owned(const Owned&) {}  // made by copy elision only
  };
  in_every_way(
      [](Findings& found) {
        ObjectPool<Owned> pool(2);
        WaitGroup group;
        for (int i = 0; i < 8; ++i)
          start(group, [&] {
            for (int k = 0; k < 50; ++k) {
              const auto object = pool.get();
              found.check(object->users.fetch_add(1) == 0, "alone");
              if (k % 5 == 0) runtime::yield();
              object->users.fetch_sub(1);
            }
          });
        group.wait();
      },
      30);
}
