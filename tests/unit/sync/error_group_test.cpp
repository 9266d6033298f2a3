#include "core/sync/error_group.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using runtime::Simulation;
using sync::ErrorGroup;

namespace {

std::atomic<int> log_errors{0};
void count_errors(LogLevel level, std::string_view) noexcept { log_errors += level == LogLevel::error ? 1 : 0; }

/// Counts error lines while it lives.
struct Logged {
  Logged() {
    log_errors = 0;
    set_log_sink(&count_errors);
  }
  ~Logged() { set_log_sink(nullptr); }
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;
};

std::error_code broken_pipe() { return std::make_error_code(std::errc::broken_pipe); }

}  // namespace

TEST_CASE("error group: without failures wait is success and the context is done afterwards", "[sync][error_group]") {
  int ended = 0;
  std::error_code error;
  bool done_before = true;
  bool done_after = false;
  Simulation(1).run([&] {
    ErrorGroup group;
    for (int i = 0; i < 5; ++i)
      group.go("part", [&] {
        (void)runtime::sleep_for(1ms);
        ++ended;
      });
    done_before = group.context().done();
    error = error_of(group.wait());
    done_after = group.context().done();
    CHECK(group.running() == 0);
  });
  CHECK(ended == 5);
  CHECK_FALSE(error);
  CHECK_FALSE(done_before);
  CHECK(done_after);
}

TEST_CASE("error group: the first error cancels the others and is the cause", "[sync][error_group]") {
  std::error_code error;
  std::vector<std::error_code> seen;
  std::error_code cause;
  std::uint64_t failures = 0;
  std::int64_t elapsed = Simulation(2)
                             .run([&] {
                               ErrorGroup group;
                               for (int i = 0; i < 4; ++i)
                                 group.go("sleeper", [&] {
                                   seen.push_back(error_of(context::sleep(group.context(), 1h)));
                                   return seen.back();
                                 });
                               group.go("fails", [] {
                                 (void)runtime::sleep_for(1ms);
                                 return broken_pipe();
                               });
                               error = error_of(group.wait());
                               cause = group.context().cause();
                               failures = group.failures();
                             })
                             .elapsed_ns;
  CHECK(error == std::errc::broken_pipe);
  CHECK(cause == std::errc::broken_pipe);
  CHECK(seen.size() == 4);
  CHECK(std::all_of(seen.begin(), seen.end(), [](std::error_code e) { return e == context::errc::canceled; }));
  CHECK(failures == 5);
  CHECK(elapsed < std::chrono::nanoseconds(1min).count());
}

TEST_CASE("error group: a part may return a Result", "[sync][error_group]") {
  std::error_code error;
  std::error_code none;
  Simulation(1).run([&] {
    ErrorGroup fails;
    fails.go("value", []() -> Result<int> { return 5; });
    fails.go("error", []() -> Result<void> { return fail(std::errc::io_error); });
    error = error_of(fails.wait());
    ErrorGroup works;
    works.go("value", []() -> Result<int> { return 5; });
    none = error_of(works.wait());
  });
  CHECK(error == std::errc::io_error);
  CHECK_FALSE(none);
}

