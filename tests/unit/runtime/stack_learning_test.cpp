// Stacks as large as fibers of a place have needed so far: learnt, outgrown for once, and given back while parked.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <string>

#include "core/base/source_location.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/spawn_sites.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/debug_setting.hpp"
#include "tests/unit/runtime/within_a_minute.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

/// Touches so many bytes of the stack, from the top downwards, a little at a time.
[[gnu::noinline]] int go_deep(std::size_t bytes) {
  volatile char piece[512];
  piece[0] = static_cast<char>(bytes);
  piece[511] = piece[0];
  return (bytes > sizeof piece ? go_deep(bytes - sizeof piece) : 0) + piece[511];
}

/// The same, and waits there for longer than anybody looks.
std::atomic<bool> waits_there{false};
std::atomic<std::size_t> frames_there{0};
[[gnu::noinline]] std::size_t count_frames() {
  std::array<std::uintptr_t, 64> frames{};
  return fiber::capture_backtrace(frames);
}
[[gnu::noinline]] int wait_deep(std::size_t bytes) {
  volatile char piece[512];
  piece[0] = static_cast<char>(bytes);
  piece[511] = piece[0];
  if (bytes > sizeof piece) return wait_deep(bytes - sizeof piece) + piece[511];
  frames_there = count_frames();
  waits_there = true;
  (void)sleep_for(10h);
  return piece[511];
}

const SpawnSiteStats* find_named(const std::vector<SpawnSiteStats>& all, std::string_view name) {
  for (const SpawnSiteStats& s : all)
    if (s.name == name) return &s;
  return nullptr;
}
SpawnSiteStats learnt_site(std::string_view name) {
  const auto all = read_spawn_sites();
  const SpawnSiteStats* const s = find_named(all, name);
  return s != nullptr ? *s : SpawnSiteStats{};
}

/// So many fibers, one after the other; their place in the source is the caller's line.
void spawn_and_wait(const SpawnOptions& options, std::size_t bytes, int count,
                    SourceLocation where = SourceLocation::current()) {
  sync::WaitGroup group;
  for (int i = 0; i < count; ++i) {
    group.add();
    if (!spawn(
            options,
            [&group, bytes] {
              (void)go_deep(bytes);
              group.done();
            },
            where))
      std::abort();
  }
  group.wait();
}

/// On a fiber: whether its class is known within a minute.
bool is_learnt(std::string_view name) {
  for (int i = 0; i < 60'000; ++i) {
    if (learnt_site(name).learnt) return true;
    (void)sleep_for(1ms);
  }
  return false;
}

constexpr int kEnough = 200;  // more than the 64 that are measured each

}  // namespace

TEST_CASE("a place learns the stack that its fibers need", "[runtime][stacks][sites]") {
  auto rt = test::start_runtime(2, {.stack_learning = true});
  static CancelSource go;
  std::vector<FiberView> views;
  MemStats during;
  rt->run([&] {
    sync::WaitGroup group;
    const auto of_one_place = [&](bool waits, std::optional<StackClass> wanted, FiberName name) {
      group.add();
      if (!spawn({.name = name, .stack = wanted}, [&group, waits] {
            group.done();
            if (waits) (void)sleep_for(10h, &go);
          }))
        std::abort();
    };
    for (int i = 0; i < kEnough; ++i) of_one_place(false, {}, "shallow");
    group.wait();
    (void)is_learnt("shallow");
    of_one_place(true, {}, "learnt");
    of_one_place(true, StackClass::normal, "wants a normal one");
    of_one_place(true, StackClass::small, "wants a small one");
    group.wait();
    during = read_mem_stats();
    (void)for_each_fiber([&](const FiberView& f) {
      views.push_back(f);
      return true;
    });
  });
  const SpawnSiteStats site = learnt_site("shallow");
  CHECK(site.learnt);
  CHECK(site.stacks_measured >= 64);
  CHECK(site.stack_high_water >= 4096);
  const auto class_of = [&](std::string_view name) {
    for (const FiberView& f : views)
      if (f.origin.name == name) return f.stack_class;
    return StackClass::large;
  };
  // Who asks is given what it asks for.
  CHECK(class_of("wants a normal one") == StackClass::normal);
  CHECK(class_of("wants a small one") == StackClass::small);
  if (!test::kSanitized) {  // whose frames are larger
    CHECK(site.stack_class == StackClass::learnt_16);
    CHECK(class_of("learnt") == StackClass::learnt_16);
    const StackClassStats& c = during.stack_classes[static_cast<std::size_t>(StackClass::learnt_16)];
    CHECK(c.size == 24 * 1024);
    CHECK(c.in_use >= 1);
  }
  (void)go.cancel();
}

