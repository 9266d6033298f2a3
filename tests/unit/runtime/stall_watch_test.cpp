// Who holds a Processor is counted, named with its stack, and blamed for what it does; a healthy load is not.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <functional>
#include <mutex>
#include <thread>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

std::uint64_t told(const MemStats& s) { return s.stalls_computing + s.stalls_blocking; }
std::uint64_t ended(const MemStats& s) {
  std::uint64_t n = 0;
  for (const std::uint64_t bucket : s.stall_buckets) n += bucket;
  return n;
}
template <class F>
bool comes(F&& holds) {
  for (int i = 0; i < 20'000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}
[[gnu::noinline]] void compute_until(const std::atomic<bool>& over) {
  while (!over) asm volatile("");
  asm volatile("");  // no tail call
}

}  // namespace

TEST_CASE("a fiber that computes is a stall, named with its stack, and over when it goes on", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(2);
  std::atomic<bool> over{false};
  REQUIRE(rt->spawn("hog", [&] { compute_until(over); }));
  CHECK(comes([&] { return rt->read_mem_stats().stalls_computing >= 1; }));
  CHECK(comes([] { return test::KeptLog::holds("it computes"); }));
  const std::string line = test::KeptLog::text();
  INFO(line);
  CHECK(line.find("\"hog\" spawned at tests/unit/runtime/stall_watch_test.cpp:") != std::string::npos);
  CHECK(line.find(" has held Processor ") != std::string::npos);
  // The sanitizers' own functions, which it may be in, have no frame pointers.
  if (!test::kSanitized) CHECK(line.find("Scheduler::fiber_main") != std::string::npos);
  CHECK(ended(rt->read_mem_stats()) == 0);
  over = true;
  CHECK(comes([&] { return ended(rt->read_mem_stats()) == 1; }));
  CHECK(rt->read_mem_stats().stall_sum_ns >= 10'000'000);
}

TEST_CASE("one whose thread answers late is told with its name all the same", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(2);
  std::atomic<bool> deaf{true};
  std::atomic<bool> over{false};
  REQUIRE(rt->spawn("hog", [&] {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);  // as if it had no CPU to answer
    while (deaf) asm volatile("");
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    compute_until(over);
  }));
  CHECK(comes([&] { return rt->read_mem_stats().stalls_computing >= 1; }));
  std::this_thread::sleep_for(30ms);  // so long that it has been asked, and has not answered
  deaf = false;
  CHECK(comes([] { return test::KeptLog::holds("it computes"); }));
  const std::string line = test::KeptLog::text();
  INFO(line);
  CHECK(line.find("\"hog\" spawned at tests/unit/runtime/stall_watch_test.cpp:") != std::string::npos);
  over = true;
}

TEST_CASE("one that was replaced is over when its thread comes back", "[stall_watch]") {
  const test::SilentLog log;
  const auto rt = test::start_runtime(1);
  std::atomic<bool> over{false};
  std::atomic<bool> other{false};
  REQUIRE(rt->spawn("hog", [&] { compute_until(over); }));
  CHECK(comes([&] { return told(rt->read_mem_stats()) >= 1; }));
  // It waits for the Processor, so that is taken away.
  REQUIRE(rt->spawn("other", [&] { other = true; }));
  CHECK(comes([&] { return other.load(); }));
  CHECK(rt->read_mem_stats().handoffs >= 1);
  CHECK(ended(rt->read_mem_stats()) == 0);
  over = true;
  CHECK(comes([&] { return ended(rt->read_mem_stats()) == 1; }));
}

TEST_CASE("who waits for the Processor does not wait for the log", "[stall_watch]") {
  static std::atomic<bool> over, other, told, in_time;
  over = other = told = in_time = false;
  // A sink that blocks until the other fiber has run, or for so long that nobody would wait.
  set_log_sink([](LogLevel /*level*/, std::string_view line) noexcept {
    if (line.find("has held Processor") == std::string_view::npos) return;
    in_time = comes([] { return other.load(); });
    told = true;
  });
  {
    const auto rt = test::start_runtime(1);
    REQUIRE(rt->spawn("hog", [] {
      if (!spawn("other", [] { other = true; })) std::abort();
      compute_until(over);
    }));
    CHECK(comes([] { return told.load(); }));
    CHECK(in_time);
    over = true;
  }
  set_log_sink(nullptr);
}

TEST_CASE("one that is replaced at once, since others wait, is told all the same", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(1);
  std::atomic<bool> over{false};
  std::atomic<bool> other{false};
  REQUIRE(rt->spawn("hog", [&] {
    if (!spawn("other", [&] { other = true; })) std::abort();
    compute_until(over);
  }));
  CHECK(comes([&] { return other.load(); }));
  CHECK(rt->read_mem_stats().handoffs >= 1);
  CHECK(comes([] { return test::KeptLog::holds("it computes"); }));
  const std::string line = test::KeptLog::text();
  INFO(line);
  CHECK(line.find("\"hog\" spawned at") != std::string::npos);
  CHECK(rt->read_mem_stats().stalls_computing == 1);
  CHECK(ended(rt->read_mem_stats()) == 0);
  over = true;
  CHECK(comes([&] { return ended(rt->read_mem_stats()) == 1; }));
}

