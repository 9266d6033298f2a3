// Every interleaving of fibers that lock and unlock a Mutex, of one that gives up, and of the mutex's end.
#include <catch2/catch.hpp>

#include <array>
#include <utility>

#include "core/base/intrusive_list.hpp"
#include "core/sync/mutex_word.hpp"
#include "tests/model/sync_parts.hpp"

using namespace fiberd;
using model::Atomic;
using model::Mortal;
using model::World;
using runtime::Wake;

namespace {

using Real = sync::BasicMutexWord<Mortal>;
constexpr int kRounds = 6;

/// Around the word: what Mutex does, mutex.cpp. Starvation is a number of waits in vain instead of a time.
template <class Word>
struct Mutex {
  struct Entry : ListHook {
    std::uint64_t me = 0;
    model::Wait* wait = nullptr;
    bool handed = false;
  };
  Word word;
  model::Lock lock;
  List<Entry> queue;
  int patience = kRounds;
  std::array<std::array<model::Wait, kRounds>, 4> waits;  // by fiber and round
  std::array<std::array<Entry, kRounds>, 4> entries;      // they stand on the fibers' stacks
  std::array<std::size_t, 4> next{};
  Atomic<int> inside{0};
  int handed_over = 0;
  int left = 0;  // fibers that still need the mutex; guarded by it

  static auto id(unsigned fiber) {
    return [fiber] { return std::uint64_t{fiber + 1} << Word::kOwnerShift; };
  }
  /// False: given up.
  bool acquire(unsigned fiber) {
    if (word.take_free(id(fiber))) return true;
    const std::uint64_t me = id(fiber)();
    bool woken = false;
    for (int round = 0; next[fiber] < kRounds;) {
      const auto look = word.look(me, woken);
      if (look == Word::Look::taken) return true;
      if (look == Word::Look::again) continue;
      auto& entry = entries[fiber][next[fiber]];
      entry.me = me;
      entry.wait = &waits[fiber][next[fiber]];
      lock.lock();
      if (!word.announce(woken, woken && round >= patience)) {
        lock.unlock();
        continue;
      }
      woken ? queue.push_front(entry) : queue.push_back(entry);
      lock.unlock();
      ++round;
      ++next[fiber];
      if (entry.wait->park() != Wake::ready) {
        lock.lock();
        const bool gone = !entry.linked();
        if (!gone) List<Entry>::remove(entry);
        lock.unlock();
        if (!gone) return false;
      }
      if (entry.handed) return true;
      woken = true;
    }
    model::fail("woken in vain without end");
    return false;
  }
  void release(unsigned fiber) {
    const std::uint64_t seen = word.load();
    if (Word::owner_bits(seen) == id(fiber)() && Word::nobody_to_wake(seen) && word.give_back(seen)) return;
    if (word.owner() << Word::kOwnerShift != id(fiber)()) return model::fail("another than the owner unlocks");
    while (!word.give_back_unless_awaited()) {
      lock.lock();
      Entry* const first = queue.pop_front();
      if (first == nullptr) {
        word.nobody_waits();
        lock.unlock();
        continue;
      }
      model::Wait* const wait = first->wait;
      first->handed = word.wake_or_hand_over(first->me, !queue.empty());
      if (first->handed) ++handed_over;
      lock.unlock();
      wait->end(Wake::ready);
      break;
    }
  }
  /// True: this fiber was the last that needs the mutex.
  bool section(unsigned fiber) {
    if (!acquire(fiber)) return false;
    if (inside.fetch_add(1) != 0) model::fail("two fibers hold the mutex");
    inside.fetch_sub(1);
    const bool last = --left == 0;
    release(fiber);
    return last;
  }
  std::string end() {
    if (!queue.empty()) return "a fiber is left in the queue";
    if (word.owner() != 0) return "somebody is left as the owner";
    // kWaiting may stand for one that gave up; kWoken would keep every later waiter asleep.
    return (word.raw().peek() & 2U) == 0 ? "" : "kWoken stands and nobody competes";
  }
};

/// `fibers` lock `times` each.
template <class Word>
void lockers(World& w, unsigned fibers, int times, int patience, int* handed = nullptr) {
  auto& m = w.make<Mutex<Word>>();
  m.patience = patience;
  for (unsigned f = 0; f < fibers; ++f)
    w.thread("locker", [&m, f, times] {
      for (int i = 0; i < times; ++i) m.section(f);
    });
  w.finally([&m, handed] {
    if (handed != nullptr) *handed += m.handed_over;
    return m.end();
  });
}

/// The last of `fibers` gives up: its first wait, or the next when the first was over.
template <class Word>
void one_gives_up(World& w, unsigned fibers, int patience) {
  auto& m = w.make<Mutex<Word>>();
  m.patience = patience;
  for (unsigned f = 0; f < fibers; ++f) w.thread("locker", [&m, f] { m.section(f); });
  w.thread("canceler", [&m, fibers] {
    if (!m.waits[fibers - 1][0].end(Wake::canceled)) m.waits[fibers - 1][1].end(Wake::canceled);
  });
  w.finally([&m] { return m.end(); });
}

/// Whoever needs it last destroys it after its unlock; a fiber before it may still be in its own. `visitor`: one more
/// fiber waits until it is told to give up; it is counted as one that needs the mutex until it has given up.
template <class Word>
void destroyed_by_the_last(World& w, unsigned fibers, bool visitor) {
  auto& m = w.make<Mutex<Word>>();
  auto& gone = w.make<Atomic<int>>();  // the visitor
  if (!visitor) gone.store(1);
  m.left = static_cast<int>(fibers);
  for (unsigned f = 0; f < fibers; ++f)
    w.thread("locker", [&m, &gone, f] {
      if (!m.section(f)) return;
      gone.wait_while(0);
      m.word.raw().destroy();
      m.lock.destroy();
    });
  if (!visitor) return;
  w.thread("visitor", [&m, &gone, fibers] {
    if (m.acquire(fibers)) m.release(fibers);
    gone.store(1);
  });
  w.thread("canceler", [&m, fibers] { m.waits[fibers][0].end(Wake::canceled); });
}

/// Mistakes, one each.
struct ForgetsTheOthers : Real {
  bool wake_or_hand_over(std::uint64_t first, bool) { return Real::wake_or_hand_over(first, false); }
};
struct StaysWoken : Real {
  Look look(std::uint64_t me, bool) { return Real::look(me, false); }
};
struct HangsWhileFree : Real {
  bool announce(bool woken, bool starving) {
    (void)Real::announce(woken, starving);
    return true;
  }
};
/// Gives back under the lock when all have given up.
struct GivesBackUnderTheLock : Real {
  bool given = false;
  void nobody_waits() {
    Real::nobody_waits();
    given = Real::give_back_unless_awaited();
  }
  bool give_back_unless_awaited() { return std::exchange(given, false) || Real::give_back_unless_awaited(); }
};

void expect_good(const model::Outcome& o) {
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 20);
}

}  // namespace

