// Stacks of three sizes: a fiber gets what it asked for, one after the other, and what cannot be had is refused by
// name.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/errc.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/simulation.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/debug_setting.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kSmall = 64 * 1024;
constexpr std::size_t kNormal = 256 * 1024;
constexpr std::size_t kLarge = 8 * 1024 * 1024;

/// Touches so many bytes of the stack, from the top downwards.
[[gnu::noinline]] void use_stack(std::size_t bytes) {
  static constexpr std::size_t kPiece = 2048;
  volatile char piece[kPiece];
  for (std::size_t i = 0; i < kPiece; i += 512) piece[i] = static_cast<char>(bytes);
  if (bytes > kPiece) use_stack(bytes - kPiece);
  piece[0] = piece[512];
}

const StackClassStats& of(const MemStats& stats, StackClass c) {
  return stats.stack_classes[static_cast<std::size_t>(c)];
}

}  // namespace

TEST_CASE("a fiber has as much stack as its class has", "[runtime][stacks]") {
  auto rt = test::start_runtime(1);
  MemStats stats;
  rt->run([&] {
    static CancelSource go;
    sync::WaitGroup group;
    sync::WaitGroup used;
    used.add(3);
    const auto wait = [&group, &used](std::size_t bytes) {
      return [&group, &used, bytes] {
        use_stack(bytes);
        used.done();
        (void)sleep_for(10h, &go);
        group.done();
      };
    };
    group.add(3);
    if (!spawn({.name = "small", .stack = StackClass::small}, wait(kSmall / 2))) std::abort();
    if (!spawn({.name = "normal"}, wait(kNormal / 2))) std::abort();
    if (!spawn({.name = "large", .stack = StackClass::large}, wait(kLarge / 2))) std::abort();
    used.wait();
    stats = read_mem_stats(true);
    (void)go.cancel();
    group.wait();
  });
  CHECK(of(stats, StackClass::small).size == kSmall);
  CHECK(of(stats, StackClass::normal).size == kNormal);
  CHECK(of(stats, StackClass::large).size == kLarge);
  for (const StackClass c : {StackClass::small, StackClass::normal, StackClass::large}) {
    INFO(fiber::to_string(c));
    CHECK(of(stats, c).in_use >= 1);
    CHECK(of(stats, c).bytes_reserved >= of(stats, c).size);
    // The frames of a sanitizer are larger.
    CHECK(of(stats, c).high_water >= of(stats, c).size / 2);
    CHECK(of(stats, c).high_water < of(stats, c).size);
    CHECK(of(stats, c).bytes_resident >= of(stats, c).high_water);
  }
  CHECK(stats.stack_high_water == of(stats, StackClass::large).high_water);
  CHECK(stats.stacks_in_use == of(stats, StackClass::small).in_use + of(stats, StackClass::normal).in_use +
                                   of(stats, StackClass::large).in_use);
  rt.reset();
}

TEST_CASE("who asks for no other class has no pool of it", "[runtime][stacks]") {
  auto rt = test::start_runtime(1);
  rt->run([] {});
  const MemStats stats = rt->read_mem_stats();
  CHECK(of(stats, StackClass::small).size == kSmall);
  CHECK(of(stats, StackClass::small).bytes_reserved == 0);
  CHECK(of(stats, StackClass::large).bytes_reserved == 0);
}

TEST_CASE("a fiber that ends leaves its stack to the next one of its own class only", "[runtime][stacks]") {
  auto rt = test::start_runtime(2);
  const int rounds = test::kSanitized ? 50 : 1'000;
  std::atomic<int> ran{0};
  rt->run([&] {
    sync::WaitGroup group;
    for (int i = 0; i < rounds; ++i) {
      for (const StackClass c : {StackClass::large, StackClass::small, StackClass::normal, StackClass::large}) {
        group.add();
        const std::size_t half = (c == StackClass::small    ? kSmall
                                  : c == StackClass::normal ? kNormal
                                                            : 1024 * 1024) /
                                 2;
        // None runs before the last is there: each finds the next one, of another class, in its queue.
        if (!spawn({.name = "one after the other", .stack = c}, [&group, &ran, half] {
              use_stack(half);
              ++ran;
              group.done();
            }))
          group.done();
      }
      group.wait();
    }
  });
  CHECK(ran == 4 * rounds);
  // The last ones have said that they are done, and may still be ending.
  MemStats stats = rt->read_mem_stats();
  const std::int64_t most = monotonic_now() + 10'000'000'000;
  while (of(stats, StackClass::small).in_use + of(stats, StackClass::large).in_use != 0 && monotonic_now() < most)
    stats = rt->read_mem_stats();
  CHECK(of(stats, StackClass::small).in_use == 0);
  CHECK(of(stats, StackClass::large).in_use == 0);
  // A few are reused, not one for each fiber.
  CHECK(of(stats, StackClass::large).cached <= 64);
}

