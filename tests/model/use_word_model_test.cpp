// Every interleaving of an event that comes late with a descriptor that is closed and used anew.
#include <catch2/catch.hpp>

#include "core/runtime/use_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

/// Generation and marks apart: looked at first, marked afterwards.
struct Apart {
  static constexpr std::uint8_t kEnded = 1;
  Atomic<std::uint32_t> uses{1};
  Atomic<std::uint8_t> known{0};
  bool mark(std::uint16_t generation, std::uint8_t bits) {
    if (uses.load() != generation) return false;
    known.fetch_or(bits);
    return true;
  }
  void next() {
    uses.store(uses.load() + 1);
    known.store(0);
  }
  std::uint8_t marks() { return known.load(); }
};

template <class Word>
void scenario(World& w, bool closes) {
  struct State {
    Word word;
    bool said = false;
    std::uint8_t new_use = 0;
    std::uint8_t old_use = 0;
  };
  auto& s = w.make<State>();
  w.thread("event", [&s] { s.said = s.word.mark(1, Word::kEnded); });
  w.thread("owner", [&s, closes] {
    s.old_use = s.word.marks();
    if (closes) s.word.next();
  });
  w.finally([&s, closes]() -> std::string {
    if (closes) return s.word.marks() == 0 ? "" : "a connection is marked that nobody has hung up";
    return s.said && s.word.marks() == Word::kEnded ? "" : "a hang-up was forgotten";
  });
}

}  // namespace

TEST_CASE("use word: a hang-up is told of the connection that it belongs to", "[model][use]") {
  for (const bool closes : {false, true}) {
    const model::Outcome o =
        model::explore({}, [closes](World& w) { scenario<runtime::BasicUseWord<Atomic>>(w, closes); });
    INFO(o.report);
    CHECK_FALSE(o.failed);
    CHECK(o.complete);
  }
}

TEST_CASE("use word: apart, the mark comes to the next connection", "[model][use][teeth]") {
  CHECK(model::explore({}, [](World& w) { scenario<Apart>(w, true); }).failed);
}
