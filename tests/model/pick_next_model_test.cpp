// Every interleaving of a Processor that looks for its next fiber and of a thief at its ring.
#include <catch2/catch.hpp>

#include "core/runtime/pick_next.hpp"
#include "core/runtime/run_queue.hpp"
#include "core/runtime/runnext.hpp"
#include "tests/model/barrier.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::Barrier;
using model::World;

namespace {

struct Fiber {
  int runs = 0;
};
using Ring = runtime::BasicRunQueue<Fiber, 4, Atomic>;
struct State {
  Ring ring;
  Ring thief;
  runtime::BasicRunnext<Fiber, Atomic, Barrier> runnext;
  Fiber next;
  Fiber queued;
};

/// Forgets runnext when the ring, that looked full of work, is empty.
Fiber* forgetful(State& s, std::uint32_t& streak) {
  if (!s.runnext.empty() && (streak < runtime::kRunnextStreak || s.ring.size() == 0)) {
    ++streak;
    if (Fiber* const f = s.runnext.exchange(nullptr)) return f;
  }
  streak = 0;
  return s.ring.pop();
}

void scenario(World& w, bool forgets) {
  auto& s = w.make<State>();
  (void)s.ring.push(&s.queued);
  (void)s.runnext.exchange(&s.next);
  w.thread("owner", [&s, forgets] {
    std::uint32_t streak = runtime::kRunnextStreak;  // used up: the ring's turn
    while (Fiber* const f = forgets ? forgetful(s, streak) : runtime::pick_next<Fiber>(s.runnext, s.ring, streak))
      ++f->runs;
  });
  w.thread("thief", [&s] {
    if (s.ring.steal_half(s.thief) != 0) ++s.thief.pop()->runs;
  });
  w.finally([&s]() -> std::string {
    return s.next.runs == 1 && s.queued.runs == 1 ? "" : "its owner went to sleep on a fiber";
  });
}

}  // namespace

TEST_CASE("a Processor does not sleep on its runnext when a thief empties its ring", "[model][runnext]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario(w, false); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 5);
  CHECK(model::explore({}, [](World& w) { scenario(w, true); }).failed);
}
