// Every interleaving of a Processor that goes to sleep with those who replace it, poll for it, and wake it. The steps
// are those of Scheduler::sleep, Scheduler::replace, sysmon's look and Poller::deliver.
#include <catch2/catch.hpp>

#include "core/runtime/idle_set.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

struct Rules {
  bool says_it_first = true;  ///< the Processor's phase changes before the place is touched, and after it was left
  bool gives_back = true;     ///< who takes a wake-up while somebody sleeps there gives it back, whoever he took it for
};

/// One place, its queue a counter, its eventfd a flag that the first who polls takes.
struct Place {
  runtime::BasicIdleSet<64, Atomic> idle;
  Atomic<bool> sleeping{false};
  Atomic<int> event{0};
  Atomic<int> queue{0};
  Atomic<int> given{0};  // the place has a new Processor
  Atomic<bool> retired{false};
  Atomic<bool> phase_sleeping{false};
  Atomic<bool> orphan{true};  // nobody has the place yet
  int done = 0;

  void submit() {
    queue.fetch_add(1);
    if (idle.claim_sleeper() != idle.kNone) event.store(1);
  }
  bool take() {
    int n = queue.load();
    return n > 0 && queue.compare_exchange_strong(n, n - 1);
  }
  bool poll() { return event.exchange(0) != 0; }

  /// False: it found that it is retired.
  bool sleep(bool& spinning, bool may_be_retired, const Rules& rules) {
    if (rules.says_it_first && may_be_retired) {
      phase_sleeping.store(true);
      if (retired.load()) {
        phase_sleeping.store(false);
        return false;
      }
    }
    if (rules.says_it_first) sleeping.store(true);
    idle.enter(0);
    if (!rules.says_it_first) sleeping.store(true);
    if (spinning) {
      spinning = false;
      idle.stop_spinning();
    }
    const bool out = may_be_retired && retired.load();
    if (!out && queue.load() == 0) {
      while (event.exchange(0) == 0) event.wait_while(0);
    }
    if (!idle.leave(0)) spinning = true;
    sleeping.store(false);
    if (rules.says_it_first && may_be_retired) phase_sleeping.store(false);
    return !(may_be_retired && retired.load());
  }
  void processor(bool may_be_retired, const Rules& rules) {
    bool spinning = false;
    for (;;) {
      if (take()) ++done;
      if (spinning) {
        spinning = false;
        idle.stop_spinning();
        if (queue.load() > 0 && idle.claim_sleeper() != idle.kNone) event.store(1);
        continue;
      }
      if (queue.load() > 0) continue;
      if (!sleep(spinning, may_be_retired, rules)) break;
    }
    // leave_processor(): the token and the work go to the others.
    if (spinning) {
      idle.stop_spinning();
      if (queue.load() > 0 && idle.claim_sleeper() != idle.kNone) event.store(1);
    }
  }
};

std::string all_done(const Place& place) {
  return place.done == 1 && place.queue.peek() == 0 ? "" : "all sleep and work is queued";
}

/// A Processor is replaced on its way to sleep.
void replaced(World& w, const Rules& rules) {
  auto& p = w.make<Place>();
  w.thread("old Processor", [&p, rules] { p.processor(true, rules); });
  w.thread("sysmon", [&p, rules] {
    p.retired.store(true);
    Atomic<bool>& asleep = rules.says_it_first ? p.phase_sleeping : p.sleeping;
    if (asleep.load()) {
      p.event.store(1);
      asleep.wait_while(true);
    }
    p.given.store(1);
  });
  w.thread("new Processor", [&p, rules] {
    p.given.wait_while(0);
    p.processor(false, rules);
  });
  w.thread("submitter", [&p] {
    p.given.wait_while(0);
    p.submit();
  });
  w.may_hang();
  w.finally([&p] { return all_done(p); });
}

/// sysmon polls a place that has no Processor, and has one that sleeps by the time the event is there.
void polled(World& w, const Rules& rules) {
  auto& p = w.make<Place>();
  w.thread("sysmon", [&p, rules] {
    const bool orphan = p.orphan.load();
    if (!p.poll()) return;
    if (rules.gives_back ? p.sleeping.load() : !orphan) p.event.store(1);
  });
  w.thread("Processor", [&p, rules] {
    p.orphan.store(false);
    p.processor(false, rules);
  });
  w.thread("submitter", [&p] { p.submit(); });
  w.may_hang();
  w.finally([&p] { return all_done(p); });
}

constexpr model::Options kOptions{.preemptions = 4, .spurious = 0};

}  // namespace

TEST_CASE("sleep: a Processor replaced on its way to sleep takes nothing along that is its successor's",
          "[model][sleep]") {
  const model::Outcome o = model::explore(kOptions, [](World& w) { replaced(w, {}); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("sleep: a wake-up that somebody else polled comes to the sleeper", "[model][sleep]") {
  const model::Outcome o = model::explore(kOptions, [](World& w) { polled(w, {}); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("sleep: the model finds what the order and the giving back are for", "[model][sleep][teeth]") {
  CHECK(model::explore(kOptions, [](World& w) { replaced(w, {.says_it_first = false}); }).failed);
  CHECK(model::explore(kOptions, [](World& w) { polled(w, {.gives_back = false}); }).failed);
}
