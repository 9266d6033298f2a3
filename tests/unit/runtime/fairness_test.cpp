// Turns are counted, not time: who gets how many of them. Where it must be time, the right value and the wrong one are
// far apart, and the median of many counts.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd;
using fiberd::test::kSanitized;
using namespace std::chrono_literals;

namespace {

/// What fibers of one Processor share: no two run at once, but a Processor may go from thread to thread.
template <typename T>
struct Shared {
  std::atomic<T> value{};
  operator T() const noexcept { return value.load(std::memory_order_relaxed); }
  Shared& operator=(T v) noexcept {
    value.store(v, std::memory_order_relaxed);
    return *this;
  }
  void operator++() noexcept { *this = static_cast<T>(*this + 1); }
};

std::int64_t median(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? INT64_MAX : values[values.size() / 2];
}

}  // namespace

TEST_CASE("a thousand fibers that yield get the same number of turns", "[scheduler][fairness]") {
  static constexpr std::size_t kFibers = 1'000;
  static constexpr std::uint64_t kTurns = (kSanitized ? 30 : 100) * kFibers;
  std::vector<std::uint64_t> turns(kFibers);
  std::vector<std::uint64_t> longest(kFibers);
  Shared<std::uint64_t> all;
  {
    // A thread that the kernel does not run for a while must not look like a fiber that holds its Processor.
    auto rt = runtime::Runtime::start({.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (std::size_t i = 0; i < kFibers; ++i)
        (void)runtime::spawn("turns", [&, i] {
          std::uint64_t last = 0;
          while (all < kTurns) {
            ++all;
            longest[i] = std::max(longest[i], all - last);
            ++turns[i];
            last = all;
            runtime::yield();
          }
        });
    });
  }
  std::sort(turns.begin(), turns.end());
  CHECK(turns.front() * 10 >= turns[kFibers / 2] * 8);
  // From the start on: who never ran does not wait for a second turn of those who did.
  CHECK(*std::max_element(longest.begin(), longest.end()) * 10 <= kFibers * 11);
}

TEST_CASE("those spawned first begin, though others yield and newer ones are spawned all the time",
          "[scheduler][fairness]") {
  static constexpr int kYielders = 1'000;
  static constexpr int kSpawners = 4;  // spread among them: what one spills comes before the others' had its turn
  static constexpr int kEach = 400;
  static constexpr int kRounds = kSanitized ? 15 : 30;
  Shared<int> first_began;
  Shared<int> rounds;
  Shared<int> ended;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int n = 0; n < kYielders; ++n)
        (void)runtime::spawn("yields", [&, n] {
          for (int i = 0; i < 5; ++i) runtime::yield();  // until all have begun
          const bool spawns = n % (kYielders / kSpawners) == 0;
          for (int round = 0; round < kRounds && first_began < kSpawners * kEach; ++round) {
            for (int i = 0; spawns && i < kEach; ++i)
              (void)runtime::spawn("spawned", [&, round] {
                if (round == 0) ++first_began;
              });
            if (n == 0) ++rounds;
            runtime::yield();
          }
          if (++ended; ended == kYielders) CHECK(first_began == kSpawners * kEach);
        });
    });
  }
  CHECK(rounds < kRounds);
}

TEST_CASE("what is queued behind a fiber that computes is served, however many others wait", "[scheduler][fairness]") {
  static constexpr std::size_t kFibers = 1'000;
  std::vector<std::atomic<std::uint64_t>> turns(kFibers);
  std::size_t left_out = kFibers;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    std::atomic<bool> stop{false};
    (*rt)->run([&] {
      for (auto& mine : turns)
        (void)runtime::spawn("turns", [&] {
          while (!stop) {
            ++mine;
            runtime::yield();
          }
        });
      // Until the ring is full and the rest in the global queue.
      for (int i = 0; i < 10; ++i) runtime::yield();
      std::vector<std::uint64_t> before(turns.begin(), turns.end());
      const std::int64_t limit = monotonic_now() + 2'000'000'000;
      while (left_out != 0 && monotonic_now() < limit) {
        left_out = 0;
        for (std::size_t i = 0; i < kFibers; ++i) left_out += turns[i] == before[i] ? 1 : 0;
      }
      stop = true;
    });
  }
  CHECK(left_out == 0);
}

