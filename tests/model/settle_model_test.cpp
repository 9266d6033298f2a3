// Every interleaving of those who bring a state after a wish.
#include <catch2/catch.hpp>

#include "core/runtime/settle.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

/// A listener: whether it is to accept, whether its socket is watched.
void scenario(World& w, bool looks_again) {
  struct State {
    Atomic<bool> paused{false};
    Atomic<bool> watched{false};  // a backoff goes on
    void settle(bool again) {
      if (again) {
        runtime::settle([this] { return !paused.load(); }, [this](bool watch) { watched.store(watch); });
      } else {
        watched.store(!paused.load());
      }
    }
  };
  auto& s = w.make<State>();
  w.thread("backoff over", [&s, looks_again] { s.settle(looks_again); });
  w.thread("owner", [&s, looks_again] {
    s.paused.store(true);
    s.settle(looks_again);
  });
  w.thread("owner again", [&s, looks_again] {
    s.paused.wait_while(false);
    s.paused.store(false);
    s.settle(looks_again);
    s.paused.store(true);
    s.settle(looks_again);
  });
  w.finally([&s]() -> std::string {
    return s.watched.peek() != s.paused.peek() ? "" : "watched though paused, or the other way round";
  });
}

}  // namespace

TEST_CASE("settle: the state is what was wanted last", "[model][settle]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario(w, true); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("settle: looked at once, it is not", "[model][settle][teeth]") {
  CHECK(model::explore({}, [](World& w) { scenario(w, false); }).failed);
}
