// What Go's package sync holds of Mutex, RWMutex, WaitGroup and Cond.
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/shared_mutex.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::Condition;
using sync::Mutex;
using sync::SharedMutex;
using sync::WaitGroup;

TEST_CASE("go mutex: hammered by ten, nothing is lost", "[go][mutex]") {
  in_every_way(
      [](Findings& found) {
        Mutex mutex;
        WaitGroup group;
        int n = 0;
        for (int i = 0; i < 10; ++i)
          start(group, [&] {
            for (int k = 0; k < 100; ++k) {
              if (k % 3 == 0 && mutex.try_lock()) {
                ++n;
                (void)mutex.unlock();
                continue;
              }
              const std::lock_guard guard(mutex);
              ++n;
              if (k % 10 == 0) runtime::yield();
            }
          });
        group.wait();
        found.check(n == 1000, "a thousand");
      },
      30);
}

TEST_CASE("go mutex: TryLock says whether it is held", "[go][mutex]") {
  in_every_way([](Findings& found) {
    Mutex mutex;
    found.check(mutex.try_lock() && !mutex.try_lock(), "once");
    (void)mutex.unlock();
    found.check(mutex.try_lock(), "again");
    (void)mutex.unlock();
  });
}

TEST_CASE("go mutex: one that takes it again and again does not starve another", "[go][mutex]") {
  in_every_way(
      [](Findings& found) {
        Mutex mutex;
        WaitGroup group;
        std::atomic<bool> over{false};
        start(group, [&] {
          while (!over) {
            const std::lock_guard guard(mutex);
            (void)runtime::sleep_for(100us);
          }
        });
        for (int i = 0; i < 10; ++i) {
          (void)runtime::sleep_for(100us);
          const std::lock_guard guard(mutex);
        }
        over = true;
        group.wait();
        found.check(true, "came to an end");
      },
      20);
}

#ifdef NDEBUG  // a debug build stops there
TEST_CASE("go mutex: unlocking what one does not hold is a mistake with an answer", "[go][mutex]") {
  in_every_way(
      [](Findings& found) {
        Mutex mutex;
        const std::uint64_t before = bug_count();
        found.check(error_of(mutex.unlock()) == sync::errc::not_owner, "free");
        const std::lock_guard guard(mutex);
        WaitGroup group;
        start(group, [&] { found.check(error_of(mutex.unlock()) == sync::errc::not_owner, "another's"); });
        group.wait();
        found.check(bug_count() == before + 2 && mutex.locked(), "told, and still held");
      },
      1);
}
#endif

TEST_CASE("go rwmutex: readers are in together", "[go][rwmutex]") {
  in_every_way(
      [](Findings& found) {
        SharedMutex mutex;
        WaitGroup group;
        Gauge gauge;
        std::atomic<int> in{0};
        for (int i = 0; i < 5; ++i)
          start(group, [&] {
            const std::shared_lock lock(mutex);
            gauge.enter();
            ++in;
            found.check(soon([&] { return in == 5; }), "all of them");
            gauge.leave();
          });
        group.wait();
        found.check(gauge.most() == 5, "together");
      },
      30);
}

