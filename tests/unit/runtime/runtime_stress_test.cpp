// The runtime's parts against each other: hand-off and GOMAXPROCS under load, walkers, locals, exceptions, and the two
// ends that only a child process can show (stack overflow, spawn exhaustion).
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/base/clock.hpp"
#include "core/fiber/local.hpp"
#include "core/runtime/machine.hpp"
#include "core/runtime/processor.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

#if defined(FIBERD_TSAN)
constexpr int kFibers = 400;
#else
constexpr int kFibers = 2000;
#endif

void hold_processor(std::chrono::nanoseconds time) {
  const std::int64_t end = monotonic_now() + time.count();
  while (monotonic_now() < end) {
  }
}

struct Death {
  int status = 0;
  std::string output;
};

/// `body` in a child process; what it writes to stderr.
[[maybe_unused]] Death in_child(void (*body)()) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    for (const int s : {SIGSEGV, SIGBUS, SIGABRT}) signal(s, SIG_DFL);
    alarm(20);
    body();
    _exit(0);
  }
  close(ends[1]);
  Death death;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    death.output.append(buffer.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  REQUIRE(waitpid(pid, &death.status, 0) == pid);
  return death;
}

[[gnu::noinline]] int recurse(int depth) {  // NOLINT: it is meant to overflow
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return depth <= 0 ? frame[0] : recurse(depth - 1) + frame[0];
}

}  // namespace

TEST_CASE("hand-offs under load lose no fiber", "[stress]") {
  std::atomic<int> done{0};
  std::atomic<int> hogs{0};
  auto rt = test::start_runtime(2);
  for (int i = 0; i < kFibers; ++i)
    REQUIRE(rt->spawn("worker", [&done, i] {
      for (int k = 0; k < 20; ++k) {
        if ((i + k) % 5 == 0)
          (void)sleep_for(50us);
        else
          yield();
      }
      ++done;
    }));
  for (int i = 0; i < 8; ++i)
    REQUIRE(rt->spawn("hog", [&hogs, i] {
      if (i % 2 == 0)
        hold_processor(25ms);
      else
        blocking_section([] { std::this_thread::sleep_for(5ms); });
      yield();
      ++hogs;
    }));
  rt->run([] { (void)sleep_for(1ms); });
  // At least the blocking sections handed off.
  const auto handoffs = [&] {
    const MemStats s = rt->read_mem_stats();
    return s.handoffs + s.sections_retaken;
  };
  const std::int64_t end = monotonic_now() + 10'000'000'000;
  while ((done != kFibers || hogs != 8) && monotonic_now() < end) std::this_thread::yield();
  CHECK(done == kFibers);
  CHECK(hogs == 8);
  CHECK(handoffs() >= 1);
}

TEST_CASE("pinned fibers stay on their place while GOMAXPROCS changes, and none is lost", "[stress]") {
  std::atomic<int> done{0};
  std::atomic<int> moved{0};
  std::atomic<bool> stable{false};
  auto rt = test::start_runtime(4);
  for (int i = 0; i < 100; ++i)
    REQUIRE(rt->spawn("pinned", [&] {
      const Pin pin;
      for (int k = 0; k < 100; ++k) {
        if (k % 4 == 0)
          (void)sleep_for(20us);
        else
          yield();
      }
      // Once the number stands still a pinned fiber has one place.
      while (!stable) (void)sleep_for(100us);
      yield();
      const unsigned place = Machine::current_machine()->processor->slot->index;
      for (int k = 0; k < 50; ++k) {
        yield();
        moved += Machine::current_machine()->processor->slot->index != place;
      }
      ++done;
    }));
  for (int i = 0; i < 20; ++i)
    for (const unsigned n : {1U, 4U, 2U, 3U}) rt->set_gomaxprocs(n);
  stable = true;
  const std::int64_t end = monotonic_now() + 10'000'000'000;
  while (done != 100 && monotonic_now() < end) std::this_thread::yield();
  CHECK(done == 100);
  CHECK(moved == 0);
}

TEST_CASE("walking all fibers while they wake loses none", "[stress]") {
  std::atomic<int> done{0};
  auto rt = test::start_runtime(2);
  for (int i = 0; i < kFibers; ++i)
    REQUIRE(rt->spawn("walked", [&done] {
      for (int k = 0; k < 20; ++k) (void)sleep_for(20us);
      ++done;
    }));
  std::uint64_t parked = 0;
  const std::int64_t end = monotonic_now() + 20'000'000'000;
  while (done != kFibers && monotonic_now() < end)
    rt->scheduler().for_each_parked_fiber([&parked](const Fiber&) { ++parked; });
  CHECK(done == kFibers);
  CHECK(parked > 0);
}

