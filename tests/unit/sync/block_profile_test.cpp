// Where fibers waited for each other, by reason and stack, and who let them wait.
#include "core/runtime/block_profile.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "core/context/context.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/profile_rates.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/once.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/task.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using test::on_fibers;

namespace {

struct Seen {
  double contentions = 0;
  double ms = 0;
};

/// By reason; of stacks that have a function whose name holds `function`.
std::map<std::string, Seen> seen(const fiber::StackTable& table, const std::string& function = "") {
  std::map<std::string, Seen> all;
  table.for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t tag, const auto& sums) {
    bool named = function.empty();
    for (const std::uintptr_t frame : frames)
      named = named || fiber::function_at(frame - 1).find(function) != std::string::npos;
    if (!named) return;
    Seen& s = all[std::string(runtime::to_string(static_cast<runtime::WaitReason>(tag)))];
    s.contentions += static_cast<double>(sums[runtime::kContentions]) / runtime::kContention;
    s.ms += static_cast<double>(sums[runtime::kDelay]) / 1e6;
  });
  return all;
}

/// The tables are the process's, so each test looks at what came in its time.
double more(const std::map<std::string, Seen>& before, const std::map<std::string, Seen>& after,
            const std::string& reason) {
  const auto of = [&](const std::map<std::string, Seen>& all) {
    const auto at = all.find(reason);
    return at == all.end() ? 0.0 : at->second.contentions;
  };
  return of(after) - of(before);
}

class Rates {
 public:
  Rates(std::chrono::nanoseconds block, std::uint32_t mutex) {
    runtime::set_block_profile_rate(block);
    runtime::set_mutex_profile_fraction(mutex);
  }
  ~Rates() {
    runtime::set_block_profile_rate(0ns);
    runtime::set_mutex_profile_fraction(0);
  }
  Rates(const Rates&) = delete;
  Rates& operator=(const Rates&) = delete;
};

/// Goes on when a fiber waits for what `reason` says, and 2 ms later: the machine may have let it come late.
void until_somebody_waits(runtime::WaitReason reason) {
  for (int i = 0; i < 10'000; ++i) {
    bool waits = false;
    (void)runtime::for_each_fiber([&](const runtime::FiberView& f) {
      waits = f.state == runtime::FiberView::State::waiting && f.reason == reason;
      return !waits;
    });
    if (waits) break;
    (void)runtime::sleep_for(1ms);
  }
  (void)runtime::sleep_for(2ms);
}

/// A fiber of its own that does `fn` when another one has come to its wait.
template <class F>
void later(sync::WaitGroup& group, runtime::WaitReason reason, F fn) {
  (void)group.go("later", [reason, fn] {
    until_somebody_waits(reason);
    fn();
  });
}

/// One wait of each kind.
void wait_for_everything() {
  sync::WaitGroup group;
  sync::Channel<int> values;
  using runtime::WaitReason;
  later(group, WaitReason::channel_receive, [&] { (void)values.send(1); });
  (void)values.receive();
  later(group, WaitReason::channel_send, [&] { (void)values.receive(); });
  (void)values.send(1);
  later(group, WaitReason::select, [&] { (void)values.send(1); });
  sync::select(sync::on_receive(values, [](Result<int>) {}));
  sync::Semaphore semaphore(1);
  (void)semaphore.acquire();
  later(group, WaitReason::semaphore, [&] { (void)semaphore.release(); });
  (void)semaphore.acquire();
  sync::Mutex mutex;
  sync::Condition condition;
  bool told = false;
  later(group, WaitReason::condition, [&] {
    const std::lock_guard guard(mutex);
    told = true;
    condition.notify_one();
  });
  {
    std::unique_lock lock(mutex);
    condition.wait(lock, [&] { return told; });
  }
  sync::WaitGroup inner;
  later(inner, WaitReason::wait_group, [] {});
  inner.wait();
  sync::Once once;
  std::atomic<bool> begun{false};
  (void)group.go("first", [&] {
    once.call([&] {
      begun = true;
      until_somebody_waits(WaitReason::once);
    });
  });
  while (!begun) (void)runtime::sleep_for(500us);
  once.call([] {});
  auto task = sync::spawn_task("task", [] { until_somebody_waits(WaitReason::join); });
  if (task) (void)task->join();
  group.wait();
}

}  // namespace