TEST_CASE("go rwmutex: hammered, writers are alone", "[go][rwmutex]") {
  in_every_way(
      [](Findings& found) {
        SharedMutex mutex;
        WaitGroup group;
        std::atomic<int> activity{0};
        for (int w = 0; w < 2; ++w)
          start(group, [&] {
            for (int i = 0; i < 30; ++i) {
              const std::lock_guard guard(mutex);
              found.check(activity.fetch_add(10'000) == 0, "a writer is alone");
              runtime::yield();
              activity.fetch_sub(10'000);
            }
          });
        for (int r = 0; r < 5; ++r)
          start(group, [&] {
            for (int i = 0; i < 30; ++i) {
              const std::shared_lock lock(mutex);
              found.check(activity.fetch_add(1) < 10'000, "readers see no writer");
              runtime::yield();
              activity.fetch_sub(1);
            }
          });
        group.wait();
      },
      50);
}

TEST_CASE("go rwmutex: a writer that waits comes before readers that come later", "[go][rwmutex]") {
  in_simulation(200, [](Findings& found) {
    SharedMutex mutex;
    WaitGroup group;
    std::string order;
    mutex.lock_shared();
    start(group, [&] {
      const std::lock_guard guard(mutex);
      order += 'w';
    });
    let_others_run();
    for (int i = 0; i < 3; ++i)
      start(group, [&] {
        const std::shared_lock lock(mutex);
        order += 'r';
      });
    let_others_run();
    found.check(order.empty() && !mutex.try_lock_shared(), "they wait behind it");
    (void)mutex.unlock_shared();
    group.wait();
    found.check(order == "wrrr", "the writer first");
  });
}

TEST_CASE("go waitgroup: wait ends with the last", "[go][waitgroup]") {
  in_every_way(
      [](Findings& found) {
        for (int round = 0; round < 5; ++round) {  // and can be used again
          WaitGroup group;
          std::atomic<int> n{0};
          group.add(16);
          WaitGroup others;
          for (int i = 0; i < 16; ++i)
            start(others, [&] {
              runtime::yield();
              ++n;
              (void)group.done();
            });
          group.wait();
          found.check(n == 16, "all");
          others.wait();
        }
      },
      50);
}

TEST_CASE("go waitgroup: several wait for one", "[go][waitgroup]") {
  in_every_way([](Findings& found) {
    WaitGroup work;
    WaitGroup waiters;
    std::atomic<bool> over{false};
    work.add();
    for (int i = 0; i < 5; ++i)
      start(waiters, [&] {
        work.wait();
        found.check(over, "after the end");
      });
    let_others_run();
    over = true;
    (void)work.done();
    waiters.wait();
  });
}

TEST_CASE("go waitgroup: destroyed as soon as the wait is over", "[go][waitgroup]") {
  in_every_way(
      [](Findings&) {
        for (int i = 0; i < 50; ++i) {
          auto group = std::make_unique<WaitGroup>();
          WaitGroup* const raw = group.get();
          raw->add();
          WaitGroup other;
          start(other, [raw] { (void)raw->done(); });
          group->wait();
          group.reset();
          other.wait();
        }
      },
      20);
}

#ifdef NDEBUG  // a debug build stops there
TEST_CASE("go waitgroup: more done than added is a mistake with an answer", "[go][waitgroup]") {
  in_every_way(
      [](Findings& found) {
        WaitGroup group;
        const std::uint64_t before = bug_count();
        found.check(error_of(group.done()) == sync::errc::negative_wait_group, "negative");
        found.check(bug_count() == before + 1 && group.count() == 0, "told; nothing changes");
      },
      1);
}
#endif

TEST_CASE("go cond: a signal wakes one", "[go][cond]") {
  in_simulation(200, [](Findings& found) {
    Mutex mutex;
    Condition condition;
    WaitGroup group;
    int awake = 0;
    for (int i = 0; i < 3; ++i)
      start(group, [&] {
        std::unique_lock lock(mutex);
        condition.wait(lock);
        ++awake;
      });
    let_others_run();
    for (int i = 1; i <= 3; ++i) {
      condition.notify_one();
      let_others_run();
      found.check(awake == i, "one each");
    }
    group.wait();
  });
}

TEST_CASE("go cond: those who waited longest are woken first", "[go][cond]") {
  in_simulation(200, [](Findings& found) {
    Mutex mutex;
    Condition condition;
    WaitGroup group;
    std::vector<int> came;
    std::vector<int> woken;
    for (int i = 0; i < 10; ++i)
      start(group, [&, i] {
        std::unique_lock lock(mutex);
        came.push_back(i);
        condition.wait(lock);
        woken.push_back(i);
      });
    let_others_run();
    for (int i = 0; i < 10; ++i) {
      condition.notify_one();
      let_others_run();
    }
    group.wait();
    found.check(came == woken, "order");
  });
}

TEST_CASE("go cond: a broadcast wakes all who wait, and none who come later", "[go][cond]") {
  in_simulation(200, [](Findings& found) {
    Mutex mutex;
    Condition condition;
    WaitGroup group;
    int awake = 0;
    const auto waiter = [&] {
      std::unique_lock lock(mutex);
      condition.wait(lock);
      ++awake;
    };
    for (int i = 0; i < 20; ++i) start(group, waiter);
    let_others_run();
    condition.notify_all();
    let_others_run();
    found.check(awake == 20, "all");
    start(group, waiter);
    let_others_run();
    found.check(awake == 20, "not the late one");
    condition.notify_all();
    group.wait();
  });
}

TEST_CASE("go cond: a queue of one place between producer and consumer", "[go][cond]") {
  in_every_way(
      [](Findings& found) {
        Mutex mutex;
        Condition changed;
        WaitGroup group;
        int place = 0;
        long sum = 0;
        start(group, [&] {
          for (int i = 1; i <= 100; ++i) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return place == 0; });
            place = i;
            changed.notify_all();
          }
        });
        start(group, [&] {
          for (int i = 1; i <= 100; ++i) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return place != 0; });
            sum += std::exchange(place, 0);
            changed.notify_all();
          }
        });
        group.wait();
        found.check(sum == 5050, "all of them");
      },
      50);
}
