// Every interleaving of a Processor that uses its runnext and of those who take it from outside. The model's memory is
// sequentially consistent, which is what the asymmetric barrier gives the two flags.
#include <catch2/catch.hpp>

#include "core/runtime/runnext.hpp"
#include "tests/model/barrier.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::Barrier;
using model::World;

namespace {

/// The owner does not say that it is inside.
struct NoBarrier : Barrier {
  static void light_store(Atomic<bool>&) {}
};

struct Fiber {
  int runs = 0;
};

template <class B>
struct State {
  runtime::BasicRunnext<Fiber, Atomic, B> runnext;
  Atomic<bool> retired{false};
  Fiber fibers[3];
  static void run(Fiber* f) {
    if (f != nullptr && ++f->runs != 1) model::fail("a fiber ran twice");
  }
};

/// As Scheduler::ready and pop_local; `outsiders` hold a lock among themselves, here they come one after the other.
template <class B>
void scenario(World& w, bool checks_retired) {
  auto& s = w.make<State<B>>();
  w.thread("owner", [&s, checks_retired] {
    for (Fiber& f : s.fibers) {
      if (s.retired.load()) {
        s.run(&f);  // to the global queue
        continue;
      }
      s.run(s.runnext.exchange(&f));
      if (checks_retired && s.retired.load()) s.run(s.runnext.exchange(nullptr));
    }
    if (!s.retired.load()) s.run(s.runnext.exchange(nullptr));
  });
  w.thread("sysmon", [&s] {
    s.run(s.runnext.take());
    s.retired.store(true);
    s.run(s.runnext.take());
  });
  w.finally([&s]() -> std::string {
    for (const Fiber& f : s.fibers)
      if (f.runs != 1) return "a fiber was left in a retired Processor, or lost";
    return "";
  });
}

}  // namespace

TEST_CASE("runnext: each fiber runs once, whoever takes it, and none is left in a retired Processor",
          "[model][runnext]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario<Barrier>(w, true); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 10);
}

TEST_CASE("runnext: the model finds what the flags are for", "[model][runnext]") {
  CHECK(model::explore({}, [](World& w) { scenario<NoBarrier>(w, true); }).failed);
  CHECK(model::explore({}, [](World& w) { scenario<Barrier>(w, false); }).failed);
}
