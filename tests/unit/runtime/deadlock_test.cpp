#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "core/base/log.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

/// Until all fibers wait and all Processors sleep, or too long has been waited.
bool comes_to_rest(Runtime& rt, std::uint64_t fibers) {
  for (int i = 0; i < 2'000'000; ++i) {
    const MemStats s = rt.read_mem_stats();
    if (s.fibers_waiting == fibers && s.processors_idle == s.gomaxprocs) return true;
    std::this_thread::yield();
  }
  return false;
}

/// A fiber that parks for `reason` until the test lets it go.
struct Stuck {
  std::atomic<std::uint64_t> ticket{0};
  void park(WaitReason reason, Deadline deadline = Deadline::never(), Cancellation* cancellation = nullptr) {
    const Ticket t = prepare_park(reason);
    ticket = t.value;
    (void)park_until(t, deadline, cancellation);
  }
  [[nodiscard]] bool let_go() {
    while (ticket == 0) std::this_thread::yield();
    return wake(Ticket{ticket});
  }
};

std::mutex reports_mutex;
std::string reports;
std::counting_semaphore<> reported{0};
void keep_report(LogLevel level, std::string_view line) noexcept {
  if (level != LogLevel::error) return;
  {
    const std::lock_guard guard(reports_mutex);
    reports += std::string(line) + "\n";
  }
  reported.release();
}

}  // namespace

TEST_CASE("deadlock: fibers that wait for one another are reported with name, reason, site and stack", "[deadlock]") {
  reports.clear();
  set_log_sink(&keep_report);
  auto rt = test::start_runtime(2);
  Stuck one;
  Stuck other;
  bool good = rt->spawn("philosopher", [&] {
                  one.park(WaitReason::channel_receive);
                  one.park(WaitReason::mutex);
                }).has_value();
  good = good && rt->spawn("sto\"ic\n", [&] { other.park(WaitReason::wait_group); }).has_value();
  const bool told = reported.try_acquire_for(30s);
  const std::uint64_t first = rt->read_mem_stats().deadlocks;
  std::string text;
  {
    const std::lock_guard guard(reports_mutex);
    text = reports;
  }
  // Something happened, and it is as bad as before: counted again, but not yet logged again.
  good = good && one.let_go();
  std::uint64_t second = first;
  const std::int64_t limit = monotonic_now() + 30'000'000'000;
  while ((second = rt->read_mem_stats().deadlocks) == first && monotonic_now() < limit) std::this_thread::yield();
  while (!one.let_go()) std::this_thread::yield();
  good = good && other.let_go();
  rt.reset();
  set_log_sink(nullptr);

  CHECK(good);
  REQUIRE(told);
  CHECK(first == 1);
  CHECK(second == 2);
  CHECK_FALSE(reported.try_acquire());
  INFO(text);
  CHECK(text.find("maybe a deadlock: 2 fibers") == 0);
  CHECK(text.find("\"philosopher\" waits for channel_receive, spawned at") != std::string::npos);
  CHECK(text.find("\"sto\\\"ic\\x0a\" waits for wait_group, spawned at") != std::string::npos);
  CHECK(text.find("deadlock_test.cpp:") != std::string::npos);
  CHECK(text.find("\n    ") != std::string::npos);
}

TEST_CASE("deadlock: what something else can end is none", "[deadlock]") {
  struct Case {
    const char* what;
    bool deadlock;
    std::function<void(Stuck&)> second;  // what a second fiber does beside one that waits for a channel
  };
  static CancelSource never;
  const std::vector<Case> cases = {
      {"a mutex", true, [](Stuck& s) { s.park(WaitReason::mutex); }},
      {"a select", true, [](Stuck& s) { s.park(WaitReason::select); }},
      {"a channel, cancellable", true,
       [](Stuck& s) { s.park(WaitReason::channel_receive, Deadline::never(), &never); }},
      {"a channel with a deadline", false, [](Stuck& s) { s.park(WaitReason::channel_receive, Deadline::in(1h)); }},
      {"sleep", false, [](Stuck& s) { s.park(WaitReason::sleep, Deadline::in(1h)); }},
      {"reading", false, [](Stuck& s) { s.park(WaitReason::io_read); }},
      {"the service thread", false, [](Stuck& s) { s.park(WaitReason::service); }},
      {"a deadline that was taken back", true,
       [](Stuck& s) {
         const Ticket t = prepare_park(WaitReason::test);
         (void)spawn("waker", [t] { (void)wake(t); });
         (void)park_until(t, Deadline::in(1h));
         s.park(WaitReason::mutex);
       }},
  };
  for (const Case& c : cases) {
    auto rt = test::start_runtime(2);
    Stuck first;
    Stuck second;
    const bool spawned = rt->spawn("first", [&] { first.park(WaitReason::channel_receive); }).has_value() &&
                         rt->spawn("second", [&] { c.second(second); }).has_value();
    const bool rests = comes_to_rest(*rt, 2);
    // A Processor may be up for a moment (it looks at the others' Pollers before it sleeps): the answer may come late.
    bool found = rt->scheduler().maybe_deadlocked();
    for (int i = 0; i < 200'000 && found != c.deadlock; ++i) found = rt->scheduler().maybe_deadlocked();
    const bool released = first.let_go() && second.let_go();
    rt.reset();
    INFO(c.what);
    CHECK(spawned);
    CHECK(rests);
    CHECK(released);
    CHECK(found == c.deadlock);
  }
}

TEST_CASE("deadlock: no fibers, and a job of the blocking pool, are none", "[deadlock]") {
  auto rt = test::start_runtime(2);
  const bool rests = comes_to_rest(*rt, 0);
  const bool empty = rt->scheduler().maybe_deadlocked();
  Stuck first;
  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
  const bool spawned =
      rt->spawn("first", [&] { first.park(WaitReason::channel_receive); }).has_value() && rt->spawn("second", [&] {
                                                                                              blocking([&] {
                                                                                                begun.release();
                                                                                                go_on.acquire();
                                                                                              });
                                                                                            }).has_value();
  begun.acquire();
  const bool rests_again = comes_to_rest(*rt, 2);
  const bool blocking_found = rt->scheduler().maybe_deadlocked();
  go_on.release();
  const bool released = first.let_go();
  rt.reset();
  CHECK(rests);
  CHECK_FALSE(empty);
  CHECK(spawned);
  CHECK(rests_again);
  CHECK_FALSE(blocking_found);
  CHECK(released);
}
