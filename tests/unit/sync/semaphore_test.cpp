#include "core/sync/semaphore.hpp"

#include <catch2/catch.hpp>

#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using sync::Semaphore;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("never more units are out than there are", "[semaphore][threads]") {
  std::atomic<int> out{0};
  std::atomic<int> most{0};
  on_fibers(4, [&](test::Findings& found) {
    Semaphore semaphore(10);
    WaitGroup group;
    for (int f = 0; f < 16; ++f)
      (void)group.go("user", [&, f] {
        const int n = f % 5 + 1;
        for (int i = 0; i < 1'000; ++i) {
          (void)semaphore.acquire(static_cast<std::uint64_t>(n));
          const int now = out += n;
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          if (i % 8 == 0) runtime::yield();
          out -= n;
          semaphore.release(static_cast<std::uint64_t>(n));
        }
      });
    group.wait();
    found.check(semaphore.available() == 10, "all are back");
  });
  CHECK(most <= 10);
  CHECK(most > 5);
}

TEST_CASE("who wants many is not overtaken by those who want few; giving up lets them go on", "[semaphore][context]") {
  on_fibers(1, [](test::Findings& found) {
    Semaphore semaphore(4);
    (void)semaphore.acquire(3);
    const auto canceled = context::with_cancel(context::background());
    std::error_code many;
    bool few = false;
    WaitGroup group;
    (void)group.go("many", [&] { many = error_of(semaphore.acquire(canceled.context, 4)); });
    runtime::yield();
    found.check(!semaphore.try_acquire(1), "one is free, but somebody waits");
    (void)group.go("few", [&] {
      (void)semaphore.acquire(1);
      few = true;
    });
    runtime::yield();
    found.check(!few, "in the order of coming");
    canceled.cancel();
    group.wait();
    found.check(many == context::errc::canceled && few, "went on");
    found.check(error_of(semaphore.acquire(5)) == sync::errc::too_many, "more than there are");
    found.check(error_of(semaphore.acquire(canceled.context, 0)) == context::errc::canceled, "done before");
    semaphore.release(4);
    found.check(semaphore.available() == 4, "all back");
#ifdef NDEBUG
    const std::uint64_t bugs = bug_count();
    found.check(error_of(semaphore.release(1)) == sync::errc::too_many && bug_count() == bugs + 1,
                "more back than out");
    found.check(semaphore.available() == 4, "nothing changed");
#endif
  });
}

TEST_CASE("cancelled and then granted by one fiber: the waiter gets the error, and its units go on",
          "[semaphore][context]") {
  on_fibers(1, [](test::Findings& found) {
    Semaphore semaphore(2);
    (void)semaphore.acquire(2);
    auto cancelable = context::with_cancel(context::background());
    std::error_code error;
    WaitGroup group;
    (void)group.go("waiter", [&] { error = error_of(semaphore.acquire(cancelable.context, 2)); });
    while (semaphore.try_acquire(1)) runtime::yield();
    for (int i = 0; i < 10; ++i) runtime::yield();
    cancelable.cancel();
    semaphore.release(2);
    group.wait();
    found.check(error == context::errc::canceled, "the error: " + error.message());
    found.check(semaphore.available() == 2, "the units are back");
  });
}
