// Every interleaving of a fiber that ends with somebody who waits for the last one, where the count of a fiber that
// ended may become visible late: after its thread has looked whether anybody waits.
#include <catch2/catch.hpp>

#include "core/runtime/drain.hpp"
#include "tests/model/explorer.hpp"
#include "tests/model/store_buffer.hpp"

using namespace fiberd;
using model::Atomic;
using model::StoreBuffer;
using model::World;

namespace {

StoreBuffer* buffer = nullptr;

/// heavy() makes every thread's earlier stores visible, as membarrier(2) does.
struct Barrier {
  static std::uint32_t light_load(Atomic<std::uint32_t>& word) {
    const std::uint32_t waits = word.load();
    // tell() begins with a read-modify-write that releases what is in the buffer.
    if (waits != 0) buffer->drain();
    return waits;
  }
  static void heavy() { buffer->drain(); }
  static void wait_for_change(Atomic<std::uint32_t>& word, std::uint32_t seen) { word.wait_while(seen); }
  static void notify(Atomic<std::uint32_t>&) {}
};
/// What was there before: nothing orders the count and the look.
struct NoBarrier : Barrier {
  static void heavy() {}
};

template <class B>
void scenario(World& w) {
  struct State {
    runtime::BasicDrain<Atomic, B> drain;
    StoreBuffer ended;
    bool returned = false;
  };
  auto& s = w.make<State>();
  buffer = &s.ended;
  w.thread("fiber", [&s] { s.drain.ended(s.ended); });
  w.thread("memory", [&s] { s.ended.drain_some_time(); });
  w.thread("waiter", [&s] {
    s.drain.wait([&s] { return s.ended.seen_by_others() == 1; });
    s.returned = true;
  });
  w.may_hang();
  w.finally([&s]() -> std::string { return s.returned ? "" : "the waiter sleeps and no fiber is left"; });
}

}  // namespace

TEST_CASE("drain: whoever waits for the last fiber is told of it", "[model][drain]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario<Barrier>(w); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("drain: without the waiter's barrier it sleeps for ever", "[model][drain][teeth]") {
  const model::Outcome o = model::explore({}, [](World& w) { scenario<NoBarrier>(w); });
  CHECK(o.failed);
}
