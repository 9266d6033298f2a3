// Every interleaving of edges, waiters, time-outs, shutdown and idle periods on one poll word.
#include <catch2/catch.hpp>

#include "core/runtime/poll_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;
using runtime::Ticket;
using runtime::Wake;

namespace {

using Real = runtime::BasicPollWord<Atomic>;

/// notify() that takes the waiter's ticket away and keeps no edge: right for the waiter that wakes, wrong for one that
/// timed out at that moment.
class DropsReady : public Real {
 public:
  Notified notify() noexcept {
    const Notified n = Real::notify();
    if (n.ticket) clear_ready();
    return n;
  }
};

Ticket ticket_of(unsigned wait) { return Ticket{(std::uint64_t{1} << 32U) | wait}; }

/// A fiber that waits for bytes. Its waits are cells won by one CAS (the status word has a model of its own).
template <class Word>
struct Stream {
  Word word;
  Atomic<int> bytes{0};
  Atomic<Wake> cell[4];  // by wait
  int eaten = 0;

  bool wake(Ticket t, Wake cause) {
    Wake none = Wake::none;
    return cell[t.value & 3U].compare_exchange_strong(none, cause);
  }
  void edge() {
    bytes.fetch_add(1);
    if (const auto n = word.notify(); n.ticket) wake(n.ticket, Wake::ready);
  }
  void shut_down() {
    if (const Ticket t = word.close()) wake(t, Wake::canceled);
  }
  /// As PollDescriptor::wait.
  Wake wait(unsigned number) {
    switch (word.begin_wait(ticket_of(number))) {
      case Word::Begin::ready: return Wake::ready;
      case Word::Begin::closed: return Wake::canceled;
      case Word::Begin::busy: model::fail("busy, and nobody waits"); return Wake::canceled;
      case Word::Begin::waiting: break;
    }
    const Wake w = cell[number].wait_while(Wake::none);
    if (w != Wake::ready) {
      word.withdraw(ticket_of(number));
      return w;
    }
    return word.end_ready() ? Wake::ready : Wake::canceled;
  }
};

/// After a short read the real reader waits without reading again: only the edge tells it of new bytes.
template <class Word>
void reader_with_a_timeout(World& w, int edges) {
  auto& s = w.make<Stream<Word>>();
  w.thread("reader", [&s, edges] {
    unsigned number = 0;
    while (s.eaten < edges) {
      const Wake r = s.wait(number++);
      if (number > 3) break;  // spurious edges are bounded by the edges
      if (r == Wake::ready) s.eaten += s.bytes.exchange(0);
    }
  });
  w.thread("peer", [&s, edges] {
    for (int i = 0; i < edges; ++i) s.edge();
  });
  w.thread("timer", [&s] { s.wake(ticket_of(0), Wake::timeout); });
  w.finally([&s, edges] { return s.eaten == edges ? "" : "bytes were never read"; });
}

struct Idle {
  Real word;
  int generation_won[4] = {};
  bool callers_turn = false;  // go_idle refused: an edge is there and the caller reads
  int edges_seen = 0;

  /// The new owner reads, and goes idle again the first time.
  void own(unsigned generation) {
    if (++generation_won[generation] != 1) model::fail("two owners of one idle period");
    if (generation == 1 && !word.go_idle(2)) callers_turn = true;
  }
};

/// The timer has read that the deadline of generation 1 is past.
void timer_ends_generation_one(Idle& s, bool checks_generation) {
  const std::uint32_t g = s.word.idle_generation();
  if (g == 0 || (checks_generation && g != 1)) return;
  const std::uint32_t claimed = checks_generation ? 1 : s.word.idle_generation();
  if (claimed == 0 || !s.word.claim_idle(claimed)) return;
  if (claimed != 1) model::fail("the timer ended a later idle period");
  s.own(1);
}

void idle_period(World& w, bool checks_generation) {
  auto& s = w.make<Idle>();
  (void)s.word.go_idle(1);
  w.thread("edge", [&s] {
    const auto n = s.word.notify();
    if (!n.start_idle) return;
    ++s.edges_seen;
    s.own(s.generation_won[1] == 0 ? 1 : 2);
  });
  w.thread("timer", [&s, checks_generation] { timer_ends_generation_one(s, checks_generation); });
  w.thread("claim", [&s] {
    const std::uint32_t g = s.word.idle_generation();
    if (g != 0 && s.word.claim_idle(g)) s.own(g);
  });
  w.finally([&s]() -> std::string {
    if (s.generation_won[1] != 1) return "the first idle period did not end once";
    // The edge started an owner, or made go_idle refuse, or is kept.
    if (s.edges_seen != 0 || s.callers_turn || s.word.begin_wait(ticket_of(1)) == Real::Begin::ready) return "";
    return "an edge is lost";
  });
}

}  // namespace

TEST_CASE("poll word: no edge is lost to a time-out", "[model][poll]") {
  for (const int edges : {1, 2}) {
    const model::Outcome o = model::explore({}, [edges](World& w) { reader_with_a_timeout<Real>(w, edges); });
    INFO(o.report);
    CHECK_FALSE(o.failed);
    CHECK(o.complete);
    CHECK(o.executions > 10);
  }
}

TEST_CASE("poll word: shutdown ends a wait that is beginning, waiting or ending", "[model][poll]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = w.make<Stream<Real>>();
    w.thread("reader", [&s] {
      unsigned number = 0;
      while (number < 4 && s.wait(number) != Wake::canceled) ++number;
      if (number == 4) model::fail("a reader outlives the shutdown");
    });
    w.thread("peer", [&s] { s.edge(); });
    w.thread("shutdown", [&s] { s.shut_down(); });
    w.finally([&s] { return s.word.closed() ? "" : "closed is final"; });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("poll word: an idle period has one owner and no edge is lost", "[model][poll]") {
  const model::Outcome o = model::explore({.spurious = 2}, [](World& w) { idle_period(w, true); });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 50);
}

TEST_CASE("poll word: two claims, one owner", "[model][poll]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = w.make<Idle>();
    (void)s.word.go_idle(1);
    auto& winners = w.make<Atomic<int>>();
    for (const char* name : {"drain", "reclaim"})
      w.thread(name, [&s, &winners] {
        const std::uint32_t g = s.word.idle_generation();
        if (g != 0 && s.word.claim_idle(g)) winners.fetch_add(1);
      });
    w.thread("edge", [&s, &winners] {
      if (s.word.notify().start_idle) winners.fetch_add(1);
    });
    w.finally([&winners] { return winners.peek() == 1 ? "" : "not exactly one owner"; });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("poll word: the explorer catches the mistakes it is there for", "[model][poll][teeth]") {
  CHECK(model::explore({}, [](World& w) { reader_with_a_timeout<DropsReady>(w, 1); }).failed);
  CHECK(model::explore({}, [](World& w) { idle_period(w, false); }).failed);
}
