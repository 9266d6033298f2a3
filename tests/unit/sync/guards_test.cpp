// What gives back by itself: a semaphore's permit, lock guards under a context, a wait group's part.
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <type_traits>

#include "core/context/cancel_scope.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::CancelScope;
using sync::Mutex;
using sync::Semaphore;
using sync::SharedMutex;
using sync::WaitGroup;
using test::on_fibers;

static_assert(!std::is_copy_constructible_v<Semaphore::Permit> && !std::is_copy_constructible_v<WaitGroup::Part>);
static_assert(std::is_nothrow_move_constructible_v<Semaphore::Permit>);
static_assert(std::is_nothrow_move_assignable_v<WaitGroup::Part>);

TEST_CASE("a permit gives its units back when it dies, is released or is replaced", "[guards][semaphore]") {
  on_fibers(1, [](test::Findings& found) {
    Semaphore slots(4);
    {
      Result<Semaphore::Permit> three = slots.permit(context::background(), 3);
      found.check(three && three->units() == 3 && slots.available() == 1, "three are out");
      Semaphore::Permit one = slots.try_permit();
      found.check(one && slots.available() == 0 && !slots.try_permit(), "all are out");
      const CancelScope soon(context::with_timeout(context::background(), 1ms));
      found.check(slots.permit(soon, 2).error() == context::errc::deadline_exceeded, "none came");
      found.check(slots.permit(context::background(), 5).error() == sync::errc::too_many, "more than there are");
      Semaphore::Permit moved = std::move(*three);
      found.check(!*three && moved.units() == 3 && slots.available() == 0, "moved: still out");
      one = std::move(moved);
      found.check(one.units() == 3 && slots.available() == 1, "what it held before went back");
      one.release();
      one.release();
      found.check(!one && slots.available() == 4, "given back once");
      one = slots.try_permit(2);
    }
    found.check(slots.available() == 4, "given back by its end");
    // To who waits.
    std::optional<Semaphore::Permit> all(*slots.permit(context::background(), 4));
    bool got = false;
    WaitGroup group;
    (void)group.go("waiter", [&] { got = slots.permit(context::background()).has_value(); });
    runtime::yield();
    found.check(!got, "waits");
    all.reset();
    group.wait();
    found.check(got && slots.available() == 4, "handed on, and back");
  });
}

TEST_CASE("lock guards that take a context", "[guards][mutex]") {
  on_fibers(1, [](test::Findings& found) {
    Mutex mutex;
    SharedMutex shared;
    const CancelScope canceled(context::with_cancel(context::background()));
    canceled.cancel();
    {
      Result<std::unique_lock<Mutex>> held = mutex.guard(context::background());
      found.check(held && held->owns_lock() && mutex.locked(), "locked");
      found.check(mutex.guard(canceled).error() == context::errc::canceled, "done before");
      const CancelScope soon(context::with_timeout(context::background(), 1ms));
      std::error_code late;
      WaitGroup group;
      (void)group.go("late", [&] { late = mutex.guard(soon).error(); });
      group.wait();
      found.check(late == context::errc::deadline_exceeded, "it gave up");
      // A condition waits with it.
      sync::Condition changed;
      bool set = false;
      (void)group.go("setter", [&] {
        const auto mine = mutex.guard(context::background());
        set = mine.has_value();
        changed.notify_one();
      });
      changed.wait(*held, [&] { return set; });
      found.check(held->owns_lock(), "held again");
      group.wait();
    }
    found.check(!mutex.locked(), "unlocked by its end");
    {
      const auto reader = shared.shared_guard(context::background());
      const auto another = shared.shared_guard(context::background());
      found.check(reader && another && !shared.try_lock(), "two readers");
    }
    {
      const auto writer = shared.guard(context::background());
      found.check(writer && !shared.try_lock_shared(), "one writer");
      found.check(shared.shared_guard(canceled).error() == context::errc::canceled, "done before");
    }
    found.check(shared.try_lock(), "nobody is left");
    shared.unlock();
  });
}

TEST_CASE("a part of a wait group is done when it dies", "[guards][wait_group]") {
  on_fibers(2, [](test::Findings& found) {
    WaitGroup group;
    {
      WaitGroup::Part one = group.part();
      WaitGroup::Part two = group.part();
      found.check(one && group.count() == 2, "two");
      one = std::move(two);
      found.check(group.count() == 1 && !two, "what it was before is done");
      one.done();
      one.done();
      found.check(group.count() == 0 && !one, "done once");
      two = group.part();
    }
    found.check(group.count() == 0, "done by its end");
    // Owned by what carries it.
    std::atomic<int> ran{0};
    for (int i = 0; i < 10; ++i) (void)runtime::spawn("part", [&ran, part = group.part()] { ++ran; });
    group.wait();
    found.check(ran <= 10 && group.count() == 0, "all are done");
  });
}

TEST_CASE("a cancel scope cancels at its end, whatever way it is left", "[guards][context]") {
  static_assert(!std::is_copy_constructible_v<CancelScope> && !std::is_move_constructible_v<CancelScope>);
  static_assert(std::is_convertible_v<const CancelScope&, const context::Context&>);
  context::Context kept;
  context::Context failed;
  const auto thrower = [&failed] {
    const CancelScope scope(context::with_cancel(context::background()));
    failed = scope.context();
    throw 5;
  };
  {
    const CancelScope scope(context::with_timeout(context::background(), 1h));
    kept = scope;
    CHECK_FALSE(kept.done());
    CHECK(kept == scope.context());
  }
  CHECK(kept.err() == context::errc::canceled);
  CHECK_THROWS_AS(thrower(), int);
  CHECK(failed.err() == context::errc::canceled);
  const CancelScope early(context::with_cancel(context::background()));
  early.cancel(std::make_error_code(std::errc::io_error));
  CHECK(early.context().cause() == std::errc::io_error);
}
