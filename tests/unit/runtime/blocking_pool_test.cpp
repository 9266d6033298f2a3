#include "core/runtime/blocking_pool.hpp"

#include <signal.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <latch>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "core/runtime/blocking.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

struct CountingJob : BlockingPool::Job {
  explicit CountingJob(std::latch& l) : latch(l) {
    run = [](BlockingPool::Job& job) noexcept { static_cast<CountingJob&>(job).latch.count_down(); };
  }
  std::latch& latch;
};

/// Holds the thread that runs it until it is released.
struct HoldingJob : BlockingPool::Job {
  HoldingJob() {
    run = [](BlockingPool::Job& job) noexcept {
      auto& self = static_cast<HoldingJob&>(job);
      self.begun.release();
      self.go.acquire();
      self.ended.release();
    };
  }
  std::binary_semaphore begun{0};
  std::binary_semaphore go{0};
  std::binary_semaphore ended{0};
};

}  // namespace

TEST_CASE("the pool runs each job once, on no more threads than it may", "[blocking]") {
  constexpr int kJobs = 500;
  std::latch done(kJobs);
  std::vector<std::unique_ptr<CountingJob>> jobs;
  for (int i = 0; i < kJobs; ++i) jobs.push_back(std::make_unique<CountingJob>(done));
  BlockingPool pool(3);
  for (auto& job : jobs) REQUIRE_FALSE(pool.submit(*job));
  done.wait();
  CHECK(pool.stats().threads <= 3);
  CHECK(pool.stats().threads >= 1);
  CHECK(pool.stats().jobs == kJobs);
  CHECK(pool.stats().queued == 0);
}

TEST_CASE("a queued job can be withdrawn, a running one cannot", "[blocking]") {
  BlockingPool pool(1);
  HoldingJob holder;
  HoldingJob queued;
  REQUIRE_FALSE(pool.submit(holder));
  holder.begun.acquire();
  REQUIRE_FALSE(pool.submit(queued));
  CHECK(pool.stats().busy == 1);
  CHECK(pool.stats().queued == 1);
  CHECK_FALSE(pool.withdraw(holder));
  CHECK(pool.withdraw(queued));
  CHECK_FALSE(pool.withdraw(queued));
  CHECK(pool.stats().queued == 0);
  holder.go.release();
  holder.ended.acquire();
  CHECK(pool.stats().jobs == 1);
}

TEST_CASE("idle threads end, and others start when there is work again", "[blocking]") {
  BlockingPool pool(4, false, 1ms);
  for (int round = 0; round < 5; ++round) {
    std::latch done(1);
    CountingJob job(done);
    REQUIRE_FALSE(pool.submit(job));
    done.wait();
    const std::int64_t limit = monotonic_now() + 10'000'000'000;
    while (pool.stats().threads != 0 && monotonic_now() < limit) std::this_thread::yield();
    REQUIRE(pool.stats().threads == 0);
  }
}

TEST_CASE("pool threads block all signals", "[blocking]") {
  sigset_t mask;
  sigemptyset(&mask);
  test::start_runtime(1)->run([&] { blocking([&] { pthread_sigmask(SIG_SETMASK, nullptr, &mask); }); });
  for (int signo : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}) CHECK(sigismember(&mask, signo) == 1);
}