TEST_CASE("error group: the first exception is rethrown by wait, later ones are logged once", "[sync][error_group]") {
  const Logged logged;
  std::string what;
  std::error_code cause;
  std::uint64_t failures = 0;
  Simulation(3).run([&] {
    ErrorGroup group;
    group.go("first", [] { throw std::runtime_error("first"); });
    (void)runtime::sleep_for(1ms);
    group.go("second", [] { throw std::runtime_error("second"); });
    group.go("third", [] { throw 3; });
    try {
      (void)group.wait();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    cause = group.context().cause();
    failures = group.failures();
  });
  CHECK(what == "first");
  CHECK(cause == sync::errc::exception);
  CHECK(failures == 3);
  CHECK(log_errors == 2);
}

TEST_CASE("error group: a system_error's code is the cause", "[sync][error_group]") {
  std::error_code cause;
  bool thrown = false;
  Simulation(4).run([&] {
    ErrorGroup group;
    group.go("part", [] { throw std::system_error(broken_pipe()); });
    try {
      (void)group.wait();
    } catch (const std::system_error&) {
      thrown = true;
    }
    cause = group.context().cause();
  });
  CHECK(thrown);
  CHECK(cause == std::errc::broken_pipe);
}

TEST_CASE("error group: an exception that nobody waits for is logged", "[sync][error_group]") {
  const Logged logged;
  Simulation(5).run([] {
    ErrorGroup group;
    group.go("part", [] { throw std::runtime_error("lost"); });
  });
  CHECK(log_errors == 1);
}

TEST_CASE("error group: destroying it cancels and waits", "[sync][error_group]") {
  bool ended = false;
  std::error_code seen;
  const auto outcome = Simulation(6).run([&] {
    {
      ErrorGroup group;
      group.go("part", [&ended, &seen, ctx = group.context()] {
        seen = error_of(context::sleep(ctx, 1h));
        (void)runtime::sleep_for(1ms);
        ended = true;
      });
    }
    CHECK(ended);
  });
  CHECK_FALSE(outcome.deadlock);
  CHECK(seen == context::errc::canceled);
}

TEST_CASE("error group: a limit holds; go waits, try_go does not, and go under a context gives up",
          "[sync][error_group]") {
  int most = 0;
  std::error_code refused;
  std::error_code given_up;
  Simulation(7).run([&] {
    ErrorGroup group;
    group.set_limit(3);
    int now = 0;
    const auto part = [&] {
      most = std::max(most, ++now);
      (void)runtime::sleep_for(1ms);
      --now;
    };
    for (int i = 0; i < 20; ++i) group.go("part", part);
    CHECK(group.wait());
    for (int i = 0; i < 3; ++i) group.go("part", part);
    if (auto r = group.try_go("one too many", part); !r) refused = r.error();
    const auto brief = context::with_timeout(context::background(), 1us);
    given_up = error_of(group.go(brief.context, "impatient", part));
    brief.cancel();
    CHECK(group.wait());
    CHECK(group.try_go("fits", part));
    CHECK(group.wait());
  });
  CHECK(most == 3);
  CHECK(refused == std::errc::resource_unavailable_try_again);
  CHECK(given_up == context::errc::deadline_exceeded);
}

TEST_CASE("error group: wait under a context gives up and leaves the parts running", "[sync][error_group]") {
  std::error_code early;
  std::uint64_t running = 0;
  std::error_code late;
  bool canceled = true;
  Simulation(8).run([&] {
    ErrorGroup group;
    group.go("slow", [] {
      (void)runtime::sleep_for(1s);
      return broken_pipe();
    });
    const auto brief = context::with_timeout(context::background(), 1ms);
    early = error_of(group.wait(brief.context));
    running = group.running();
    canceled = group.context().done();
    late = error_of(group.wait(context::background()));
  });
  CHECK(early == context::errc::deadline_exceeded);
  CHECK(running == 1);
  CHECK_FALSE(canceled);
  CHECK(late == std::errc::broken_pipe);
}

TEST_CASE("error group: a spawn that is refused is the group's error", "[sync][error_group]") {
  std::error_code error;
  std::error_code tried;
  std::error_code after_try;
  bool ran = false;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->set_admission_hook([](std::string_view name) noexcept {
      return as_result(name == "unwanted" ? std::make_error_code(std::errc::connection_refused) : std::error_code{});
    });
    (*rt)->run([&] {
      ErrorGroup group;
      group.set_limit(1);
      if (auto r = group.try_go("unwanted", [&] { ran = true; }); !r) tried = r.error();
      after_try = group.context().err();
      for (int i = 0; i < 3; ++i) group.go("unwanted", [&] { ran = true; });  // each gives its place back
      error = error_of(group.wait());
    });
  }
  CHECK(tried == std::errc::connection_refused);
  CHECK_FALSE(after_try);
  CHECK(error == std::errc::connection_refused);
  CHECK_FALSE(ran);
}