TEST_CASE("small and large stacks in a simulation", "[runtime][stacks]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    int ran = 0;
    const auto outcome = Simulation(seed).run([&] {
      sync::WaitGroup group;
      for (int i = 0; i < 30; ++i) {
        group.add();
        const auto c = static_cast<StackClass>(i % 3);
        if (!spawn({.name = "mixed", .stack = c}, [&group, &ran] {
              yield();
              ++ran;
              group.done();
            }))
          group.done();
      }
      group.wait();
    });
    CHECK(ran == 30);
    CHECK_FALSE(outcome.deadlock);
  }
}

TEST_CASE("the classes share the maps that mprotect may take, and a refusal names its class", "[runtime][stacks]") {
  const test::DebugSetting debug("guard=mprotect,max_map_count=1000");
  auto rt = test::start_runtime(1, {.reserve = 0});
  const std::uint64_t most = rt->read_mem_stats().stacks_most;
  CHECK(most == 437);
  static CancelSource go;
  std::uint64_t large = 0;
  std::uint64_t normal = 0;
  std::error_code no_large;
  std::error_code no_small;
  std::error_code no_normal;
  rt->run([&] {
    const auto park = [] { (void)sleep_for(10h, &go); };
    while (large < 300 && !no_large) {
      if (auto r = spawn({.name = "large", .stack = StackClass::large}, park))
        ++large;
      else
        no_large = r.error();
    }
    while (normal < 1000 && !no_normal) {
      if (auto r = spawn("normal", park))
        ++normal;
      else
        no_normal = r.error();
    }
    if (auto r = spawn({.name = "small", .stack = StackClass::small}, park); !r) no_small = r.error();
    for (int i = 0; i < 20 && !no_large; ++i)
      if (auto r = spawn({.name = "large", .stack = StackClass::large}, park)) {
        ++large;
      } else {
        no_large = r.error();
      }
  });
  const MemStats stats = rt->read_mem_stats();
  (void)go.cancel();
  CHECK(large >= 300);
  CHECK(large + normal <= most);
  CHECK(no_normal == errc::out_of_stacks);
  CHECK(no_small == errc::out_of_small_stacks);
  CHECK(no_large == errc::out_of_large_stacks);
  for (const std::error_code error : {no_normal, no_small, no_large}) CHECK(error == std::errc::not_enough_memory);
  CHECK(no_large.message() == "out of large stacks");
  std::vector<std::string> reasons;
  for (const SpawnRefusal& r : stats.spawn_refusals)
    if (r.count != 0) reasons.push_back(r.reason.message());
  CHECK(reasons == std::vector<std::string>{"out of stacks", "out of small stacks", "out of large stacks"});
  // What was limited for one class is so for all.
  CHECK(of(stats, StackClass::large).most + of(stats, StackClass::normal).most <= most + 437);
  rt.reset();
}

TEST_CASE("a size that cannot be is refused by name", "[runtime][stacks]") {
  const test::KeptLog log;
  const auto refused = [](const Options& options) {
    const auto rt = Runtime::start(options);
    return rt ? std::error_code() : rt.error();
  };
  CHECK(refused({.gomaxprocs = 1, .small_stack_size = 8 * 1024}) == std::errc::invalid_argument);
  CHECK(refused({.gomaxprocs = 1, .large_stack_size = 128 * 1024 * 1024}) == std::errc::invalid_argument);
  CHECK(refused({.gomaxprocs = 1, .large_stack_size = 1'000'000}) == std::errc::invalid_argument);
  INFO(log.text());
  CHECK(log.holds("Options::small_stack_size 8192 is out of range"));
  CHECK(log.holds("Options::large_stack_size 134217728 is out of range"));
  CHECK(log.holds("Options::large_stack_size 1000000 is out of range"));
}

/// In a process of its own: a test framework's handlers are others.
TEST_CASE("overflow of a large stack", "[.][child]") {
  for (const int s : {SIGSEGV, SIGBUS, SIGABRT}) (void)std::signal(s, SIG_DFL);
  auto rt = test::start_runtime(1, {.large_stack_size = 1024 * 1024});
  rt->run([] {
    if (!spawn({.name = "deep", .stack = StackClass::large}, [] { use_stack(2 * 1024 * 1024); })) _exit(2);
    (void)sleep_for(10s);
  });
}

TEST_CASE("an overflow of a large stack is reported with its class", "[runtime][stacks]") {
  if (test::kSanitized) return;  // the sanitizer reports it
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    execl("/proc/self/exe", "test_runtime", "overflow of a large stack", nullptr);
    _exit(3);
  }
  close(ends[1]);
  std::string report;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    report.append(buffer.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  INFO(report);
  CHECK(WIFSIGNALED(status));
  CHECK(report.find("\"deep\" spawned at ") != std::string::npos);
  CHECK(report.find(", large stack 1044480 bytes") != std::string::npos);
}
