// Task: what a fiber returns or throws comes to who joins it.
#include "core/sync/task.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "core/base/log.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/allocations.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::spawn_task;
using sync::Task;
using test::Findings;
using test::on_fibers;

namespace {

static_assert(std::is_same_v<decltype(spawn_task("", [] { return 5; })), Result<Task<int>>>);
static_assert(std::is_same_v<decltype(spawn_task("", [] {})), Result<Task<void>>>);
static_assert(std::is_same_v<decltype(spawn_task("", [] { return Result<int>(5); })), Result<Task<int>>>);
static_assert(std::is_same_v<decltype(spawn_task("", [] { return std::error_code(); })), Result<Task<void>>>);
static_assert(std::is_nothrow_move_constructible_v<Task<int>> && !std::is_copy_constructible_v<Task<int>>);

std::mutex log_mutex;
std::string logged;
void keep_log(LogLevel, std::string_view line) noexcept {
  const std::lock_guard guard(log_mutex);
  logged.append(line).push_back('\n');
}
class KeepLog {
 public:
  KeepLog() {
    logged.clear();
    set_log_sink(&keep_log);
  }
  ~KeepLog() { set_log_sink(nullptr); }
  KeepLog(const KeepLog&) = delete;
  KeepLog& operator=(const KeepLog&) = delete;
};

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Runs until `what` holds, for some seconds at most.
template <class F>
bool soon(F&& what) {
  for (int i = 0; i < 100'000 && !what(); ++i) runtime::yield();
  return what();
}

}  // namespace

TEST_CASE("join gives what the function returned", "[sync][task]") {
  on_fibers(2, [](Findings& found) {
    auto number = spawn_task("number", [] {
      (void)runtime::sleep_for(1ms);
      return 42;
    });
    auto owner = spawn_task("owner", [] { return std::make_unique<std::string>("moved, never copied"); });
    auto nothing = spawn_task("nothing", [] { runtime::yield(); });
    auto failed = spawn_task("failed", []() -> Result<int> { return fail(std::errc::address_in_use); });
    auto code = spawn_task("code", [] { return std::make_error_code(std::errc::broken_pipe); });
    auto fine = spawn_task("fine", [] { return std::error_code(); });
    auto large = spawn_task({.name = "large", .stack = runtime::StackClass::large}, [] { return true; });
    const Result<int> n = number->join();
    found.check(n && *n == 42, "the number");
    const auto p = owner->join();
    found.check(p && **p == "moved, never copied", "the object");
    found.check(nothing->join().has_value(), "nothing is a success");
    found.check(failed->join() == fail(std::errc::address_in_use), "a Result's error is the join's");
    found.check(code->join() == fail(std::errc::broken_pipe), "so is an error code");
    found.check(fine->join().has_value(), "an error code of success is one");
    found.check(large->join() == true, "with a large stack");
    found.check(number->done() && failed->done(), "they are done");
  });
}

TEST_CASE("join throws what the function threw, to each who joins", "[sync][task]") {
  const KeepLog log;
  on_fibers(2, [](Findings& found) {
    const std::uint64_t before = runtime::read_mem_stats().fibers_panicked;
    auto task = spawn_task("thrower", []() -> int {
      runtime::yield();
      throw std::runtime_error("no such luck");
    });
    for (int i = 0; i < 2; ++i) {
      std::string what;
      try {
        (void)task->join();
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      found.check(what == "no such luck", "rethrown");
    }
    task->detach();
    found.check(!*task, "has no fiber any more");
    found.check(runtime::read_mem_stats().fibers_panicked == before, "what was joined is not counted");
  });
  CHECK(logged.empty());
}

TEST_CASE("a task that dies unjoined goes on, and its exception is reported once as a plain fiber's is",
          "[sync][task]") {
  const KeepLog log;
  std::atomic<int> ended{0};
  on_fibers(2, [&ended](Findings& found) {
    const std::uint64_t before = runtime::read_mem_stats().fibers_panicked;
    const auto panicked = [before] { return runtime::read_mem_stats().fibers_panicked - before; };
    sync::Channel<int> go;
    const auto part = [&go, &ended](bool throws) {
      return [&go, &ended, throws] {
        (void)go.receive();
        ++ended;
        if (throws) throw std::logic_error("unheard");
      };
    };
    // The handle dies before its fiber …
    {
      const auto quiet = spawn_task("quiet", part(false));
      const auto loud = spawn_task("loud", part(true));
      found.check(quiet && loud, "spawned");
    }
    go.close();
    found.check(soon([&] { return panicked() == 1; }), "the fiber reports");
    // … and after it.
    {
      const auto late = spawn_task("late", part(true));
      found.check(late && soon([&] { return late->done(); }), "done");
      found.check(panicked() == 1, "somebody may still join");
    }
    found.check(panicked() == 2, "the handle reports");
  });
  CHECK(ended == 3);
  CHECK(times(logged, "\"loud\" spawned at ") == 1);
  CHECK(times(logged, "\"late\" spawned at ") == 1);
  CHECK(times(logged, "task_test.cpp:") >= 2);
  CHECK(times(logged, "ended by an exception: std::logic_error: unheard; thrown at:") == 2);
}

TEST_CASE("several fibers join: a value goes to one, the rest are told", "[sync][task]") {
  on_fibers(2, [](Findings& found) {
    for (int round = 0; round < 200; ++round) {
      sync::Channel<int> go;
      auto value = spawn_task("value", [&go] {
        (void)go.receive();
        return std::make_unique<int>(7);
      });
      auto nothing = spawn_task("nothing", [&go] { (void)go.receive(); });
      std::atomic<int> got{0};
      std::atomic<int> told{0};
      std::atomic<int> successes{0};
      sync::WaitGroup group;
      for (int i = 0; i < 5; ++i)
        if (!group.go("joiner", [&] {
              const auto mine = value->join();
              if (mine && **mine == 7) ++got;
              if (!mine && mine.error() == sync::errc::already_joined) ++told;
              if (nothing->join()) ++successes;
            }))
          return found.check(false, "spawn");
      if (round % 2 == 0) runtime::yield();
      go.close();
      group.wait();
      found.check(got == 1 && told == 4 && successes == 5, "one value");
    }
  });
}

TEST_CASE("a wait that its context ends leaves the task to a later join", "[sync][task]") {
  on_fibers(2, [](Findings& found) {
    sync::Channel<int> go;
    auto task = spawn_task("slow", [&go] { return *go.receive(); });
    const auto brief = context::with_timeout(context::background(), 1ms);
    found.check(task->join(brief.context) == fail(context::errc::deadline_exceeded), "its deadline");
    const auto stopped = context::with_cancel(context::background());
    sync::WaitGroup group;
    found.check(group
                    .go("waiter",
                        [&] {
                          found.check(error_of(task->wait(stopped.context)) == context::errc::canceled,
                                      "cancelled while it waits");
                        })
                    .has_value(),
                "spawn");
    runtime::yield();
    stopped.cancel();
    group.wait();
    found.check(!task->done(), "goes on");
    (void)go.send(3);
    found.check(task->wait(context::background()).has_value(), "ended");
    found.check(task->join(stopped.context) == fail(context::errc::canceled),
                "a context that is done is looked at first");
    found.check(task->join(context::background()) == 3, "the value is still there");
    found.check(task->join() == fail(sync::errc::already_joined), "once");
  });
}

TEST_CASE("what the function owns is gone before its task is done", "[sync][task]") {
  on_fibers(2, [](Findings& found) {
    for (int i = 0; i < 100; ++i) {
      auto owned = std::make_shared<int>(1);
      auto task = spawn_task("owner", [owned] { return *owned; });
      found.check(task->join() == 1 && owned.use_count() == 1, "only ours is left");
    }
  });
}

TEST_CASE("a thread joins a task", "[sync][task]") {
  auto rt = runtime::Runtime::start({.gomaxprocs = 1});
  REQUIRE(rt);
  auto task = spawn_task("for a thread", [] {
    (void)runtime::sleep_for(5ms);
    return 5;
  });
  REQUIRE(task);
  CHECK(task->join() == 5);
  CHECK(task->done());
  auto again = spawn_task("for a thread", [] { throw std::runtime_error("carried"); });
  REQUIRE(again);
  CHECK_THROWS_WITH(again->join(context::background()), "carried");
  rt->reset();
}

TEST_CASE("a spawn that is refused destroys the function unrun and says why", "[sync][task]") {
  on_fibers(1, [](Findings& found) {
    auto owned = std::make_shared<int>(1);
    runtime::Scheduler::instance()->set_admission_hook([](std::string_view name) noexcept {
      return as_result(name == "unwanted" ? std::make_error_code(std::errc::connection_refused) : std::error_code());
    });
    const auto task = spawn_task("unwanted", [owned] { return *owned; });
    runtime::Scheduler::instance()->set_admission_hook(nullptr);
    found.check(!task && task.error() == std::errc::connection_refused, "refused");
    found.check(owned.use_count() == 1, "destroyed");
  });
}

#if defined(NDEBUG)
TEST_CASE("joining no task is a BUG with an error", "[sync][task]") {
  const KeepLog log;
  const std::uint64_t before = bug_count();
  Task<int> none;
  CHECK(none.join() == fail(std::errc::invalid_argument));
  CHECK(bug_count() == before + 1);
}
#endif

TEST_CASE("a task costs one allocation, a plain spawn none, whatever the result", "[sync][task]") {
  std::uint64_t tasks = UINT64_MAX;
  std::uint64_t plain = UINT64_MAX;
  static constexpr int kRounds = 100;
  on_fibers(1, [&](Findings& found) {
    // The least of several: the first time fibers and stacks are made, and others' threads may allocate now and then.
    for (int round = 0; round < 5; ++round) {
      const std::uint64_t before = test::allocations();
      for (int i = 0; i < kRounds; ++i) {
        auto task = spawn_task("task", [i] { return std::array<int, 64>{i}; });
        found.check((*task->join())[0] == i, "the value");
      }
      const std::uint64_t between = test::allocations();
      tasks = std::min(tasks, between - before);
      for (int i = 0; i < kRounds; ++i) {
        found.check(runtime::spawn("plain", [] {}).has_value(), "spawn");
        runtime::yield();
      }
      plain = std::min(plain, test::allocations() - between);
    }
  });
  CHECK(tasks == kRounds);
  CHECK(plain == 0);
}
