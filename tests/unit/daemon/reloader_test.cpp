// One reload at a time; what is asked for meanwhile is done once.
#include "daemon/reloader.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::daemon;
using fiberd::test::eventually;
using Verdict = ReloadAnswer::Verdict;

namespace {

std::unique_ptr<runtime::Runtime> start() {
  auto rt = runtime::Runtime::start({.gomaxprocs = 2});
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}

/// Behind the reloader: its fibers end before it does.
struct Ended {
  explicit Ended(runtime::Runtime& rt) : runtime(rt) {}
  ~Ended() { runtime.scheduler().wait_until_no_fibers(); }
  runtime::Runtime& runtime;
};

/// Each begins when it is let go.
struct Reloads {
  std::atomic<int> begun{0};
  std::atomic<int> let_go{0};
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  ReloadAnswer operator()() {
    most = std::max(most.load(), ++at_once);
    const int mine = ++begun;
    while (let_go < mine) (void)runtime::sleep_for(std::chrono::milliseconds(1));
    --at_once;
    return {Verdict::done, std::to_string(mine)};
  }
};

}  // namespace

TEST_CASE("what is asked for during a reload is done once, after it, and all who asked are told of that one",
          "[daemon][reloader]") {
  auto rt = start();
  Reloads reloads;
  Reloader reloader(*rt, [&] { return reloads(); });
  const Ended ended(*rt);
  reloader.open();
  reloader.request();
  REQUIRE(eventually([&] { return reloads.begun == 1; }));
  constexpr int kAskers = 5;
  std::atomic<int> asking{0};
  std::atomic<int> told{0};
  std::atomic<int> of_the_second{0};
  for (int i = 0; i < kAskers; ++i)
    REQUIRE(rt->spawn("asker", [&] {
      ++asking;
      if (reloader.request_and_wait(context::background())->text == "2") ++of_the_second;
      ++told;
    }));
  for (int i = 0; i < 100; ++i) reloader.request();
  REQUIRE(eventually([&] { return asking == kAskers; }));
  reloads.let_go = 1;
  REQUIRE(eventually([&] { return reloads.begun == 2; }));
  CHECK(told == 0);
  reloads.let_go = 100;
  REQUIRE(eventually([&] { return told == kAskers; }));
  rt->run([&] { reloader.close(); });
  // An asker who had not got as far as to ask when the second began is told of a third.
  CHECK(of_the_second >= 1);
  CHECK(reloads.begun <= 3);
  CHECK(reloads.most == 1);
}

TEST_CASE("what is asked for before the daemon has started waits for that", "[daemon][reloader]") {
  auto rt = start();
  Reloads reloads;
  reloads.let_go = 100;
  Reloader reloader(*rt, [&] { return reloads(); });
  const Ended ended(*rt);
  reloader.request();
  reloader.request();
  CHECK(reloads.begun == 0);
  reloader.open();
  CHECK(eventually([&] { return reloads.begun == 1; }));
  rt->run([&] { reloader.close(); });
  CHECK(reloads.begun == 1);
}

TEST_CASE("a stop refuses all reloads but the one under way, and does not wait for it", "[daemon][reloader]") {
  auto rt = start();
  Reloads reloads;
  Reloader reloader(*rt, [&] { return reloads(); });
  const Ended ended(*rt);
  reloader.open();
  reloader.request();
  REQUIRE(eventually([&] { return reloads.begun == 1; }));
  std::atomic<bool> asking{false};
  std::atomic<int> refused{0};
  REQUIRE(rt->spawn("asker", [&] {
    asking = true;
    if (reloader.request_and_wait(context::background())->verdict == Verdict::stopping) ++refused;
  }));
  REQUIRE(eventually([&] { return asking.load(); }));
  rt->run([&] {
    reloader.close();
    const auto late = reloader.request_and_wait(context::background());
    if (late && late->text == "reload refused: the daemon is stopping\n") ++refused;
  });
  CHECK(eventually([&] { return refused == 2; }));
  CHECK(reloads.begun == 1);
  reloads.let_go = 100;
}

TEST_CASE("who asks for a reload and leaves does not wait for it", "[daemon][reloader]") {
  auto rt = start();
  Reloads reloads;
  Reloader reloader(*rt, [&] { return reloads(); });
  const Ended ended(*rt);
  reloader.open();
  std::error_code left;
  rt->run([&] {
    const auto soon = context::with_timeout(context::background(), std::chrono::milliseconds(20));
    left = error_of(reloader.request_and_wait(soon.context));
  });
  CHECK(left == context::errc::deadline_exceeded);
  REQUIRE(eventually([&] { return reloads.begun == 1; }));
  reloads.let_go = 100;
  CHECK(eventually([&] { return reloads.at_once == 0; }));
}

TEST_CASE("who waits for a start that never comes is told so", "[daemon][reloader]") {
  auto rt = start();
  Reloads reloads;
  Reloader reloader(*rt, [&] { return reloads(); });
  const Ended ended(*rt);
  std::atomic<bool> asked{false};
  std::atomic<bool> refused{false};
  REQUIRE(rt->spawn("asker", [&] {
    asked = true;
    refused = reloader.request_and_wait(context::background())->verdict == Verdict::stopping;
  }));
  REQUIRE(eventually([&] { return asked.load(); }));
  rt->run([&] { reloader.close(); });
  CHECK(eventually([&] { return refused.load(); }));
  CHECK(reloads.begun == 0);
}

TEST_CASE("a reload that throws is refused, and the next one is done", "[daemon][reloader]") {
  auto rt = start();
  int runs = 0;
  int failed = 0;
  Reloader reloader(
      *rt,
      [&]() -> ReloadAnswer {
        if (++runs == 1) throw std::bad_alloc();
        return {Verdict::done, "fine"};
      },
      [&] { ++failed; });
  const Ended ended(*rt);
  reloader.open();
  ReloadAnswer first;
  ReloadAnswer second;
  rt->run([&] {
    first = *reloader.request_and_wait(context::background());
    second = *reloader.request_and_wait(context::background());
    reloader.close();
  });
  CHECK(first.verdict == Verdict::refused);
  CHECK(failed == 1);
  CHECK(second.text == "fine");
}
