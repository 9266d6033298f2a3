// Every interleaving of those who set a timer at the same time: it is set to what was wanted last.
#include <catch2/catch.hpp>

#include "core/sync/follower.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

/// `alone`: each acts for itself.
void scenario(World& w, bool alone) {
  struct State {
    Atomic<int> due{0};
    Atomic<int> armed{0};
    Atomic<int> acting{0};
    sync::detail::BasicFollower<Atomic> follower;
    void set(int value, bool by_itself) {
      due.store(value);
      const auto arm = [this] {
        if (acting.fetch_add(1) != 0) model::fail("two arm at once");
        armed.store(due.load());
        acting.fetch_sub(1);
      };
      if (by_itself) {
        armed.store(due.load());
      } else {
        follower.follow(arm);
      }
    }
  };
  auto& s = w.make<State>();
  w.thread("reset", [&s, alone] { s.set(10, alone); });
  w.thread("reset again", [&s, alone] { s.set(5, alone); });
  w.thread("stop", [&s, alone] { s.set(0, alone); });
  w.finally([&s]() -> std::string { return s.armed.peek() == s.due.peek() ? "" : "armed for a time that is no more"; });
}

}  // namespace

TEST_CASE("follower: the timer is set to what was wanted last, by one at a time", "[model][follower]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario(w, false); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("follower: when each arms for itself, an old time stays", "[model][follower][teeth]") {
  CHECK(model::explore({}, [](World& w) { scenario(w, true); }).failed);
}
