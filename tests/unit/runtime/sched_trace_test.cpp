// SchedTrace: Go's line, once and again and again.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/lock_thread.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/sched_trace.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/debug_setting.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {
const std::regex kLine(
    "SCHED [0-9]+ms: gomaxprocs=2 idleprocs=[0-2] threads=[0-9]+ spinningthreads=[01] idlethreads=[0-9]+ "
    "runqueue=[0-9]+ \\[[0-9]+ [0-9]+\\] switches=[0-9]+ steals=[0-9]+ handoffs=[0-9]+ fibers=[0-9]+ stacks=[0-9]+ "
    "longestpause=[0-9]+us");
}  // namespace

TEST_CASE("the scheduler in a line, as Go tells it, and in detail", "[sched_trace]") {
  CHECK(describe_scheduler(0, true).empty());
  const auto rt = test::start_runtime(2);
  const std::string line = describe_scheduler(monotonic_now() - 5'000'000, false);
  INFO(line);
  CHECK(std::regex_match(line, kLine));
  CHECK(line.starts_with("SCHED 5ms: "));
  rt->run([] {
    const Pin pin;  // a look waits now and then, and must not go on elsewhere
    const std::string detail = describe_scheduler(0, true);
    INFO(detail);
    CHECK(detail.find("\n  P0: status=") != std::string::npos);
    CHECK(detail.find("\n  P1: status=") != std::string::npos);
    CHECK(detail.find(" runqsize=") != std::string::npos);
    CHECK(std::regex_search(detail, std::regex("\n  G[0-9]+: status=running name=run pinned=true")));
    // This fiber's thread has a Processor and says whom it runs.
    CHECK(std::regex_search(detail, std::regex("\n  M[0-9]+: thread=" + std::to_string(gettid()) + " p=[01] curg=" +
                                               std::to_string(current_origin().id) + " idle=false lockedg=nil")));
  });
  rt->run([] {
    const LockThread lock;
    const std::string detail = describe_scheduler(0, true);
    INFO(detail);
    CHECK(detail.find(" lockedg=" + std::to_string(current_origin().id)) != std::string::npos);
  });
}

TEST_CASE("FIBERDEBUG=schedtrace writes the line each period, and it may be changed and ended", "[sched_trace]") {
  const test::DebugSetting setting("guard=auto,schedtrace=10,scheddetail=1");
  const test::KeptLog kept;
  const auto rt = test::start_runtime(2);
  const auto lines = [&kept] {
    std::size_t n = 0;
    const std::string all = kept.text();
    for (std::size_t at = 0; (at = all.find("SCHED ", at)) != std::string::npos; ++at) ++n;
    return n;
  };
  const auto reaches = [&](std::size_t n, int tries = 10'000) {
    for (int i = 0; i < tries && lines() < n; ++i) std::this_thread::sleep_for(1ms);
    return lines() >= n;
  };
  CHECK(reaches(3));
  CHECK(kept.text().find("P0: status=") != std::string::npos);
  CHECK(rt->set_sched_trace(0ms));
  // One may be on its way.
  const std::size_t before = lines();
  CHECK_FALSE(reaches(before + 2, 60));
  CHECK(rt->set_sched_trace(20ms));
  CHECK(reaches(before + 3));
  CHECK(rt->set_sched_trace(1ms).error() == std::errc::invalid_argument);
  CHECK(rt->set_sched_trace(2h).error() == std::errc::invalid_argument);
}

TEST_CASE("what FIBERDEBUG asks for", "[sched_trace]") {
  const auto wish = [](const char* text) {
    const test::DebugSetting setting(text);
    return wished_sched_trace();
  };
  CHECK(wish("schedtrace=1000").period == 1000ms);
  CHECK_FALSE(wish("schedtrace=1000").detail);
  CHECK(wish("schedtrace=1000,scheddetail=1").detail);
  CHECK_FALSE(wish("schedtrace=1000,scheddetail=0").detail);
  CHECK(wish("schedtrace=1").period == 10ms);
  CHECK(wish("schedtrace=-5").period == 0ms);
  CHECK(wish("schedtrace").period == 0ms);
  CHECK(wish("schedtraces=5").period == 0ms);
  CHECK(wish("").period == 0ms);
}