TEST_CASE("nobody is blamed for the turn of another", "[stall_watch]") {
  for (int i = 0; i < 20; ++i) {
    const test::KeptLog log;
    const auto rt = test::start_runtime(Options{.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt->spawn("guilty", [&] {
      if (!spawn("innocent", [] {
            while (!test::KeptLog::holds("has held Processor")) {
            }
          }))
        std::abort();
      // It ends as soon as it has been counted, and is told of a little later.
      while (rt->read_mem_stats().stalls_computing == 0) {
      }
    }));
    CHECK(comes([] { return test::KeptLog::holds("has held Processor"); }));
    const std::string text = test::KeptLog::text();
    const std::string first = text.substr(0, text.find('\n'));
    INFO(first);
    CHECK(first.find("innocent") == std::string::npos);
  }
}

TEST_CASE("a fiber that blocks its thread is told from one that computes", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(2);
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  std::mutex mutex;
  const auto blocked = [&](const char* what, const std::function<void()>& fn, const std::function<void()>& end) {
    INFO(what);
    const MemStats before = rt->read_mem_stats();
    std::atomic<bool> done{false};
    REQUIRE(rt->spawn("blocks", [&] {
      fn();
      done = true;
    }));
    CHECK(comes([&] { return rt->read_mem_stats().stalls_blocking == before.stalls_blocking + 1; }));
    end();
    CHECK(comes([&] { return done.load() && ended(rt->read_mem_stats()) == ended(before) + 1; }));
  };
  blocked(
      "read(2)",
      [&] {
        char c = 0;
        while (::read(pipe[0], &c, 1) != 1) {
        }
      },
      [&] { CHECK(::write(pipe[1], "x", 1) == 1); });
  mutex.lock();
  blocked(
      "std::mutex", [&] { const std::scoped_lock lock(mutex); }, [&] { mutex.unlock(); });
  CHECK(comes([] { return test::KeptLog::holds("it blocks its thread"); }));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("a fiber that has pages faulted in without end is a stall, and others go on", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(1);
  std::atomic<bool> over{false};
  std::atomic<bool> other{false};
  REQUIRE(rt->spawn("faults", [&] {
    static constexpr std::size_t kSize = std::size_t{16} << 20U;
    while (!over) {
      void* const at = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) return;
      (void)::madvise(at, kSize, MADV_NOHUGEPAGE);
      for (std::size_t i = 0; i < kSize && !over; i += 4096) static_cast<volatile char*>(at)[i] = 1;
      ::munmap(at, kSize);
    }
  }));
  CHECK(comes([&] { return told(rt->read_mem_stats()) >= 1; }));
  REQUIRE(rt->spawn("other", [&] { other = true; }));
  CHECK(comes([&] { return other.load(); }));  // on the only Processor, which was taken on
  CHECK(comes([] { return test::KeptLog::holds("\"faults\" spawned at"); }));
  CHECK(rt->read_mem_stats().handoffs >= 1);
  over = true;
  CHECK(comes([&] { return ended(rt->read_mem_stats()) >= 1; }));
}

TEST_CASE("a fiber whose thread gets no CPU is counted apart, and not blamed", "[stall_watch]") {
  const test::KeptLog log;
  // All on one CPU: a thread that computes, and below it, in the class of those who get what nobody wants, the fiber's.
  cpu_set_t mine;
  CPU_ZERO(&mine);
  REQUIRE(sched_getaffinity(0, sizeof mine, &mine) == 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &mine)) ++cpu;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  const auto rt = test::start_runtime(1);
  std::atomic<bool> over{false};
  std::atomic<bool> running{false};
  std::atomic<bool> settled{false};
  std::thread robber([&] {
    settled = sched_setaffinity(0, sizeof one, &one) == 0;
    running = true;
    while (!over) asm volatile("");
  });
  CHECK(comes([&] { return running.load(); }));
  REQUIRE(rt->spawn("robbed", [&] {
    const Pin pin;
    const sched_param none{};
    settled = settled && sched_setscheduler(0, SCHED_IDLE, &none) == 0 && sched_setaffinity(0, sizeof one, &one) == 0;
    compute_until(over);
  }));
  CHECK(comes([&] { return rt->read_mem_stats().stalls_robbed >= 1; }));
  CHECK(settled);
  CHECK(rt->read_mem_stats().stalls_computing == 0);
  CHECK_FALSE(test::KeptLog::holds("\"robbed\""));
  over = true;
  robber.join();
}

TEST_CASE("a pinned fiber is told, and not replaced", "[stall_watch]") {
  const test::KeptLog log;
  const auto rt = test::start_runtime(2);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> before{0};  // what happened to it as long as it was not pinned yet
  REQUIRE(rt->spawn("pinned", [&] {
    const Pin pin;
    before = rt->read_mem_stats().handoffs;
    compute_until(over);
  }));
  CHECK(comes([] { return test::KeptLog::holds("pinned, so that nobody can take over"); }));
  CHECK(rt->read_mem_stats().handoffs == before);
  over = true;
}

TEST_CASE("fibers that go on are no stall, however many there are", "[stall_watch]") {
  const test::SilentLog log;
  const auto rt = test::start_runtime(2);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> turns{0};
  for (int i = 0; i < 200; ++i)
    REQUIRE(rt->spawn("goes on", [&] {
      while (!over) {
        // 50 us at a time
        const std::int64_t until = monotonic_now() + 50'000;
        while (monotonic_now() < until) {
        }
        ++turns;
        yield();
      }
    }));
  CHECK(comes([&] { return turns > 20'000; }));
  over = true;
  const MemStats s = rt->read_mem_stats();
  CHECK(s.stalls_computing == 0);
  CHECK(s.stalls_blocking == 0);
}