TEST_CASE("two pinned fibers that yield to each other leave others their turns", "[scheduler][fairness]") {
  static constexpr int kTurns = 2'000;
  static constexpr int kMost = 1'000'000;  // who comes from outside may get no CPU for a while
  std::atomic<int> pinned_turns{0};
  std::vector<std::int64_t> between;  // turns of theirs before each of ours
  std::atomic<int> global_at{kMost};
  std::atomic<int> readable_at{kMost};
  std::array<int, 2> pipe_ends{};
  REQUIRE(::pipe2(pipe_ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  // They go on behind run(): what they look at is out here.
  const auto goes_on = [&] {
    return pinned_turns < kTurns || (pinned_turns < kMost && (global_at == kMost || readable_at == kMost));
  };
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->run([&] {
      std::atomic<bool> waits{false};
      (void)runtime::spawn("reader", [&] {
        runtime::PollDescriptor* const d = *runtime::PollDescriptor::open(pipe_ends[0]);
        waits = true;
        (void)d->wait(runtime::Direction::read, runtime::WaitReason::test);
        readable_at = pinned_turns.load();
        d->close();
      });
      while (!waits) runtime::yield();
      for (int i = 0; i < 2; ++i)
        (void)runtime::spawn_on(0, "pinned", [&] {
          while (goes_on()) {
            ++pinned_turns;
            runtime::yield();
          }
        });
      while (pinned_turns < 16) runtime::yield();
      // From outside: through the global queue, and through the Poller.
      std::thread outside([&] {
        (void)(*rt)->spawn("from outside", [&] { global_at = pinned_turns.load(); });
        (void)!::write(pipe_ends[1], "x", 1);
      });
      while (goes_on()) {
        // Slowly, or they would be through before a thread has been started.
        for (const std::int64_t end = monotonic_now() + 20'000; monotonic_now() < end;) {
        }
        const int last = pinned_turns;
        runtime::yield();
        between.push_back(pinned_turns - last);
      }
      outside.join();
    });
  }
  (void)::close(pipe_ends[0]);
  (void)::close(pipe_ends[1]);
  // The median: whose thread gets no CPU for a while is handed off meanwhile, and the two have the Processor alone.
  REQUIRE(!between.empty());
  CHECK(median(between) <= 4);
  CHECK(global_at < kMost);
  CHECK(readable_at < kMost);
}

TEST_CASE("a due timer's fiber is next, however many wait with long slices", "[scheduler][fairness]") {
  static constexpr int kBusy = 64;
  static constexpr std::int64_t kSlice = 300'000;
  const bool short_before = GENERATE(false, true);  // what was learned from short slices must not hold for long ones
  Shared<bool> stop;
  Shared<bool> busy;
  Shared<std::int64_t> due;
  Shared<std::int64_t> turns;
  std::vector<std::int64_t> late;
  due = INT64_MAX;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int i = 0; i < kBusy; ++i)
        (void)runtime::spawn("busy", [&] {
          while (!stop) {
            const std::int64_t begin = monotonic_now();
            if (begin >= due) ++turns;
            while (busy && monotonic_now() - begin < kSlice) {
            }
            runtime::yield();
          }
        });
      for (int i = 0; i < 15; ++i) {
        busy = !short_before;
        for (int k = 0; k < (short_before ? 200 : 8); ++k) runtime::yield();
        busy = true;
        turns = 0;
        due = monotonic_now() + 1'000'000;
        (void)runtime::park_until(runtime::prepare_park(runtime::WaitReason::sleep), Deadline::at(due));
        late.push_back(turns);
      }
      stop = true;
    });
  }
  // What was learned from short slices holds until sysmon looks, after 5 ms at most.
  CHECK(median(late) <= (short_before ? 24 : 3));
}

