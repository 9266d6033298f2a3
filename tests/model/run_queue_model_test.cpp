// Every interleaving of the run queue's owner with two thieves.
#include <catch2/catch.hpp>
#include <vector>

#include "core/runtime/run_queue.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

using Queue = runtime::BasicRunQueue<int, 4, Atomic>;

/// The mistakes that the real one avoids.
enum class Mistake { claim_before_copy, pop_without_exchange };

template <Mistake kMistake>
class BrokenQueue {
 public:
  bool push(int* e) noexcept {
    const std::uint32_t tail = tail_.load();
    if (tail - head_.load() >= 4) return false;
    slots_[tail % 4].store(e);
    tail_.store(tail + 1);
    return true;
  }
  int* pop() noexcept {
    std::uint32_t head = head_.load();
    for (;;) {
      if (tail_.load() == head) return nullptr;
      int* const e = slots_[head % 4].load();
      if (kMistake == Mistake::pop_without_exchange) {
        head_.store(head + 1);
        return e;
      }
      if (head_.compare_exchange_weak(head, head + 1)) return e;
    }
  }
  std::uint32_t steal_half(BrokenQueue& into) noexcept {
    const std::uint32_t into_tail = into.tail_.load();
    std::uint32_t head = head_.load();
    for (;;) {
      const std::uint32_t size = tail_.load() - head;
      if (size > 4) {
        head = head_.load();
        continue;
      }
      const std::uint32_t n = size - size / 2;
      if (n == 0) return 0;
      if (kMistake == Mistake::claim_before_copy) {
        if (!head_.compare_exchange_weak(head, head + n)) continue;
        copy(into, into_tail, head, n);
        return n;
      }
      copy(into, into_tail, head, n);
      if (!head_.compare_exchange_weak(head, head + n)) continue;
      into.tail_.store(into_tail + n);
      return n;
    }
  }

 private:
  void copy(BrokenQueue& into, std::uint32_t into_tail, std::uint32_t head, std::uint32_t n) noexcept {
    for (std::uint32_t i = 0; i < n; ++i) into.slots_[(into_tail + i) % 4].store(slots_[(head + i) % 4].load());
    if (kMistake == Mistake::claim_before_copy) into.tail_.store(into_tail + n);
  }
  Atomic<std::uint32_t> head_{0};
  Atomic<std::uint32_t> tail_{0};
  std::array<Atomic<int*>, 4> slots_{};
};

template <class Q>
struct Ring {
  Q owner, thief[2];
  int elements[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  int pushed = 0;
  // Fixed room: an abandoned run must own nothing. [0]: the owner's pops; [1], [2]: the thieves'.
  int got[3][8] = {};
  int count[3] = {};

  void push_next() {
    if (owner.push(&elements[pushed])) ++pushed;
  }
  void take(int who, const int* e) {
    if (e != nullptr && count[who] < 8) got[who][count[who]++] = *e;
  }
  /// At the end: what is left in the queues belongs to their owners; everything once, and in order for each.
  std::string check() {
    Q* const queues[] = {&owner, &thief[0], &thief[1]};
    int seen[8] = {};
    for (int who = 0; who < 3; ++who) {
      for (const int* e = queues[who]->pop(); e != nullptr && count[who] < 8; e = queues[who]->pop()) take(who, e);
      for (int i = 0; i < count[who]; ++i) {
        ++seen[got[who][i]];
        if (i > 0 && got[who][i] <= got[who][i - 1]) return "a consumer's elements are out of order";
      }
    }
    for (int i = 0; i < pushed; ++i)
      if (seen[i] != 1) return seen[i] == 0 ? "an element is lost" : "an element is doubled";
    return "";
  }
};

/// The ring's indices start next to its end, so that they wrap.
template <class Q>
Ring<Q>& prepared(World& w, int elements) {
  auto& s = w.make<Ring<Q>>();
  static int filler = 0;
  for (int i = 0; i < 3; ++i) {
    (void)s.owner.push(&filler);
    (void)s.owner.pop();
  }
  for (int i = 0; i < elements; ++i) s.push_next();
  w.finally([&s] { return s.check(); });
  return s;
}

template <class Q>
void pops_and_pushes_against_a_thief(World& w) {
  auto& s = prepared<Q>(w, 3);
  w.thread("owner", [&s] {
    s.take(0, s.owner.pop());
    s.push_next();
    s.push_next();
    s.take(0, s.owner.pop());
  });
  w.thread("thief", [&s] {
    s.owner.steal_half(s.thief[0]);
    s.take(1, s.thief[0].pop());
  });
}

template <class Q>
void overwriting_what_a_thief_copies(World& w) {
  auto& s = prepared<Q>(w, 4);
  w.thread("owner", [&s] {
    s.take(0, s.owner.pop());
    s.push_next();
  });
  w.thread("thief", [&s] { s.owner.steal_half(s.thief[0]); });
}

}  // namespace

TEST_CASE("ring: the owner and a thief lose and double nothing", "[model][ring]") {
  const model::Outcome o = model::explore({}, &pops_and_pushes_against_a_thief<Queue>);
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 100);
  const model::Outcome full = model::explore({.spurious = 2}, &overwriting_what_a_thief_copies<Queue>);
  INFO(full.report);
  CHECK_FALSE(full.failed);
  CHECK(full.complete);
}

TEST_CASE("ring: the owner and two thieves", "[model][ring]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = prepared<Queue>(w, 2);
    w.thread("owner", [&s] {
      s.take(0, s.owner.pop());
      s.push_next();
    });
    for (const int t : {0, 1}) w.thread("thief", [&s, t] { s.owner.steal_half(s.thief[t]); });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 1000);
}

TEST_CASE("ring: a thief is stolen from while it steals", "[model][ring]") {
  const model::Outcome o = model::explore({}, [](World& w) {
    auto& s = prepared<Queue>(w, 3);
    w.thread("thief", [&s] {
      s.owner.steal_half(s.thief[0]);
      s.take(1, s.thief[0].pop());
    });
    w.thread("thief of the thief", [&s] { s.thief[0].steal_half(s.thief[1]); });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("ring: a full ring gives half away while a thief steals", "[model][ring]") {
  const model::Outcome o = model::explore({.spurious = 2}, [](World& w) {
    auto& s = prepared<Queue>(w, 4);
    w.thread("owner", [&s] {
      std::array<int*, 2> half{};
      const std::uint32_t n = s.owner.take_half(half);
      for (std::uint32_t i = 0; i < n; ++i) s.take(0, half[i]);
      s.push_next();
    });
    w.thread("thief", [&s] { s.owner.steal_half(s.thief[0]); });
  });
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
}

TEST_CASE("ring: the explorer catches the mistakes it is there for", "[model][ring][teeth]") {
  const model::Outcome claim =
      model::explore({}, &overwriting_what_a_thief_copies<BrokenQueue<Mistake::claim_before_copy>>);
  CHECK(claim.failed);
  const model::Outcome pop =
      model::explore({}, &pops_and_pushes_against_a_thief<BrokenQueue<Mistake::pop_without_exchange>>);
  CHECK(pop.failed);
}
