// Every interleaving of a parking fiber with its wakers, and with a walker of its stack.
#include <catch2/catch.hpp>

#include "core/runtime/status_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;
using runtime::State;
using runtime::WaitReason;
using runtime::Wake;

namespace {

using Real = runtime::BasicStatusWord<Atomic>;

/// What a waker does with the fiber is what the runtime does: see wake() and finish_switch().
template <class Word>
struct Fiber {
  Word word;
  Atomic<std::uint32_t> ticket{0};  // published sequence
  Atomic<int> queued{0};            // times it stands in a run queue
  int winners = 0;
  Wake winner = Wake::none;
  Wake result = Wake::none;
  bool returned = false;  // the wait ended without leaving the stack
  bool saving = false;    // it stands on its stack or its registers are being saved: nobody may queue it
  bool scanned = false;   // a walker reads its stack
  int rounds = 0;

  void wake(std::uint32_t sequence, Wake cause) {
    const auto r = word.wake(sequence, cause);
    if (r == Word::WakeResult::lost) return;
    ++winners;
    winner = cause;
    if (r == Word::WakeResult::enqueue) enqueue();
  }
  void enqueue() {
    if (saving) model::fail("queued while its registers are being saved");
    if (scanned) model::fail("queued while a walker reads its stack");
    if (queued.fetch_add(1) != 0) model::fail("queued twice");
  }
  /// The fiber's side of park_until and the scheduler's side after the switch. True when it left its stack.
  bool park() {
    word.set_owned(State::running);
    saving = true;
    ticket.store(word.begin_park(WaitReason::test));
    if (word.notified()) {
      saving = false;
      result = word.abandon_park();
      returned = true;
      return false;
    }
    saving = false;  // the switch is done
    if (!word.commit_park()) enqueue();
    return true;
  }
  /// A machine takes it from the queue and runs it.
  void run() {
    queued.wait_while(0);
    if (queued.fetch_sub(1) != 1) model::fail("queued twice");
    if (scanned) model::fail("runs while a walker reads its stack");
    word.set_owned(State::running);
    result = word.cause();
    ++rounds;
  }
};

enum class Mistake { no_sequence_check, blind_commit, ignores_scan };

/// A copy of the protocol with one mistake.
template <Mistake kMistake>
class Broken {
 public:
  enum class WakeResult { lost, deferred, enqueue };
  void set_owned(State s) noexcept { word_.store((word_.load() & ~0xfULL) | static_cast<std::uint64_t>(s)); }
  std::uint32_t begin_park(WaitReason) noexcept {
    const auto seq = static_cast<std::uint32_t>(word_.load() >> 32U) + 1;
    word_.store((std::uint64_t{seq} << 32U) | static_cast<std::uint64_t>(State::parking));
    return seq;
  }
  bool notified() noexcept { return state(word_.load()) == State::notified; }
  Wake abandon_park() noexcept {
    const std::uint64_t w = word_.load();
    set_owned(State::running);
    return cause_of(w);
  }
  bool commit_park() noexcept {
    std::uint64_t w = word_.load();
    if (state(w) == State::parking) {
      if (kMistake == Mistake::blind_commit) {
        word_.store(with(w, State::parked));
        return true;
      }
      if (word_.compare_exchange_strong(w, with(w, State::parked))) return true;
    }
    word_.store(with(w, State::runnable));
    return false;
  }
  Wake cause() noexcept { return cause_of(word_.load()); }
  WakeResult wake(std::uint32_t sequence, Wake cause) noexcept {
    std::uint64_t w = word_.load();
    for (;;) {
      if (kMistake != Mistake::no_sequence_check && static_cast<std::uint32_t>(w >> 32U) != sequence)
        return WakeResult::lost;
      const State s = state(w);
      if (s != State::parking && s != State::parked) return WakeResult::lost;
      const std::uint64_t next =
          with(w, s == State::parking ? State::notified : State::runnable) | static_cast<std::uint64_t>(cause) << 4U;
      if (word_.compare_exchange_weak(w, next))
        return s == State::parked && (kMistake == Mistake::ignores_scan || (w & 64U) == 0) ? WakeResult::enqueue
                                                                                           : WakeResult::deferred;
    }
  }
  bool begin_scan() noexcept {
    std::uint64_t w = word_.load();
    while (state(w) == State::parked && (w & 64U) == 0)
      if (word_.compare_exchange_weak(w, w | 64U)) return true;
    return false;
  }
  bool end_scan() noexcept {
    std::uint64_t w = word_.load();
    while (!word_.compare_exchange_weak(w, w & ~64ULL)) {
    }
    return kMistake != Mistake::ignores_scan && state(w) == State::runnable;
  }

