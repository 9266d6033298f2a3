// What a deadline costs that does not fire: no place in a timer heap, no system call; and that it fires all the same
// for whoever depends on being told.
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/mem_stats.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::errc;

TEST_CASE("a thousand deadlines that do not fire take no place in a timer heap, and their waits one", "[context]") {
  std::uint64_t before = 0;
  std::uint64_t made = 0;
  std::uint64_t waited = 0;
  std::uint64_t fired = 0;
  int wrong = 0;
  test::start_runtime(1)->run([&] {
    before = runtime::read_mem_stats().timers_armed;
    const std::uint64_t fired_before = runtime::read_mem_stats().timers_fired;
    std::vector<context::Cancelable> all;
    for (int i = 0; i < 1'000; ++i) all.push_back(context::with_timeout(context::background(), 1h + i * 1s));
    made = runtime::read_mem_stats().timers_armed;
    for (auto& c : all) {
      const runtime::Ticket t = runtime::prepare_park(runtime::WaitReason::test);
      (void)runtime::spawn("waker", [t] { runtime::wake(t); });
      if (!context::park_until(c.context, t) || c.context.done()) ++wrong;
    }
    waited = runtime::read_mem_stats().timers_armed;
    for (auto& c : all) c.cancel();
    fired = runtime::read_mem_stats().timers_fired - fired_before;
  });
  CHECK(wrong == 0);
  CHECK(made == before);
  // The waiting fiber's own node stays in its heap where it was put first; all later deadlines were stores.
  CHECK(waited <= before + 1);
  CHECK(fired == 0);
}

TEST_CASE("whoever waits on cancellation() alone is woken at the deadline, of an ancestor too", "[context]") {
  runtime::Wake own = runtime::Wake::none;
  runtime::Wake inherited = runtime::Wake::none;
  std::int64_t took = 0;
  std::error_code error;
  (void)runtime::Simulation(9).run([&] {
    const std::int64_t begin = monotonic_now();
    const auto parent = context::with_timeout(context::background(), 20ms);
    const auto child = context::with_timeout(parent.context, 1h);
    const auto other = context::with_timeout(context::background(), 5ms);
    own = runtime::park_until(runtime::prepare_park(runtime::WaitReason::test), Deadline::never(),
                              other.context.cancellation());
    inherited = runtime::park_until(runtime::prepare_park(runtime::WaitReason::test), Deadline::never(),
                                    child.context.cancellation());
    took = monotonic_now() - begin;
    error = child.context.err();
  });
  CHECK(own == runtime::Wake::canceled);
  CHECK(inherited == runtime::Wake::canceled);
  CHECK(took >= 20'000'000);
  CHECK(took < 30'000'000);
  CHECK(error == errc::deadline_exceeded);
}

TEST_CASE("a deadline that passes while nobody waits is seen by whoever asks, and its children are done", "[context]") {
  std::error_code before;
  std::error_code child_error;
  std::error_code parent_error;
  std::error_code checked;
  (void)runtime::Simulation(4).run([&] {
    const auto parent = context::with_timeout(context::background(), 10ms);
    const auto child = context::with_cancel(parent.context);
    before = child.context.err();
    (void)runtime::sleep_for(20ms);
    child_error = child.context.err();
    parent_error = parent.context.err();
    parent.cancel();
    checked = error_of(context::check(context::with_timeout(context::background(), -1s).context));
  });
  CHECK_FALSE(before);
  CHECK(child_error == errc::deadline_exceeded);
  CHECK(parent_error == errc::deadline_exceeded);
  CHECK(checked == errc::deadline_exceeded);
}

TEST_CASE("a fiber that never waits sees its deadline pass", "[context]") {
  std::error_code error;
  test::start_runtime(1)->run([&] {
    const auto c = context::with_timeout(context::background(), 2ms);
    const std::int64_t give_up = monotonic_now() + 10'000'000'000;
    while (!c.context.done() && monotonic_now() < give_up) {
    }
    error = c.context.err();
  });
  CHECK(error == errc::deadline_exceeded);
}

TEST_CASE("a cancel that comes after the deadline does not change what ended the context", "[context]") {
  const auto cause = std::make_error_code(std::errc::host_unreachable);
  const auto parent = context::with_cancel(context::background());
  const auto child = context::with_deadline(parent.context, Deadline::at(1), cause);
  const auto sibling = context::with_timeout(parent.context, 1h);
  parent.cancel(std::make_error_code(std::errc::io_error));
  CHECK(parent.context.err() == errc::canceled);
  CHECK(sibling.context.cause() == std::errc::io_error);
  CHECK(child.context.err() == errc::deadline_exceeded);
  CHECK(child.context.cause() == cause);
}