TEST_CASE("mutex: two fibers, twice each", "[model][mutex]") {
  expect_good(model::explore({}, [](World& w) { lockers<Real>(w, 2, 2, kRounds); }));
}

TEST_CASE("mutex: three fibers compete, three preemptions", "[model][mutex]") {
  expect_good(model::explore({.preemptions = 3}, [](World& w) { lockers<Real>(w, 3, 1, kRounds); }));
}

TEST_CASE("mutex: who was woken in vain is handed it", "[model][mutex]") {
  int handed = 0;
  expect_good(model::explore({.preemptions = 3}, [&handed](World& w) { lockers<Real>(w, 3, 2, 1, &handed); }));
  CHECK(handed > 0);
}

TEST_CASE("mutex: a waiter gives up", "[model][mutex]") {
  expect_good(model::explore({}, [](World& w) { one_gives_up<Real>(w, 2, kRounds); }));
}

TEST_CASE("mutex: a waiter among others gives up, or when it asked for the hand-over; two preemptions",
          "[model][mutex]") {
  expect_good(model::explore({.preemptions = 2}, [](World& w) { one_gives_up<Real>(w, 3, kRounds); }));
  expect_good(model::explore({.preemptions = 2}, [](World& w) { one_gives_up<Real>(w, 3, 1); }));
}

TEST_CASE("mutex: the last one destroys it", "[model][mutex]") {
  expect_good(model::explore({}, [](World& w) { destroyed_by_the_last<Real>(w, 2, false); }));
  expect_good(model::explore({.preemptions = 2}, [](World& w) { destroyed_by_the_last<Real>(w, 2, true); }));
  expect_good(model::explore({.preemptions = 2}, [](World& w) { destroyed_by_the_last<Real>(w, 3, false); }));
}

TEST_CASE("mutex: the explorer catches the mistakes it is there for", "[model][mutex][teeth]") {
  CHECK(model::explore({.preemptions = 3}, [](World& w) { lockers<ForgetsTheOthers>(w, 3, 1, kRounds); }).failed);
  CHECK(model::explore({}, [](World& w) { lockers<StaysWoken>(w, 2, 1, kRounds); }).failed);
  CHECK(model::explore({}, [](World& w) { lockers<HangsWhileFree>(w, 2, 1, kRounds); }).failed);
  CHECK(model::explore({.preemptions = 3}, [](World& w) {
          destroyed_by_the_last<GivesBackUnderTheLock>(w, 2, true);
        }).failed);
}