TEST_CASE("fiber locals are destroyed at the fiber's end, on the fiber, and may park", "[stress]") {
  struct Value {
    ~Value() {
      if (counter == nullptr) return;
      if (on_fiber()) (void)sleep_for(10us);
      ++*counter;
    }
    std::atomic<int>* counter = nullptr;
  };
  static fiber::Local<Value> local;
  std::atomic<int> destroyed{0};
  std::atomic<int> wrong{0};
  {
    auto rt = test::start_runtime(2);
    for (int i = 0; i < 200; ++i)
      REQUIRE(rt->spawn("local", [&] {
        if (local->counter != nullptr) ++wrong;  // another fiber's
        local->counter = &destroyed;
        yield();
        if (local->counter != &destroyed) ++wrong;
      }));
  }
  CHECK(destroyed == 200);
  CHECK(wrong == 0);
}

TEST_CASE("a fiber parks inside catch, continues on another thread and rethrows its own", "[stress]") {
  std::atomic<int> right{0};
  std::atomic<int> migrated{0};
  int rounds = 0;
  // On a machine with other things to do a round may pass on one thread alone.
  while (migrated == 0 && rounds < 100) {
    ++rounds;
    auto rt = test::start_runtime(2);
    for (int i = 0; i < 200; ++i)
      REQUIRE(rt->spawn("thrower", [&, i] {
        try {
          try {
            throw std::runtime_error(std::to_string(i));
          } catch (...) {
            for (int k = 0; k < 20; ++k) {
              const Machine* const before = Machine::current_machine();
              if (k % 4 == 0)
                (void)sleep_for(20us);
              else
                yield();
              migrated += Machine::current_machine() != before;
            }
            throw;
          }
        } catch (const std::runtime_error& e) {
          right += e.what() == std::to_string(i);
        }
      }));
  }
  CHECK(right == 200 * rounds);
  CHECK(migrated > 0);
}

#if !defined(FIBERD_ASAN) && !defined(FIBERD_TSAN)
// Not run by itself: the next test starts it in a process of its own, since the fault handler is installed once a
// process and Catch puts its own over it before each test case.
TEST_CASE("overflow of a fiber", "[.][child]") {
  auto rt = test::start_runtime(2, {.stack_size = 64 * 1024});
  rt->run([] {
    (void)spawn("too-deep", [] { (void)recurse(1'000'000); });
    (void)sleep_for(10s);
  });
}

TEST_CASE("an overflow in a running server names the fiber, its size and where it was spawned", "[stress]") {
  const Death death = in_child([] {
    close(STDOUT_FILENO);
    execl("/proc/self/exe", "test_runtime", "overflow of a fiber", nullptr);
  });
  INFO(death.output);
  REQUIRE(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGABRT);
  for (const char* part : {"stack overflow", "\"too-deep\"", "runtime_stress_test.cpp:", "stack 6"})
    CHECK(death.output.find(part) != std::string::npos);
  CHECK(std::count(death.output.begin(), death.output.end(), '\n') > 3);
}

TEST_CASE("spawn without guards left to give is an error, and the daemon lives", "[stress]") {
  setenv("FIBERDEBUG", "guard=mprotect", 1);
  const Death death = in_child([] {
    auto rt = test::start_runtime(1, {.stack_size = 16 * 1024});
    bool clean = false;
    bool recovered = false;
    rt->run([&] {
      static CancelSource go;
      int spawned = 0;
      std::error_code refused;
      while (!refused && spawned < 200'000) {
        auto r = spawn("parked", [] { (void)sleep_for(10h, &go); });
        if (!r) {
          refused = r.error();
        } else {
          ++spawned;
        }
        if (spawned % 64 == 0) yield();  // let them bind their stacks
      }
      clean = refused == std::errc::not_enough_memory && spawned > 1000;
      go.cancel();
      for (int i = 0; i < 10'000 && !recovered; ++i) {
        yield();
        recovered = static_cast<bool>(spawn("after", [] {}));
      }
    });
    rt.reset();
    _exit(clean && recovered ? 7 : 8);
  });
  unsetenv("FIBERDEBUG");
  INFO(death.output);
  REQUIRE(WIFEXITED(death.status));
  CHECK(WEXITSTATUS(death.status) == 7);
}
#endif