 private:
  static State state(std::uint64_t w) noexcept { return static_cast<State>(w & 0xfU); }
  static Wake cause_of(std::uint64_t w) noexcept { return static_cast<Wake>(w >> 4U & 3U); }
  static std::uint64_t with(std::uint64_t w, State s) noexcept { return (w & ~0xfULL) | static_cast<std::uint64_t>(s); }
  Atomic<std::uint64_t> word_{0};
};

/// One wait; three wakers that hold its ticket before the commit or after.
template <class Word>
void one_wait_three_wakers(World& w) {
  auto& f = w.make<Fiber<Word>>();
  w.thread("fiber", [&f] { f.park(); });
  for (const Wake cause : {Wake::ready, Wake::timeout, Wake::canceled})
    w.thread(cause == Wake::ready     ? "ready"
             : cause == Wake::timeout ? "timeout"
                                      : "cancel",
             [&f, cause] { f.wake(f.ticket.wait_while(0), cause); });
  w.finally([&f]() -> std::string {
    if (f.winners != 1) return "not exactly one winner";
    if (f.queued.peek() + (f.returned ? 1 : 0) != 1) return "not queued exactly once";
    const Wake seen = f.returned ? f.result : f.word.cause();
    return seen == f.winner ? "" : "the fiber believes in another winner";
  });
}

/// Two waits; a waker that still holds the first ticket must not end the second.
template <class Word>
void stale_ticket(World& w) {
  auto& f = w.make<Fiber<Word>>();
  w.thread("fiber", [&f] {
    if (f.park()) f.run();
    f.winners = 0;
    f.returned = false;
    if (f.park()) f.run();
    if (f.result != Wake::ready) model::fail("the second wait was ended by the first one's ticket");
  });
  w.thread("waker of both", [&f] {
    f.wake(f.ticket.wait_while(0), Wake::ready);
    f.ticket.wait_while(1);
    f.wake(2, Wake::ready);
  });
  w.thread("late", [&f] { f.wake(f.ticket.wait_while(0) != 0 ? 1 : 0, Wake::timeout); });
}

/// Walker, waker and the machine that runs the fiber, which then waits again.
template <class Word>
void scan(World& w) {
  auto& f = w.make<Fiber<Word>>();
  w.thread("fiber", [&f] {
    if (f.park()) f.run();
    ++f.rounds;
  });
  w.thread("walker", [&f] {
    if (!f.word.begin_scan()) return;
    f.scanned = true;
    (void)f.ticket.load();  // reading takes a while
    f.scanned = false;
    if (f.word.end_scan()) f.enqueue();
  });
  w.thread("waker", [&f] { f.wake(f.ticket.wait_while(0), Wake::ready); });
  w.finally([&f]() -> std::string {
    if (f.queued.peek() != 0) return "queued twice";
    return f.winners == 1 ? "" : "not exactly one winner";
  });
}

}  // namespace

TEST_CASE("park: wake, time-out and cancel race with the commit: one winner, queued once", "[model][park]") {
  const model::Outcome o = model::explore({}, &one_wait_three_wakers<Real>);
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 100);
}

TEST_CASE("park: a stale ticket never ends a later wait", "[model][park]") {
  const model::Outcome o = model::explore({}, &stale_ticket<Real>);
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("park: a wait given up races with its waker", "[model][park]") {
  const model::Outcome o = model::explore({.spurious = 2}, [](World& w) {
    auto& f = w.make<Fiber<Real>>();
    w.thread("fiber", [&f] {
      f.ticket.store(f.word.begin_park(WaitReason::test));
      f.result = f.word.abandon_park();
    });
    for (int i = 0; i < 2; ++i) w.thread("waker", [&f] { f.wake(f.ticket.wait_while(0), Wake::ready); });
    w.finally([&f]() -> std::string {
      if (f.queued.peek() != 0) return "queued though it never left";
      if (f.winners > 1) return "two winners";
      return (f.result == Wake::ready) == (f.winners == 1) ? "" : "waker and fiber disagree";
    });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("scan bit: queued exactly once and never while scanned", "[model][scan]") {
  const model::Outcome o = model::explore({.spurious = 2}, &scan<Real>);
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 50);
}

TEST_CASE("scan bit: two walkers and two wakers", "[model][scan]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& f = w.make<Fiber<Real>>();
    w.thread("fiber", [&f] {
      if (f.park()) f.run();
    });
    auto& scans = w.make<Atomic<int>>();
    for (int i = 0; i < 2; ++i)
      w.thread("walker", [&f, &scans] {
        if (!f.word.begin_scan()) return;
        if (scans.fetch_add(1) != 0) model::fail("two walkers at once");
        scans.fetch_sub(1);
        if (f.word.end_scan()) f.enqueue();
      });
    w.thread("waker", [&f] { f.wake(f.ticket.wait_while(0), Wake::ready); });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("park and scan: the explorer catches the mistakes it is there for", "[model][park][teeth]") {
  CHECK(model::explore({}, &stale_ticket<Broken<Mistake::no_sequence_check>>).failed);
  CHECK(model::explore({}, &one_wait_three_wakers<Broken<Mistake::blind_commit>>).failed);
  CHECK(model::explore({}, &scan<Broken<Mistake::ignores_scan>>).failed);
}