TEST_CASE("the class is twice what the deepest used", "[runtime][stacks][sites]") {
  if (test::kSanitized) return;  // whose frames are larger
  auto rt = test::start_runtime(1, {.stack_learning = true});
  bool known = false;
  rt->run([&known] {
    spawn_and_wait({.name = "7 KiB"}, 5 * 1024, kEnough);
    spawn_and_wait({.name = "12 KiB"}, 10 * 1024, kEnough);
    spawn_and_wait({.name = "24 KiB"}, 22 * 1024, kEnough);
    spawn_and_wait({.name = "100 KiB"}, 100 * 1024, kEnough);
    known = is_learnt("7 KiB") && is_learnt("12 KiB") && is_learnt("24 KiB") && is_learnt("100 KiB");
  });
  CHECK(known);
  CHECK(learnt_site("7 KiB").stack_class == StackClass::learnt_16);
  CHECK(learnt_site("12 KiB").stack_class == StackClass::learnt_32);
  CHECK(learnt_site("24 KiB").stack_class == StackClass::learnt_64);
  CHECK(learnt_site("100 KiB").stack_class == StackClass::normal);
  CHECK(learnt_site("100 KiB").stack_high_water >= 100 * 1024);
  CHECK(learnt_site("100 KiB").stack_high_water <= 112 * 1024);
  // Each has its own, although they had the same stacks one after the other.
  CHECK(learnt_site("7 KiB").stack_high_water <= 8 * 1024);
  CHECK(learnt_site("24 KiB").stack_high_water <= 32 * 1024);
}

TEST_CASE("what is learnt is not given out unless it was asked for", "[runtime][stacks][sites]") {
  auto rt = test::start_runtime(1);
  bool known = false;
  rt->run([&known] {
    spawn_and_wait({.name = "shallow"}, 0, kEnough);
    known = is_learnt("shallow");
  });
  CHECK(known);
  CHECK(learnt_site("shallow").stack_class == StackClass::normal);
  if (!test::kSanitized) CHECK(learnt_site("shallow").fitting == StackClass::learnt_16);
}

// In processes of their own: a test framework's handlers are others.

