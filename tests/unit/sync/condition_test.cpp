#include "core/sync/condition.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <mutex>

#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::Condition;
using sync::Mutex;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("a bounded queue of mutex and conditions loses nothing", "[condition][threads]") {
  constexpr int kEach = 5'000;
  std::atomic<long> sum{0};
  on_fibers(4, [&](test::Findings&) {
    Mutex mutex;
    Condition not_empty;
    Condition not_full;
    std::deque<int> queue;
    WaitGroup group;
    for (int f = 0; f < 3; ++f) {
      (void)group.go("producer", [&] {
        for (int i = 1; i <= kEach; ++i) {
          std::unique_lock lock(mutex);
          not_full.wait(lock, [&] { return queue.size() < 4; });
          queue.push_back(i);
          not_empty.notify_one();
        }
      });
      (void)group.go("consumer", [&] {
        for (int i = 0; i < kEach; ++i) {
          std::unique_lock lock(mutex);
          not_empty.wait(lock, [&] { return !queue.empty(); });
          sum += queue.front();
          queue.pop_front();
          not_full.notify_one();
        }
      });
    }
    group.wait();
  });
  CHECK(sum == 3L * kEach * (kEach + 1) / 2);
}

TEST_CASE("notify_all wakes all; a context ends the wait with the mutex held", "[condition][context]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    Condition condition;
    WaitGroup group;
    int woken = 0;
    for (int f = 0; f < 5; ++f)
      (void)group.go("waiter", [&] {
        std::unique_lock lock(mutex);
        condition.wait(lock);
        ++woken;
      });
    runtime::yield();
    condition.notify_one();
    for (int i = 0; i < 20; ++i) runtime::yield();
    found.check(woken == 1, "one");
    condition.notify_all();
    group.wait();
    found.check(woken == 5, "all");
    const auto canceled = context::with_cancel(context::background());
    std::error_code error;
    bool held = false;
    (void)group.go("canceled", [&] {
      std::unique_lock lock(mutex);
      error = error_of(condition.wait(canceled.context, lock));
      held = mutex.locked();
    });
    runtime::yield();
    found.check(!mutex.locked(), "the wait releases the mutex");
    canceled.cancel();
    group.wait();
    found.check(error == context::errc::canceled && held, "ended, and held");
    std::unique_lock lock(mutex);
    const auto brief = context::with_timeout(context::background(), 1ms);
    found.check(error_of(condition.wait(brief.context, lock, [] { return false; })) == context::errc::deadline_exceeded,
                "time");
    found.check(condition.wait(brief.context, lock, [] { return true; }).has_value(),
                "a predicate that holds needs no wait");
  });
}

#ifdef NDEBUG
TEST_CASE("a wait without the mutex is a BUG and lets others run", "[condition]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    Condition condition;
    bool set = false;
    const std::uint64_t bugs = bug_count();
    (void)runtime::spawn("setter", [&] { set = true; });
    std::unique_lock guard(mutex, std::defer_lock);
    condition.wait(guard, [&] { return set; });
    found.check(bug_count() == bugs + 1, "once");
    found.check(error_of(condition.wait(context::background(), guard)) == sync::errc::not_owner && !mutex.locked(),
                "told");
  });
}
#endif
