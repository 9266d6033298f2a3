// Every interleaving of submitters with Processors that go to sleep.
#include <catch2/catch.hpp>

#include "core/runtime/idle_set.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

enum class Order {
  right,                    ///< as Scheduler::sleep
  looks_before_entering,    ///< the second look comes before the sleeper is in the set
  token_back_after_looking  ///< a submitter sees a spinner that will not look again
};

/// The global queue is a counter, a Processor's eventfd a flag that stays set until the sleeper takes it.
struct Machines {
  runtime::BasicIdleSet<64, Atomic> idle;
  Atomic<int> queue{0};
  Atomic<int> awake[2];
  int done = 0;
  int spinners = 0;

  void submit() {
    queue.fetch_add(1);
    wake_helper();
  }
  void wake_helper() {
    if (const unsigned i = idle.claim_sleeper(); i != idle.kNone) awake[i].store(1);
  }
  bool take() {
    int n = queue.load();
    while (n > 0)
      if (queue.compare_exchange_strong(n, n - 1)) return true;
    return false;
  }
  void begin_spin(bool& spinning) {
    if (!spinning && ++spinners > 1) model::fail("two spinners");
    spinning = true;
  }
  void end_spin(bool& spinning) {
    spinning = false;
    --spinners;
    idle.stop_spinning();
  }
  /// As find_runnable and sleep.
  void processor(unsigned index, Order order) {
    bool spinning = false;
    for (;;) {
      if (take()) {
        ++done;
        if (spinning) {
          end_spin(spinning);
          if (queue.load() > 0) wake_helper();
        }
        continue;
      }
      if (!spinning && idle.try_spin()) begin_spin(spinning);
      const bool last_spinner = spinning;
      bool stay = true;
      if (order == Order::looks_before_entering) stay = queue.load() == 0;
      idle.enter(index);
      if (last_spinner && order != Order::token_back_after_looking) end_spin(spinning);
      if (order != Order::looks_before_entering) stay = queue.load() == 0;
      if (last_spinner && order == Order::token_back_after_looking) end_spin(spinning);
      if (stay) {
        awake[index].wait_while(0);
        awake[index].store(0);
      }
      if (!idle.leave(index)) begin_spin(spinning);
    }
  }
};

void work_and_sleep(World& w, unsigned processors, unsigned submitters, Order order) {
  auto& m = w.make<Machines>();
  static constexpr const char* kProcessors[] = {"P0", "P1"};
  for (unsigned i = 0; i < processors; ++i) w.thread(kProcessors[i], [&m, i, order] { m.processor(i, order); });
  for (unsigned i = 0; i < submitters; ++i) w.thread("submitter", [&m] { m.submit(); });
  w.may_hang();
  w.finally([&m, submitters]() -> std::string {
    return m.done == static_cast<int>(submitters) && m.queue.peek() == 0 ? "" : "all sleep and work is queued";
  });
}

}  // namespace

// Sanitizers make a step twenty times slower.
#if defined(FIBERD_ASAN) || defined(FIBERD_TSAN)
constexpr unsigned kPreemptions = 2;
#else
constexpr unsigned kPreemptions = 3;
#endif

TEST_CASE("idle protocol: one Processor never sleeps on work", "[model][idle]") {
  const model::Outcome one = model::explore({}, [](World& w) { work_and_sleep(w, 1, 1, Order::right); });
  INFO(one.report);
  CHECK_FALSE(one.failed);
  CHECK(one.complete);
  // With a second submitter: no more preemptions than that.
  const model::Outcome two =
      model::explore({.preemptions = kPreemptions}, [](World& w) { work_and_sleep(w, 1, 2, Order::right); });
  INFO(two.report);
  CHECK_FALSE(two.failed);
  CHECK(two.complete);
}

TEST_CASE("idle protocol: two Processors, one spinner, no lost wake-up", "[model][idle]") {
  // Too many for all of them: every interleaving with so many preemptions.
  for (const unsigned submitters : {1U, 2U}) {
    const model::Outcome o = model::explore({.preemptions = submitters == 1 ? kPreemptions : 2, .spurious = 0},
                                            [=](World& w) { work_and_sleep(w, 2, submitters, Order::right); });
    INFO(o.report);
    CHECK_FALSE(o.failed);
    CHECK(o.complete);
    CHECK(o.executions > 500);
  }
}

TEST_CASE("idle protocol: the explorer catches the mistakes it is there for", "[model][idle][teeth]") {
  for (const Order order : {Order::looks_before_entering, Order::token_back_after_looking}) {
    const model::Outcome o = model::explore({}, [=](World& w) { work_and_sleep(w, 1, 1, order); });
    INFO("mistake " << static_cast<int>(order));
    CHECK(o.failed);
  }
}
