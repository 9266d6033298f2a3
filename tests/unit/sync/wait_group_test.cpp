#include "core/sync/wait_group.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

#include "core/context/waits.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("a wait group waits for all, may be used again, and may die as soon as its waiter runs",
          "[wait_group][threads]") {
  std::atomic<int> ran{0};
  on_fibers(4, [&](test::Findings& found) {
    for (int round = 0; round < 500; ++round) {
      auto group = std::make_unique<WaitGroup>();
      const int before = ran;
      for (int f = 0; f < 10; ++f) found.check(static_cast<bool>(group->go("worker", [&ran] { ++ran; })), "spawned");
      WaitGroup watchers;
      (void)watchers.go("second waiter", [&] { group->wait(); });
      group->wait();
      found.check(ran == before + 10, "all have run");
      watchers.wait();
      (void)group->go("again", [&ran] { ++ran; });
      group->wait();
    }
  });
  CHECK(ran == 5'500);
}

TEST_CASE("waiting ends with the context while the work goes on; captures die before done()", "[wait_group][context]") {
  on_fibers(1, [](test::Findings& found) {
    WaitGroup group;
    const auto stop = context::with_cancel(context::background());
    const auto kept = std::make_shared<int>(1);
    (void)group.go("slow", [&stop, kept] { (void)context::sleep(stop.context, 1h); });
    const auto brief = context::with_timeout(context::background(), 1ms);
    found.check(error_of(group.wait(brief.context)) == context::errc::deadline_exceeded, "ended");
    found.check(group.count() == 1, "still at work");
    stop.cancel();
    group.wait();
    found.check(kept.use_count() == 1, "nothing of the function is left");
    found.check(group.wait(brief.context).has_value(), "nothing to wait for: a context that is done is no matter");
  });
}

TEST_CASE("what throws is done, too", "[wait_group]") {
  on_fibers(1, [](test::Findings&) {
    WaitGroup group;
    (void)group.go("throws", [] { throw std::runtime_error("as it should"); });
    group.wait();
  });
}

#ifdef NDEBUG
TEST_CASE("done() without add() changes nothing", "[wait_group]") {
  WaitGroup group;
  const std::uint64_t bugs = bug_count();
  CHECK(error_of(group.done()) == sync::errc::negative_wait_group);
  CHECK(group.count() == 0);
  CHECK(bug_count() == bugs + 1);
}
#endif

TEST_CASE("a function that throws while it is copied leaves no count", "[wait_group]") {
  struct Throws {
    Throws() = default;
    Throws(const Throws&) { throw std::runtime_error("copied"); }
    void operator()() const {}
  };
  on_fibers(1, [](test::Findings& found) {
    WaitGroup group;
    const Throws function;
    bool thrown = false;
    try {
      (void)group.go("never", function);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    found.check(thrown && group.count() == 0, "the count is as before");
    group.wait();
  });
}