TEST_CASE("a learnt stack that is outgrown", "[.][child]") {
  for (const int s : {SIGSEGV, SIGBUS, SIGABRT}) (void)std::signal(s, SIG_DFL);
  const test::KeptLog log;
  auto rt = test::start_runtime(1, {.stack_learning = true});
  const auto of_one_place = [](std::size_t bytes, int count) {
    spawn_and_wait({.name = "mostly shallow"}, bytes, count);
  };
  rt->run([&] {
    of_one_place(0, kEnough);
    if (!is_learnt("mostly shallow")) _exit(2);
    of_one_place(16 * 1024, 1);
  });
  if (rt->read_mem_stats().stacks_outgrown != 1 || learnt_site("mostly shallow").outgrown != 1) _exit(4);
  if (learnt_site("mostly shallow").stack_class != StackClass::learnt_32) _exit(5);
  if (!test::within_a_minute([] { return test::KeptLog::holds(" outgrew its learnt 16 KiB stack"); })) _exit(6);
  // The page is closed again for the next one.
  rt->run([] {
    spawn_and_wait({.name = "asks", .stack = StackClass::learnt_16}, 16 * 1024, 1);
    spawn_and_wait({.name = "asks", .stack = StackClass::learnt_16}, 16 * 1024, 1);
  });
  if (rt->read_mem_stats().stacks_outgrown != 3) _exit(7);
  const std::string text = test::KeptLog::text();
  if (write(STDERR_FILENO, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(8);
  _exit(0);
}

TEST_CASE("who waits in the emergency page", "[.][child]") {
  for (const int s : {SIGSEGV, SIGBUS, SIGABRT}) (void)std::signal(s, SIG_DFL);
  auto rt = test::start_runtime(1, {.stack_learning = true});
  static std::size_t frames = 0;
  static std::size_t own = 0;
  rt->run([] {
    if (!spawn({.name = "deep", .stack = StackClass::learnt_16}, [] { wait_deep(15 * 1024); })) _exit(2);
    while (!waits_there) yield();
    for (bool parked = false; !parked; yield())
      (void)for_each_fiber([&parked](const FiberView& f) {
        if (f.origin.name != "deep" || f.state != FiberView::State::waiting) return true;
        parked = true;
        frames = f.depth;
        return true;
      });
  });
  own = frames_there;
  if (rt->read_mem_stats().stacks_outgrown != 1) _exit(4);
  if (frames < 20) _exit(5);
  if (own < 20) _exit(6);
  _exit(0);
}

TEST_CASE("beyond the emergency page of a learnt stack", "[.][child]") {
  for (const int s : {SIGSEGV, SIGBUS, SIGABRT}) (void)std::signal(s, SIG_DFL);
  auto rt = test::start_runtime(1, {.stack_learning = true});
  rt->run([] {
    if (!spawn({.name = "deep", .stack = StackClass::learnt_16}, [] { (void)go_deep(1024 * 1024); })) _exit(2);
    (void)sleep_for(10s);
  });
}

namespace {

struct Ended {
  int status = 0;
  std::string report;
};

/// Runs a test case in a process and takes down what it writes to stderr.
Ended run_child(const char* test_case) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    execl("/proc/self/exe", "test_runtime", test_case, nullptr);
    _exit(3);
  }
  close(ends[1]);
  Ended ended;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    ended.report.append(buffer.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  REQUIRE(waitpid(pid, &ended.status, 0) == pid);
  return ended;
}

}  // namespace

TEST_CASE("a learnt stack that is too small for once has a page more, and it is told", "[runtime][stacks][sites]") {
  if (test::kSanitized) return;  // their handlers of faults are others
  const char* const setting = GENERATE("", "guard=mprotect");
  const test::DebugSetting debug(setting);
  const Ended ended = run_child("a learnt stack that is outgrown");
  INFO(ended.report);
  CHECK(WIFEXITED(ended.status));
  CHECK(WEXITSTATUS(ended.status) == 0);
  CHECK(ended.report.find("\"mostly shallow\" spawned at ") != std::string::npos);
  CHECK(ended.report.find("\n    ") != std::string::npos);  // its stack
}

TEST_CASE("who waits in the emergency page is seen with its frames", "[runtime][stacks][sites]") {
  if (test::kSanitized) return;  // their handlers of faults are others
  const Ended ended = run_child("who waits in the emergency page");
  INFO(ended.report);
  CHECK(WIFEXITED(ended.status));
  CHECK(WEXITSTATUS(ended.status) == 0);
}

TEST_CASE("what needs more than the emergency page is an overflow as any other", "[runtime][stacks][sites]") {
  if (test::kSanitized) return;  // the sanitizer reports it
  const Ended ended = run_child("beyond the emergency page of a learnt stack");
  INFO(ended.report);
  CHECK(WIFSIGNALED(ended.status));
  CHECK(WTERMSIG(ended.status) == SIGABRT);
  CHECK(ended.report.find("stack overflow: fiber ") != std::string::npos);
  CHECK(ended.report.find("\"deep\" spawned at ") != std::string::npos);
  CHECK(ended.report.find(", learnt_16k stack 16384 bytes") != std::string::npos);
  // And how it came there.
  const std::size_t first = ended.report.find("test_runtime(");
  CHECK(ended.report.find("test_runtime(", first + 1) != std::string::npos);
}

TEST_CASE("without guards nothing is learnt, and that is said", "[runtime][stacks][sites]") {
  const test::KeptLog log;
  const bool none = GENERATE(true, false);
  const test::DebugSetting debug(none ? "guard=none" : "");
  auto rt = test::start_runtime(1, {.stack_guards = fiber::GuardMode::canary, .stack_learning = true});
  bool known = false;
  rt->run([&known] {
    spawn_and_wait({.name = "shallow"}, 0, kEnough);
    known = is_learnt("shallow");
  });
  CHECK(known);
  CHECK(learnt_site("shallow").stack_class == StackClass::normal);
  CHECK(test::KeptLog::holds("stacks: classes are not learnt"));
  rt.reset();
}

TEST_CASE("of a fiber that waits for long the memory below its stack pointer is given back", "[runtime][stacks]") {
  auto rt = test::start_runtime(1, {.stack_trim_after = 10ms});
  static CancelSource go;
  static std::atomic<bool> intact{false};
  rt->run([] {
    if (!spawn("went deep", [] {
          std::array<volatile int, 64> kept{};
          for (int i = 0; i < 64; ++i) kept[static_cast<std::size_t>(i)] = i;
          (void)go_deep(100 * 1024);
          (void)sleep_for(10h, &go);
          bool all = true;
          for (int i = 0; i < 64; ++i) all = all && kept[static_cast<std::size_t>(i)] == i;
          // And it may go there again.
          (void)go_deep(100 * 1024);
          intact = all;
        }))
      std::abort();
  });
  const auto high_water = [] {
    std::size_t found = 0;
    (void)for_each_fiber([&](const FiberView& f) {
      if (f.origin.name == "went deep") {
        found = stack_high_water(f);
        CHECK(found >= f.stack_in_use);
      }
      return true;
    });
    return found;
  };
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().stack_bytes_cooled >= 90 * 1024; }));
  CHECK(rt->read_mem_stats().stacks_cooled >= 1);
  CHECK(high_water() > 0);
  CHECK(high_water() < (test::kSanitized ? 64U : 16U) * 1024);
  (void)go.cancel();
  rt.reset();
  CHECK(intact);
}