// Not in a namespace without a name: their names are looked for.
[[gnu::noinline]] void holds_a_mutex_for_long(sync::Mutex& mutex) {
  {
    const std::lock_guard guard(mutex);
    until_somebody_waits(runtime::WaitReason::mutex);
  }
  asm volatile("");  // no tail call
}
[[gnu::noinline]] void waits_for_a_mutex(sync::Mutex& mutex) {
  mutex.lock();
  mutex.unlock();
  asm volatile("");  // no tail call
}
[[gnu::noinline]] void holds_a_shared_mutex_for_long(sync::SharedMutex& mutex) {
  {
    const std::lock_guard guard(mutex);
    until_somebody_waits(runtime::WaitReason::shared_mutex);
  }
  asm volatile("");
}

TEST_CASE("each wait of a fiber for another one is in the block profile, by its reason", "[block_profile]") {
  const auto before = seen(runtime::block_stacks());
  on_fibers(2, [](test::Findings&) {
    wait_for_everything();  // off: nothing
  });
  CHECK(seen(runtime::block_stacks()).size() == before.size());
  {
    const Rates rates(1ns, 0);
    on_fibers(2, [](test::Findings&) { wait_for_everything(); });
  }
  const auto after = seen(runtime::block_stacks());
  for (const char* const reason :
       {"channel_send", "channel_receive", "select", "semaphore", "condition", "wait_group", "once", "join"}) {
    INFO(reason);
    CHECK(more(before, after, reason) >= 1);
  }
  // Go's do not either: waits of the clock and of the network are nobody's fault.
  CHECK(after.find("sleep") == after.end());
  CHECK(after.find("io_read") == after.end());
}

TEST_CASE("a wait for a lock is told where it waited and, with the mutex profile, where the lock was held",
          "[block_profile]") {
  const auto blocked = seen(runtime::block_stacks(), "waits_for_a_mutex");
  const auto contended = seen(runtime::mutex_stacks(), "holds_a_mutex_for_long");
  const auto contended_shared = seen(runtime::mutex_stacks(), "holds_a_shared_mutex_for_long");
  {
    const Rates rates(1ns, 1);
    on_fibers(2, [](test::Findings&) {
      sync::WaitGroup group;
      sync::Mutex mutex;
      (void)group.go("holder", [&] { holds_a_mutex_for_long(mutex); });
      while (!mutex.locked()) runtime::yield();
      (void)group.go("waiter", [&] { waits_for_a_mutex(mutex); });
      group.wait();
      sync::SharedMutex shared;
      (void)group.go("holder", [&] { holds_a_shared_mutex_for_long(shared); });
      while (shared.try_lock_shared()) {
        shared.unlock_shared();
        runtime::yield();
      }
      (void)group.go("reader", [&] { const std::shared_lock guard(shared); });
      group.wait();
    });
  }
  const auto waited = seen(runtime::block_stacks(), "waits_for_a_mutex");
  CHECK(more(blocked, waited, "mutex") >= 1);
  CHECK(waited.at("mutex").ms >= 1);
  CHECK(more(contended, seen(runtime::mutex_stacks(), "holds_a_mutex_for_long"), "mutex") >= 1);
  CHECK(seen(runtime::mutex_stacks(), "waits_for_a_mutex").count("mutex") == 0);
  CHECK(more(contended_shared, seen(runtime::mutex_stacks(), "holds_a_shared_mutex_for_long"), "shared_mutex") >= 1);
}

TEST_CASE("short waits are sampled by their time, and stand for those that were not", "[block_profile]") {
  const auto before = seen(runtime::block_stacks());
  const std::uint64_t samples = runtime::block_samples();
  static constexpr int kWaits = 20'000;
  std::chrono::nanoseconds lasted{};
  {
    // Longer than nearly all of them.
    const Rates rates(1ms, 0);
    const auto began = std::chrono::steady_clock::now();
    on_fibers(1, [](test::Findings&) {
      sync::WaitGroup group;
      sync::Channel<int> values;
      (void)group.go("sender", [&] {
        for (int i = 0; i < kWaits; ++i) (void)values.send(i);
      });
      for (int i = 0; i < kWaits; ++i) (void)values.receive();
      group.wait();
    });
    lasted = std::chrono::steady_clock::now() - began;
  }
  const std::uint64_t taken = runtime::block_samples() - samples;
  double ms = 0;
  for (const auto& [reason, s] : seen(runtime::block_stacks())) {
    const auto was = before.find(reason);
    ms += s.ms - (was != before.end() ? was->second.ms : 0);
  }
  INFO(taken << " samples, " << ms << " ms");
  CHECK(taken < kWaits / 10);
  // Two fibers cannot wait for more than the whole time each; a sample is 1 ms, so by chance it may be some more.
  CHECK(ms <= 3 * static_cast<double>(lasted.count()) / 1e6 + 30);
}
