// The run queue under simulated schedules: one owner and two thieves, who may be interrupted before every access.
#include <catch2/catch.hpp>

#include <array>
#include <string>
#include <vector>

#include "core/runtime/run_queue.hpp"
#include "tests/support/seeds.hpp"
#include "tests/support/yielding_atomic.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

namespace {

constexpr std::uint32_t kCapacity = 8;
constexpr std::size_t kElements = 50;

struct Element {
  std::size_t number = 0;
};
using YieldingQueue = BasicRunQueue<Element, kCapacity, test::YieldingAtomic>;

/// Takes half without a look at the room it has: what does not fit is gone.
class BlindThief : public YieldingQueue {
 public:
  std::uint32_t steal_half(BlindThief& into) noexcept {
    const std::uint32_t n = (size() + 1) / 2;
    std::uint32_t moved = 0;
    std::array<Element*, kCapacity> taken{};
    for (; moved < n; ++moved)
      if ((taken.at(moved) = pop()) == nullptr) break;
    test::may_yield();
    for (std::uint32_t i = 0; i < moved; ++i)
      if (!into.push(taken.at(i))) return i;
    return moved;
  }
};

/// What one fiber took out, in order.
using Taken = std::vector<std::size_t>;

bool increasing(const Taken& taken) {
  for (std::size_t i = 1; i < taken.size(); ++i)
    if (taken[i - 1] >= taken[i]) return false;
  return true;
}

template <class Q>
void owner_and_thieves(std::uint64_t seed) {
  test::yielding_random = Random(seed + 1);
  std::vector<Element> elements(kElements);
  Q mine;
  std::array<Q, 2> theirs;
  Taken popped;
  Taken overflowed;
  std::array<Taken, 2> stolen;
  bool owner_done = false;
  int left = 3;
  (void)spawn("owner", [&] {
    for (std::size_t i = 0; i < kElements; ++i) {
      elements[i].number = i;
      while (!mine.push(&elements[i])) {
        std::array<Element*, kCapacity / 2> half{};
        const std::uint32_t n = mine.take_half(half);
        for (std::uint32_t k = 0; k < n; ++k) overflowed.push_back(half.at(k)->number);
      }
      if (test::yielding_random.below(3) == 0)
        if (const Element* const e = mine.pop()) popped.push_back(e->number);
    }
    owner_done = true;
    --left;
  });
  for (std::size_t t = 0; t < 2; ++t)
    (void)spawn("thief", [&, t] {
      while (!owner_done || mine.size() != 0) {
        // The second thief robs the first one, too.
        Q& victim = t == 1 && test::yielding_random.below(4) == 0 ? theirs[0] : mine;
        (void)victim.steal_half(theirs.at(t));
        for (std::uint32_t n = test::yielding_random.below(6); n > 0; --n)
          if (const Element* const e = theirs.at(t).pop()) stolen.at(t).push_back(e->number);
        yield();
      }
      while (const Element* const e = theirs.at(t).pop()) stolen.at(t).push_back(e->number);
      --left;
    });
  while (left != 0) yield();  // NOLINT(bugprone-infinite-loop): other fibers do it

  std::vector<int> times(kElements, 0);
  for (const Taken* const taken : {&popped, &overflowed, &stolen[0], &stolen[1]})
    for (const std::size_t number : *taken) ++times[number];
  for (std::size_t i = 0; i < kElements; ++i)
    test::invariant(times[i] == 1, "element " + std::to_string(i) + " came " + std::to_string(times[i]) + " times");
  // First in, first out for everybody who takes from one queue only.
  test::invariant(increasing(popped), "the owner popped a younger element first");
  test::invariant(increasing(overflowed), "the overflow is out of order");
  test::invariant(increasing(stolen[0]), "the thief got a younger element first");
}

}  // namespace

TEST_CASE("run queue: nothing is lost or doubled, and all is in order, under 10,000 seeds", "[run_queue][seeds]") {
  test::for_each_simulation(10'000, &owner_and_thieves<YieldingQueue>);
}

TEST_CASE("run queue: the simulation finds a thief that loses elements", "[run_queue][seeds][teeth]") {
  const std::string broken = test::first_broken_seed(
      10'000, [](std::uint64_t seed) { return test::simulate(seed, &owner_and_thieves<BlindThief>); });
  CHECK(broken.find("came 0 times") != std::string::npos);
}
