// Every interleaving of those who are done, of those who wait or give up, and of the wait group's end or next use.
#include <catch2/catch.hpp>

#include <array>

#include "core/base/intrusive_list.hpp"
#include "core/sync/wait_group_word.hpp"
#include "tests/model/sync_parts.hpp"

using namespace fiberd;
using model::Atomic;
using model::Mortal;
using model::World;
using runtime::Wake;

namespace {

using Real = sync::BasicWaitGroupWord<Mortal>;

/// Around the word: what WaitGroup does, wait_group.cpp.
template <class Word>
struct Group {
  struct Waiter : ListHook {
    model::Wait* ticket = nullptr;
    bool chained = false;
    Mortal<bool> released{false};
  };
  Word word;
  model::Lock lock;
  List<Waiter> queue;
  std::array<Waiter, 2> waiters;  // they stand on the fibers' stacks
  std::array<model::Wait, 2> waits;
  Atomic<int> work{0};  // parts that are finished
  int bugs = 0;

  void done() {
    const std::int64_t before = word.take_one();
    if (Word::more_left(before) || Word::unwaited_zero(before)) return;
    if (Word::one_too_many(before)) {
      if (word.undo()) wake_all();
      ++bugs;
      return;
    }
    wake_all();
  }
  void wake_all() {
    std::array<Waiter*, 2> chain{};
    std::size_t n = 0;
    lock.lock();
    if (word.end_wait())
      while (Waiter* const w = queue.pop_front()) {
        w->chained = true;
        chain[n++] = w;
      }
    lock.unlock();
    for (std::size_t i = 0; i < n; ++i) {
      model::Wait* const ticket = chain[i]->ticket;
      chain[i]->released.store(true);  // the last touch
      ticket->end(Wake::ready);
    }
  }
  /// True: the counter was zero.
  bool wait(std::size_t i) {
    Waiter& waiter = waiters[i];
    waiter.ticket = &waits[i];
    lock.lock();
    const auto join = word.join(true);
    if (join != Word::Join::waits) {
      lock.unlock();
      return true;
    }
    queue.push_back(waiter);
    lock.unlock();
    bool granted = true;
    if (waits[i].park() != Wake::ready) {
      lock.lock();
      granted = !waiter.linked();
      if (!granted) List<Waiter>::remove(waiter);
      const bool chained = waiter.chained;
      lock.unlock();
      if (granted && chained) waiter.released.wait_while(false);
    }
    waiter.released.destroy();
    return granted;
  }
  void destroy() {
    word.raw().destroy();
    lock.destroy();
  }
};

/// `parts` that are done; one waits, again if it gave up, and destroys the group when the wait is over.
template <class Word>
void destroyed_after_the_wait(World& w, unsigned parts, bool canceled) {
  auto& g = w.make<Group<Word>>();
  g.word.add(parts);
  for (unsigned i = 0; i < parts; ++i)
    w.thread("part", [&g] {
      g.work.fetch_add(1);
      g.done();
    });
  w.thread("waiter", [&g, parts] {
    if (!g.wait(0) && !g.wait(1)) model::fail("nobody ended the second wait");
    if (g.work.load() != static_cast<int>(parts)) model::fail("the wait is over before the work");
    g.destroy();
  });
  if (canceled) w.thread("canceler", [&g] { g.waits[0].end(Wake::canceled); });
  w.finally([&g] { return g.queue.empty() && g.bugs == 0 ? "" : "somebody is left, or a BUG"; });
}

template <class Word>
void two_waiters(World& w, bool canceled) {
  auto& g = w.make<Group<Word>>();
  g.word.add(1);
  w.thread("part", [&g] {
    g.work.fetch_add(1);
    g.done();
  });
  for (std::size_t i = 0; i < 2; ++i)
    w.thread("waiter", [&g, i] {
      if (g.wait(i) && g.work.load() != 1) model::fail("the wait is over before the work");
    });
  if (canceled) w.thread("canceler", [&g] { g.waits[1].end(Wake::canceled); });
  w.finally([&g]() -> std::string {
    if (!g.queue.empty()) return "somebody is left in the queue";
    return g.bugs == 0 && g.word.count() == 0 ? "" : "the counter is not zero";
  });
}

/// One waits, gives up, and adds another part, which it then does and waits for.
template <class Word>
void used_again_after_giving_up(World& w) {
  auto& g = w.make<Group<Word>>();
  g.word.add(1);
  w.thread("part", [&g] { g.done(); });
  w.thread("waiter", [&g] {
    (void)g.wait(0);
    g.word.add(1);
    g.done();
    if (g.wait(1) && g.word.count() != 0) model::fail("the wait is over and the counter not zero");
  });
  w.thread("canceler", [&g] { g.waits[0].end(Wake::canceled); });
  w.finally([&g]() -> std::string {
    if (g.bugs != 0) return "a part that was added is forgotten";
    return g.word.count() == 0 ? "" : "the counter is not zero";
  });
}

/// One done() too many while somebody begins to wait.
template <class Word>
void one_too_many(World& w) {
  auto& g = w.make<Group<Word>>();
  w.thread("misuser", [&g] { g.done(); });
  w.thread("another", [&g] { g.done(); });
  w.thread("waiter", [&g] { (void)g.wait(0); });
  w.finally([&g] { return g.bugs == 2 && g.word.count() == 0 ? "" : "not both were found out"; });
}

/// Mistakes, one each.
struct WaitsForNobody : Real {
  bool end_wait() { return false; }
};
struct ForgetsToUndo : Real {
  bool undo() {
    (void)Real::undo();
    return false;
  }
};
/// As if the counter alone said that it is over: the done() that made it zero has still to come.
struct LooksAtTheCounter : Real {
  Join join(bool willing) { return count() == 0 ? Join::zero : Real::join(willing); }
};
/// end_wait() as a load and a store.
struct ForgetsAnAdd : Real {
  bool end_wait() {
    if (raw().load() != 1) return false;
    raw().store(0);
    return true;
  }
};

void expect_good(const model::Outcome& o) {
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 20);
}

}  // namespace