TEST_CASE("error group: parts end, fail and the owner gives up in any order under 10,000 seeds",
          "[sync][error_group][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    int ended = 0;
    int most = 0;
    int now = 0;
    std::error_code error;
    std::error_code first;
    {
      ErrorGroup group;
      group.set_limit(2);
      for (int i = 0; i < 5; ++i)
        group.go("part", [&, i, owned = std::make_unique<int>(i)]() -> std::error_code {
          most = std::max(most, ++now);
          const std::error_code slept =
              error_of(context::sleep(group.context(), std::chrono::nanoseconds(200 * *owned)));
          --now;
          ++ended;
          const std::error_code result = i == 3 ? broken_pipe() : slept;
          if (result && !first) first = result;
          return result;
        });
      const auto brief = context::with_timeout(context::background(), std::chrono::nanoseconds(seed % 1000));
      error = error_of(group.wait(brief.context));
      brief.cancel();
      if (seed % 2 == 0) error = error_of(group.wait());
    }
    test::invariant(ended == 5, "a part was lost");
    test::invariant(most <= 2, "the limit was passed");
    test::invariant(seed % 2 != 0 || error == first, "not the first error: " + error.message());
  });
}

TEST_CASE("error group: a part whose callable cannot be copied leaves its place", "[sync][error_group]") {
  struct Part {
    Part() = default;
    Part(const Part&) { throw std::runtime_error("cannot be copied"); }
    void operator()() {}
  };
  bool thrown = false;
  bool next = false;
  Simulation(9).run([&] {
    ErrorGroup group;
    group.set_limit(1);
    const Part part;
    try {
      group.go("part", part);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    next = static_cast<bool>(group.try_go("next", [] {}));
  });
  CHECK(thrown);
  CHECK(next);
}

TEST_CASE("error group: a limit of 0 lets nobody start, and a negative one everybody", "[sync][error_group]") {
  bool ran = false;
  bool gave_up = false;
  bool tried = true;
  bool ran_early = true;
  int started = 0;
  Simulation(10).run([&] {
    ErrorGroup group;
    group.set_limit(0);
    const auto ctx = context::with_timeout(context::background(), 5ms);
    gave_up = !group.go(ctx.context, "part", [&] { ran = true; }).has_value();
    tried = group.try_go("part", [&] { ran = true; }).has_value();
    (void)group.wait();
    ran_early = ran;
    group.set_limit(-1);
    for (int i = 0; i < 3; ++i) started += group.try_go("part", [&] { ran = true; }) ? 1 : 0;
    (void)group.wait();
  });
  CHECK(gave_up);
  CHECK_FALSE(tried);
  CHECK_FALSE(ran_early);
  CHECK(started == 3);
  CHECK(ran);
}

TEST_CASE("error group: a go that waits for a place is let in by a new limit", "[sync][error_group]") {
  for (const std::int64_t limit : {-1, 1, 2}) {
    INFO("limit " << limit);
    int ran = 0;
    std::error_code error = context::errc::canceled;
    std::error_code kept_out;
    std::string died = "not run";
    died = test::simulate(11, [&](std::uint64_t) {
      ErrorGroup group;
      group.set_limit(0);
      const auto late = context::with_timeout(context::background(), 1s);
      for (int i = 0; i < 2; ++i)
        (void)runtime::spawn("waits", [&] { error = error_of(group.go(late.context, "part", [&] { ++ran; })); });
      (void)runtime::sleep_for(1ms);
      group.set_limit(0);
      (void)runtime::sleep_for(1ms);
      test::invariant(ran == 0 && group.running() == 0, "let in at a limit of 0");
      group.set_limit(limit);
      group.go("another", [&] { ++ran; });
      (void)runtime::sleep_for(1ms);
      test::invariant(ran == 3, "not let in");
      (void)group.wait();
      // What was taken has been given back, and to the limit that holds now.
      group.set_limit(1);
      group.go("one", [] { (void)runtime::sleep_for(1ms); });
      kept_out = group.try_go("two", [] {}).has_value() ? std::error_code() : broken_pipe();
      (void)group.wait();
    });
    CHECK(died == "");
    CHECK(ran == 3);
    CHECK_FALSE(error);
    CHECK(kept_out);
  }
}