/// Parks with its stack pointer so many bytes lower, and something in the registers that a switch saves.
[[gnu::noinline]] static bool park_lower(std::size_t bytes, CancelSource& until) {
  auto* const lower = static_cast<volatile char*>(__builtin_alloca(bytes + 16));
  lower[0] = 'x';
  lower[bytes] = 'x';
  (void)sleep_for(10h, &until);
  return lower[0] == 'x' && lower[bytes] == 'x';
}

TEST_CASE("what is given back of a fiber that waits is below what it goes on with, wherever on a page it stands",
          "[runtime][stacks]") {
  static constexpr std::size_t kFibers = 320;  // each of them 16 bytes lower: all places of a page, and some twice
  auto rt = test::start_runtime(1, {.stack_trim_after = 10ms});
  static CancelSource go;
  static std::atomic<std::size_t> intact{0};
  rt->run([] {
    for (std::size_t i = 0; i < kFibers; ++i)
      if (!spawn("lower", [i] {
            (void)go_deep(20 * 1024);
            intact += park_lower(16 * i, go) ? 1 : 0;
          }))
        std::abort();
  });
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().stacks_cooled >= kFibers; }));
  (void)go.cancel();
  rt.reset();
  CHECK(intact == kFibers);
}

TEST_CASE("a dump knows how deep a stack was used", "[runtime][stacks]") {
  auto rt = test::start_runtime(1);
  static CancelSource go;
  std::size_t high_water = 0;
  std::size_t in_use = 0;
  rt->run([&] {
    sync::WaitGroup group;
    group.add();
    if (!spawn("went deep", [&group] {
          (void)go_deep(100 * 1024);
          group.done();
          (void)sleep_for(10h, &go);
        }))
      std::abort();
    group.wait();
    (void)for_each_fiber([&](const FiberView& f) {
      if (f.origin.name != "went deep") return true;
      high_water = stack_high_water(f);
      in_use = f.stack_in_use;
      return true;
    });
  });
  (void)go.cancel();
  CHECK(high_water >= 100 * 1024);
  CHECK(high_water < 256 * 1024);
  CHECK(in_use < high_water);
}
