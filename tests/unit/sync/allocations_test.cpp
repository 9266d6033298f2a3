// What the primitives do when they only pass control and values on: nothing is allocated.
#include <catch2/catch.hpp>
#include <mutex>

#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/allocations.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using test::on_fibers;

TEST_CASE("passing values and control on allocates nothing", "[sync]") {
  std::uint64_t allocated = 0;
  on_fibers(1, [&](test::Findings& found) {
    sync::Channel<int> unbuffered;
    sync::Channel<int> buffered(4);
    sync::Mutex mutex;
    sync::Condition condition;
    sync::Semaphore semaphore(1);
    int turn = 0;
    const auto stop = context::with_cancel(context::background());
    sync::WaitGroup group;
    const auto exchange = [&](int mine) {
      for (int i = 0; i < 200; ++i) {
        {
          std::unique_lock lock(mutex);
          condition.wait(lock, [&] { return turn == mine; });
          turn = 1 - mine;
          condition.notify_one();
        }
        (void)semaphore.acquire();
        runtime::yield();
        semaphore.release();
      }
    };
    const auto send = [&] {
      for (int i = 0; i < 200; ++i) {
        (void)unbuffered.send(i);
        (void)buffered.send(i);
        sync::select(sync::on_send(unbuffered, i), sync::on_done(stop.context), sync::after(std::chrono::hours(1)));
      }
    };
    int sum = 0;
    const auto receive = [&] {
      const auto add = [&](Result<int> v) { sum += *v; };
      for (int i = 0; i < 600; ++i)
        sync::select(sync::on_receive(unbuffered, add), sync::on_receive(buffered, add), sync::on_done(stop.context));
    };
    // Twice: the first time fibers, stacks and timers' heaps are made.
    for (int round = 0; round < 2; ++round) {
      const std::uint64_t before = test::allocations();
      (void)group.go("a", [&] { exchange(0); });
      (void)group.go("b", [&] { exchange(1); });
      (void)group.go("sender", [&] { send(); });
      (void)group.go("receiver", [&] { receive(); });
      group.wait();
      allocated = test::allocations() - before;
    }
    found.check(sum == 2 * 3 * 19'900, "all values");
    stop.cancel();
  });
  CHECK(allocated == 0);
}