TEST_CASE("whose descriptor is ready is next, though others wait with long slices", "[scheduler][fairness]") {
  static constexpr int kBusy = 16;
  static constexpr std::int64_t kSlice = 300'000;
  Shared<bool> stop;
  std::atomic<std::int64_t> ready{INT64_MAX};
  Shared<std::int64_t> turns;
  std::vector<std::int64_t> late;
  std::array<int, 2> pipe_ends{};
  REQUIRE(::pipe2(pipe_ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int i = 0; i < kBusy; ++i)
        (void)runtime::spawn("busy", [&] {
          while (!stop) {
            const std::int64_t begin = monotonic_now();
            if (begin >= ready) ++turns;
            while (monotonic_now() - begin < kSlice) {
            }
            runtime::yield();
          }
        });
      runtime::PollDescriptor* const d = *runtime::PollDescriptor::open(pipe_ends[0]);
      std::counting_semaphore<> next(0);
      std::thread writer([&] {
        for (int i = 0; i < 15; ++i) {
          next.acquire();
          // Some slices after the fiber has begun to wait.
          for (const std::int64_t end = monotonic_now() + 5 * kSlice; monotonic_now() < end;) std::this_thread::yield();
          ready = monotonic_now();
          (void)!::write(pipe_ends[1], "x", 1);
        }
      });
      for (int i = 0; i < 15; ++i) {
        turns = 0;
        ready = INT64_MAX;
        next.release();
        (void)d->wait(runtime::Direction::read, runtime::WaitReason::test);
        late.push_back(turns);
        char byte = 0;
        (void)!::read(pipe_ends[0], &byte, 1);
      }
      stop = true;
      writer.join();
      d->close();
    });
  }
  (void)::close(pipe_ends[0]);
  (void)::close(pipe_ends[1]);
  // The one that runs when it becomes ready, and one that was picked without a look; in the ring's order it were 16.
  CHECK(median(late) <= 4);
}

TEST_CASE("a due timer's fiber is next also where a descriptor is ready at each look", "[scheduler][fairness]") {
  static constexpr int kBusy = 50;
  static constexpr std::int64_t kSlice = 150'000;
  Shared<bool> stop;
  Shared<std::int64_t> due;
  Shared<std::int64_t> turns;
  std::vector<std::int64_t> late;
  std::array<int, 2> pipe_ends{};
  REQUIRE(::pipe2(pipe_ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  due = INT64_MAX;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int i = 0; i < kBusy; ++i)
        (void)runtime::spawn("busy", [&] {
          while (!stop) {
            const std::int64_t begin = monotonic_now();
            if (begin >= due) ++turns;
            (void)!::write(pipe_ends[1], "x", 1);
            while (monotonic_now() - begin < kSlice) {
            }
            runtime::yield();
          }
        });
      (void)runtime::spawn("reader", [&] {
        runtime::PollDescriptor* const d = *runtime::PollDescriptor::open(pipe_ends[0]);
        std::array<char, 256> bytes{};
        while (!stop)
          if (::read(pipe_ends[0], bytes.data(), bytes.size()) < 0)
            (void)d->wait(runtime::Direction::read, runtime::WaitReason::test, Deadline::in(100ms));
        d->close();
      });
      for (int i = 0; i < 15; ++i) {
        turns = 0;
        due = monotonic_now() + 3'000'000;
        (void)runtime::park_until(runtime::prepare_park(runtime::WaitReason::sleep), Deadline::at(due));
        late.push_back(turns);
      }
      stop = true;
    });
  }
  (void)::close(pipe_ends[0]);
  (void)::close(pipe_ends[1]);
  CHECK(median(late) <= 3);
}

TEST_CASE("those that are woken run in the order in which they were woken, also through a full ring",
          "[scheduler][fairness]") {
  static constexpr int kFibers = 1'000;  // a ring holds 256
  std::vector<int> order;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1, .handoff_max = 0});
    REQUIRE(rt);
    (*rt)->run([&] {
      std::vector<std::uint64_t> tickets(kFibers);
      int parked = 0;
      for (int i = 0; i < kFibers; ++i)
        (void)runtime::spawn("woken", [&, i] {
          const runtime::Ticket mine = runtime::prepare_park(runtime::WaitReason::test);
          tickets[static_cast<std::size_t>(i)] = mine.value;
          ++parked;
          runtime::park(mine);
          order.push_back(i);
        });
      while (parked != kFibers) runtime::yield();
      for (const std::uint64_t ticket : tickets) (void)runtime::wake(runtime::Ticket{ticket});
      while (order.size() != kFibers) runtime::yield();
    });
  }
  // The last one waits in runnext, and what spilled was the older half of the ring each time: blocks of 128 may change
  // places, but nobody is left behind for good.
  std::int64_t most_overtaken = 0;
  for (std::size_t at = 0; at < order.size(); ++at)
    most_overtaken = std::max(most_overtaken, static_cast<std::int64_t>(at) - order[at]);
  CHECK(most_overtaken <= 512);
}

TEST_CASE("what is pinned to a Processor is served while a fiber computes there beside an idle one",
          "[scheduler][fairness]") {
  static constexpr std::int64_t kPatience = 300'000'000;
  std::vector<std::int64_t> took;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 2});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < 7; ++round) {
        // On both, so one of them is where this fiber is.
        std::atomic<int> ran{0};
        const std::int64_t begin = monotonic_now();
        for (unsigned i = 0; i < 2; ++i) (void)runtime::spawn_on(i, "probe", [&] { ++ran; });
        while (ran != 2 && monotonic_now() - begin < kPatience) {
        }
        took.push_back(monotonic_now() - begin);
        while (ran != 2) runtime::yield();
      }
    });
  }
  CHECK(median(took) < kPatience);
}