TEST_CASE("blocking: values, void, move-only, exceptions", "[blocking]") {
  int value = 0;
  bool ran = false;
  std::unique_ptr<int> moved;
  std::string caught;
  bool other_thread = false;
  test::start_runtime(2)->run([&] {
    const auto here = std::this_thread::get_id();
    value = blocking([&] {
      other_thread = std::this_thread::get_id() != here;
      return 42;
    });
    blocking([&] { ran = true; });
    moved = blocking([] { return std::make_unique<int>(7); });
    try {
      blocking([]() -> int { throw std::runtime_error("from the pool"); });
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
  });
  CHECK(value == 42);
  CHECK(other_thread);
  CHECK(ran);
  CHECK(*moved == 7);
  CHECK(caught == "from the pool");
}

TEST_CASE("off fibers blocking runs in place", "[blocking]") {
  CHECK(blocking([] { return std::this_thread::get_id(); }) == std::this_thread::get_id());
  CHECK(try_blocking(Deadline::never(), nullptr, [] { return 3; }) == 3);
}

TEST_CASE("other fibers run while one waits for the pool", "[blocking]") {
  int rounds = 0;
  test::start_runtime(1)->run([&] {
    std::atomic<bool> release{false};
    (void)spawn("light", [&] {
      for (; rounds < 100; ++rounds) yield();
      release.store(true);
      release.notify_one();
    });
    blocking([&] { release.wait(false); });
  });
  CHECK(rounds == 100);
}

TEST_CASE("try_blocking gives up; what it left behind runs to its end, what had not begun is dropped", "[blocking]") {
  struct Shared {
    std::binary_semaphore go{0};
    std::binary_semaphore ended{0};
    std::atomic<int> begun{0};
  };
  const auto shared = std::make_shared<Shared>();
  std::error_code running;
  std::error_code queued;
  std::error_code late;
  std::error_code canceled;
  auto rt = test::start_runtime(2, {.blocking_threads = 1});
  rt->run([&] {
    const auto hold = [shared] {
      ++shared->begun;
      shared->go.acquire();
      shared->ended.release();
      return 1;
    };
    running = try_blocking(Deadline::in(2ms), nullptr, hold).error();
    queued = try_blocking(Deadline::in(2ms), nullptr, hold).error();
    late = try_blocking(Deadline::at(1), nullptr, hold).error();
    CancelSource c;
    (void)spawn("cancel", [&c] { c.cancel(); });
    canceled = try_blocking(Deadline::never(), &c, hold).error();
  });
  CHECK(running == std::errc::timed_out);
  CHECK(queued == std::errc::timed_out);
  CHECK(late == std::errc::timed_out);
  CHECK(canceled == std::errc::operation_canceled);
  shared->go.release();
  shared->ended.acquire();
  rt.reset();
  CHECK(shared->begun == 1);
  CHECK(shared.use_count() == 1);
}

TEST_CASE("try_blocking passes a Result on and carries exceptions", "[blocking]") {
  Result<int> value = 0;
  Result<int> error = 0;
  Result<void> nothing;
  Result<void> code;
  Result<void> no_code;
  bool caught = false;
  test::start_runtime(1)->run([&] {
    // An error alone is an error, and no value: `if (!result)` must not read it the other way round.
    code = try_blocking(Deadline::in(10s), nullptr, [] { return std::make_error_code(std::errc::io_error); });
    no_code = try_blocking(Deadline::in(10s), nullptr, [] { return std::error_code(); });
    value = try_blocking(Deadline::in(10s), nullptr, [] { return 5; });
    error = try_blocking(Deadline::in(10s), nullptr,
                         []() -> Result<int> { return fail(std::errc::no_such_file_or_directory); });
    nothing = try_blocking(Deadline::never(), nullptr, [] {});
    try {
      (void)try_blocking(Deadline::never(), nullptr, []() -> int { throw 1; });
    } catch (int) {
      caught = true;
    }
  });
  CHECK(value == 5);
  CHECK(error.error() == std::errc::no_such_file_or_directory);
  CHECK(nothing);
  CHECK(code.error() == std::errc::io_error);
  CHECK(no_code);
  CHECK(caught);
}

TEST_CASE("completion and deadline race: one outcome each, no state lost", "[blocking]") {
  constexpr int kRounds = 2000;
  std::atomic<int> alive{0};
  int done = 0;
  int gave_up = 0;
  int wrong = 0;
  struct Token {
    explicit Token(std::atomic<int>& c) : count(&c) { ++*count; }
    Token(Token&& o) noexcept : count(std::exchange(o.count, nullptr)) {}
    Token& operator=(Token&&) = delete;
    ~Token() {
      if (count != nullptr) --*count;
    }
    std::atomic<int>* count;
  };
  test::start_runtime(2, {.blocking_threads = 4})->run([&] {
    for (int i = 0; i < kRounds; ++i) {
      const auto r =
          try_blocking(Deadline::in(std::chrono::microseconds(i % 60)), nullptr, [t = Token(alive), i] { return i; });
      if (r) {
        ++done;
        wrong += *r != i;
      } else {
        ++gave_up;
        wrong += r.error() != std::errc::timed_out;
      }
    }
  });
  CHECK(done + gave_up == kRounds);
  CHECK(wrong == 0);
  CHECK(alive == 0);
}

TEST_CASE("in a simulation the job runs in place", "[blocking][simulation]") {
  int value = 0;
  bool same = false;
  const auto outcome = Simulation(3).run([&] {
    const auto here = std::this_thread::get_id();
    value = blocking([&] {
      same = std::this_thread::get_id() == here;
      return 9;
    });
    value += try_blocking(Deadline::in(1s), nullptr, [] { return 1; }).value_or(100);
  });
  CHECK(value == 10);
  CHECK(same);
  CHECK_FALSE(outcome.deadlock);
}
