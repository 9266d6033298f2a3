#include "core/sync/mutex.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>

#include "core/base/log.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::Mutex;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("a mutex excludes, on one Processor and on four, with holders that wait", "[mutex][threads]") {
  for (const unsigned processors : {1U, 4U}) {
    long counter = 0;
    int inside = 0;
    int most = 0;
    on_fibers(processors, [&](test::Findings& found) {
      Mutex mutex;
      WaitGroup group;
      for (int f = 0; f < 20; ++f)
        (void)group.go("locker", [&, f] {
          for (int i = 0; i < 2'000; ++i) {
            const std::lock_guard guard(mutex);
            most = std::max(most, ++inside);
            const long seen = counter;
            if (i % 16 == f % 16) runtime::yield();
            counter = seen + 1;
            --inside;
          }
        });
      group.wait();
      found.check(!mutex.locked(), "free at the end");
      found.check(mutex.try_lock() && !mutex.try_lock() && mutex.unlock(), "and usable");
    });
    CHECK(counter == 40'000);
    CHECK(most == 1);
  }
}

TEST_CASE("waiting for a mutex ends with the context, and others are not held up", "[mutex][context]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    mutex.lock();
    const auto canceled = context::with_cancel(context::background());
    std::error_code given_up;
    std::error_code got{1, std::generic_category()};
    WaitGroup group;
    (void)group.go("gives up", [&] { given_up = error_of(mutex.lock(canceled.context)); });
    (void)group.go("patient", [&] {
      got = error_of(mutex.lock(context::background()));
      if (!got) mutex.unlock();
    });
    runtime::yield();
    runtime::yield();
    canceled.cancel();
    runtime::yield();
    found.check(given_up == context::errc::canceled, "gave up");
    mutex.unlock();
    group.wait();
    found.check(!got, "the other got it");
    found.check(error_of(mutex.lock(canceled.context)) == context::errc::canceled && !mutex.locked(), "done before");
  });
}

TEST_CASE("a waiter is not starved by fibers that lock again and again", "[mutex]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    bool got = false;
    WaitGroup group;
    int rounds = 0;
    for (int f = 0; f < 2; ++f)
      (void)group.go("greedy", [&] {
        while (!got && rounds < 100'000) {
          mutex.lock();
          ++rounds;
          const std::int64_t until = monotonic_now() + 200'000;
          runtime::yield();
          while (monotonic_now() < until) {
          }
          mutex.unlock();
        }
      });
    (void)group.go("starved", [&] {
      mutex.lock();
      got = true;
      mutex.unlock();
    });
    group.wait();
    found.check(got && rounds < 1'000, "after " + std::to_string(rounds) + " rounds of the others");
  });
}

#ifdef NDEBUG
namespace {
std::string logged;
void keep(LogLevel /*level*/, std::string_view line) noexcept { logged = line; }
}  // namespace

TEST_CASE("a BUG says which fiber it was, where that was spawned, and how it came there", "[mutex]") {
  logged.clear();
  on_fibers(1, [](test::Findings&) {
    Mutex mutex;
    WaitGroup group;
    set_log_sink(&keep);
    (void)group.go("careless", [&] { mutex.unlock(); });
    group.wait();
    set_log_sink(nullptr);
  });
  CHECK(logged.find("\"careless\" spawned at ") != std::string::npos);
  CHECK(logged.find("mutex_test.cpp:") != std::string::npos);
  CHECK(std::count(logged.begin(), logged.end(), '\n') >= 2);
}

TEST_CASE("an unlock by another fiber changes nothing", "[mutex]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    const std::uint64_t bugs = bug_count();
    found.check(error_of(mutex.unlock()) == sync::errc::not_owner, "nobody has it");
    mutex.lock();
    WaitGroup group;
    std::error_code error;
    (void)group.go("another", [&] { error = error_of(mutex.unlock()); });
    group.wait();
    found.check(error == sync::errc::not_owner && mutex.locked(), "still held");
    found.check(mutex.unlock() && bug_count() == bugs + 2, "by its owner it works");
  });
}
#endif

TEST_CASE("threads without a fiber exclude one another, and fibers", "[mutex]") {
  auto runtime = runtime::Runtime::start({.gomaxprocs = 1});
  REQUIRE(runtime);
  Mutex mutex;
  CHECK(mutex.try_lock());
  CHECK(mutex.locked());
  CHECK_FALSE(mutex.try_lock());
  bool taken = true;
  (*runtime)->run([&] { taken = mutex.try_lock(); });
  CHECK_FALSE(taken);
  CHECK(mutex.unlock());
  CHECK_FALSE(mutex.locked());
}