TEST_CASE("whom a fiber wakes that goes on computing is taken over by an idle Processor at once",
          "[scheduler][fairness]") {
  // sysmon would hand it on, too, after up to a millisecond and through the global queue: that is no steal.
  static constexpr int kRounds = 100;
  std::uint64_t steals = 0;
  int served = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 2});
    REQUIRE(rt);
    (*rt)->run([&] {
      std::atomic<std::uint64_t> ticket{0};
      std::atomic<int> ran{0};
      (void)runtime::spawn("sleeper", [&] {
        for (int round = 0; round < kRounds; ++round) {
          const runtime::Ticket mine = runtime::prepare_park(runtime::WaitReason::test);
          ticket = mine.value;
          runtime::park(mine);
          ++ran;
        }
      });
      while (ticket == 0) runtime::yield();
      const std::uint64_t before = (*rt)->read_mem_stats().steals;
      for (int round = 0; round < kRounds; ++round) {
        while (ticket == 0) runtime::yield();
        (void)runtime::sleep_for(200us);  // it is parked, and the other Processor has nothing to do
        (void)runtime::wake(runtime::Ticket{ticket.exchange(0)});
        const std::int64_t end = monotonic_now() + 1'000'000'000;
        while (ran == round && monotonic_now() < end) {
        }
        served += ran != round ? 1 : 0;
        while (ran == round) runtime::yield();
      }
      steals = (*rt)->read_mem_stats().steals - before;
    });
  }
  CHECK(served == kRounds);
  CHECK(steals >= kRounds / 4);  // not where the other one was busy at that moment
}

TEST_CASE("whom a fiber wakes that then computes, where slices were short, waits for sysmon's look and not for more",
          "[scheduler][fairness]") {
  static constexpr int kRounds = 15;
  std::vector<std::int64_t> took;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 2});
    REQUIRE(rt);
    (*rt)->run([&] {
      std::atomic<std::uint64_t> ticket{0};
      std::atomic<int> ran{0};
      (void)runtime::spawn("sleeper", [&] {
        for (int round = 0; round < kRounds; ++round) {
          const runtime::Ticket mine = runtime::prepare_park(runtime::WaitReason::test);
          ticket = mine.value;
          runtime::park(mine);
          ++ran;
        }
      });
      for (int round = 0; round < kRounds; ++round) {
        while (ticket == 0) runtime::yield();
        for (int i = 0; i < 20'000; ++i) runtime::yield();  // short slices are what is expected
        const std::int64_t begin = monotonic_now();
        (void)runtime::wake(runtime::Ticket{ticket.exchange(0)});
        while (ran == round && monotonic_now() - begin < 1'000'000'000) {
        }
        took.push_back(monotonic_now() - begin);
        while (ran == round) runtime::yield();
      }
    });
  }
  CHECK(median(took) < 8'000'000);  // the hand-off comes after 10 ms
}

TEST_CASE("a timer that another Processor adopts when GOMAXPROCS falls is on time", "[scheduler][fairness]") {
  std::vector<std::int64_t> late;
  auto rt = runtime::Runtime::start({.gomaxprocs = 4});
  REQUIRE(rt);
  for (int round = 0; round < 3; ++round) {
    // The last place's: the first is who is woken anyway.
    std::atomic<std::int64_t> by{0};
    (*rt)->run([&] {
      std::atomic<bool> asleep{false};
      (void)runtime::spawn_on(3, "sleeper", [&] {
        const std::int64_t due = monotonic_now() + 60'000'000;
        const runtime::Ticket wait = runtime::prepare_park(runtime::WaitReason::sleep);
        asleep = true;
        (void)runtime::park_until(wait, Deadline::at(due));
        by = std::max<std::int64_t>(monotonic_now() - due, 1);
        by.notify_all();
      });
      while (!asleep) (void)runtime::sleep_for(1ms);
    });
    // From here on nobody is awake who would look for what is due.
    (*rt)->set_gomaxprocs(2);
    by.wait(0);
    (*rt)->set_gomaxprocs(4);
    late.push_back(by);
  }
  CHECK(median(late) < 200'000'000);
}
