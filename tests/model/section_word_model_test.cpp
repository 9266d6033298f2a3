// Every interleaving of a machine that goes through blocking sections, sysmon that retakes its Processor, and the
// machine that gets it.
#include <catch2/catch.hpp>

#include "core/runtime/section_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

/// sysmon looks and then stores: the machine may be back by then.
struct TakesWithoutAsking : runtime::BasicSectionWord<Atomic> {
  bool take(std::uint64_t section) {
    if (current() != section) return false;
    (void)BasicSectionWord::take(section);
    return true;
  }
};

/// The machine forgets to ask.
struct NeverAsks : runtime::BasicSectionWord<Atomic> {
  bool leave(std::uint64_t mine) {
    (void)BasicSectionWord::leave(mine);
    return true;
  }
};

template <class Word>
void scenario(World& w) {
  struct State {
    Word word;
    Atomic<int> given{0};  // Processors handed to the second machine
    int users = 0;         // machines that work with the Processor
    int retaken = 0;
    int went_on[2] = {};
    Atomic<int> work{0};
    void begin() {
      if (++users != 1) model::fail("two machines work with one Processor");
      work.store(1);
    }
    void end() { --users; }
  };
  auto& s = w.make<State>();
  const auto sections = [&s](int machine, int n) {
    s.begin();
    for (; n != 0; --n) {
      s.end();
      const std::uint64_t mine = s.word.enter();
      if (!s.word.leave(mine)) return;  // a spare machine now
      s.begin();
      ++s.went_on[machine];
    }
    s.end();
  };
  w.thread("machine", [sections] { sections(0, 2); });
  w.thread("sysmon", [&s] {
    const std::uint64_t seen = s.word.current();
    if (seen == 0 || s.word.current() != seen || !s.word.take(seen)) return;
    ++s.retaken;
    s.given.store(1);
  });
  w.thread("other machine", [&s, sections] {
    s.given.wait_while(0);
    sections(1, 1);
  });
  w.may_hang();
}

}  // namespace

TEST_CASE("blocking sections: one machine at a time works with a Processor", "[model][section]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario<runtime::BasicSectionWord<Atomic>>(w); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 20);
}

TEST_CASE("blocking sections: the model finds what the CAS of each side is for", "[model][section][teeth]") {
  CHECK(model::explore({}, [](World& w) { scenario<TakesWithoutAsking>(w); }).failed);
  CHECK(model::explore({}, [](World& w) { scenario<NeverAsks>(w); }).failed);
}
