// Every interleaving of a fiber that pins itself with sysmon that replaces its Processor.
#include <catch2/catch.hpp>

#include "core/runtime/pin_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

/// Two flags: sysmon looks at the one and sets the other.
struct TwoFlags {
  Atomic<bool> pinned{false};
  Atomic<bool> replaced{false};
  bool pin() {
    if (replaced.load()) return false;
    pinned.store(true);
    return true;
  }
  void unpin() { pinned.store(false); }
  bool replace() {
    if (pinned.load()) return false;
    replaced.store(true);
    return true;
  }
};

template <class Word>
void scenario(World& w) {
  struct State {
    Word word;
    Atomic<int> fresh{0};  // a second machine serves the place
    int pinned_here = 0;   // fibers that run pinned to the place
    void begin() {
      if (++pinned_here > 1) model::fail("two machines run fibers pinned to one place");
    }
    void end() { --pinned_here; }
  };
  auto& s = w.make<State>();
  w.thread("fiber", [&s] {
    for (int i = 0; i < 2; ++i) {
      if (!s.word.pin()) return;  // goes on elsewhere
      s.begin();
      s.fresh.load();
      s.end();
      s.word.unpin();
    }
  });
  w.thread("sysmon", [&s] {
    if (s.word.replace()) s.fresh.store(1);
  });
  w.thread("new machine", [&s] {
    s.fresh.wait_while(0);
    s.begin();
    s.fresh.load();
    s.end();
  });
  w.may_hang();
}

}  // namespace

TEST_CASE("pins: a place is never served by two machines", "[model][pin]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario<runtime::BasicPinWord<Atomic>>(w); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("pins: with two flags it is", "[model][pin][teeth]") {
  CHECK(model::explore({}, [](World& w) { scenario<TwoFlags>(w); }).failed);
}