TEST_CASE("wait group: destroyed as soon as the wait is over", "[model][wait_group]") {
  expect_good(model::explore({}, [](World& w) { destroyed_after_the_wait<Real>(w, 2, false); }));
  expect_good(model::explore({}, [](World& w) { destroyed_after_the_wait<Real>(w, 1, true); }));
  expect_good(model::explore({.preemptions = 4}, [](World& w) { destroyed_after_the_wait<Real>(w, 2, true); }));
}

TEST_CASE("wait group: two wait, and one of them gives up", "[model][wait_group]") {
  expect_good(model::explore({}, [](World& w) { two_waiters<Real>(w, false); }));
  expect_good(model::explore({.preemptions = 4}, [](World& w) { two_waiters<Real>(w, true); }));
}

TEST_CASE("wait group: used again after a wait was given up", "[model][wait_group]") {
  expect_good(model::explore({}, [](World& w) { used_again_after_giving_up<Real>(w); }));
}

TEST_CASE("wait group: done() too many are found out and wake who saw a counter below zero", "[model][wait_group]") {
  expect_good(model::explore({}, [](World& w) { one_too_many<Real>(w); }));
}

TEST_CASE("wait group: the explorer catches the mistakes it is there for", "[model][wait_group][teeth]") {
  CHECK(model::explore({}, [](World& w) { destroyed_after_the_wait<WaitsForNobody>(w, 1, false); }).failed);
  CHECK(model::explore({}, [](World& w) { destroyed_after_the_wait<LooksAtTheCounter>(w, 1, true); }).failed);
  CHECK(model::explore({}, [](World& w) { used_again_after_giving_up<ForgetsAnAdd>(w); }).failed);
  CHECK(model::explore({}, [](World& w) { one_too_many<ForgetsToUndo>(w); }).failed);
}
