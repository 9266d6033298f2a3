// Every interleaving of readers and stores of an AtomicSnapshot: a version lives while it is held, is destroyed exactly
// once, and nobody goes back in time.
#include <catch2/catch.hpp>

#include <array>
#include <memory>

#include "core/sync/snapshot_words.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;

namespace {

constexpr std::uint32_t kNone = ~0U;

struct Slots {
  std::array<Atomic<std::int64_t>, 4> counts;
  Atomic<std::int64_t>& count(std::uint32_t index) noexcept { return counts[index]; }
};

template <unsigned kShards>
using Real = sync::BasicSnapshotWords<Slots, kShards, Atomic>;

/// What atomic_snapshot.hpp does around the words. What the checks read are model variables too, so that the explorer
/// visits every order of a reader's use and a version's end.
template <class Words>
struct Snapshot {
  Slots slots;
  Words words{slots};
  std::array<Atomic<int>, 4> version{1, 0, 0, 0};  // by index: the number of the store, unlike the index; 0: no value
  Atomic<int> latest{1};                           // version

  void destroy(std::uint32_t index) {
    if (version[index].exchange(0) == 0) model::fail("destroyed twice");
  }
  /// `floor`: a version that was there when the read began.
  std::uint32_t acquire(std::uint32_t shard, int& floor) {
    const auto a = words.acquire(shard);
    if (a.freed != kNone) destroy(a.freed);
    const int v = version[a.index].load();
    if (v == 0) model::fail("a held version is dead");
    if (v < floor) model::fail("went back in time");
    floor = v;
    return a.index;
  }
  void release(std::uint32_t shard, std::uint32_t index) {
    if (words.release(shard, index)) destroy(index);
  }
  void store() {
    std::uint32_t index = 0;
    while (index < 4 && version[index].peek() != 0) ++index;
    if (index == 4) return model::fail("no slot is free");
    const int mine = latest.peek() + 1;
    version[index].store(mine);
    slots.counts[index].store(0);
    const std::uint32_t dead = words.publish(index);
    latest.store(mine);
    if (dead != kNone) destroy(dead);
  }
  std::string end() {
    // All that is left is the current version, unread.
    int alive = 0;
    for (const auto& v : version) alive += v.peek() != 0 ? 1 : 0;
    if (alive != 1) return std::to_string(alive) + " versions are left";
    if (version[words.current()].peek() != latest.peek()) return "the current version is not the last stored";
    return words.readers() == 0 ? "" : "readers are left";
  }
};

/// A reader whose guard is dropped on another shard than it was taken, reading twice; stores meanwhile.
template <class Words, unsigned kShards>
void readers_and_stores(World& w, int readers, int reads, int stores) {
  auto& s = w.make<Snapshot<Words>>();
  for (int r = 0; r < readers; ++r)
    w.thread("reader", [&s, r, reads] {
      int floor = 0;
      for (int i = 0; i < reads; ++i) {
        floor = std::max(floor, s.latest.load());
        const auto here = static_cast<std::uint32_t>(r + i) % kShards;
        const std::uint32_t index = s.acquire(here, floor);
        s.release((here + 1) % kShards, index);
      }
    });
  w.thread("writer", [&s, stores] {
    for (int i = 0; i < stores; ++i) s.store();
  });
  w.finally([&s] { return s.end(); });
}

void expect_good(const model::Outcome& o) {
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 20);
}

/// Copies of the protocol with one mistake each.
enum class Mistake { forgets_main, trusts_shard, returns_to_anybody, adds_piecemeal };

template <Mistake kMistake, unsigned kShards>
class Broken {
 public:
  explicit Broken(Slots& slots) : slots_(slots) {}
  struct Acquired {
    std::uint32_t index, freed;
  };
  Acquired acquire(std::uint32_t shard) {
    const std::uint32_t seen = index_of(shards_[shard].fetch_add(1));
    if (kMistake == Mistake::trusts_shard || seen == index_of(main_.load())) return {seen, kNone};
    const std::uint32_t current = index_of(main_.fetch_add(1));
    return {current, release(shard, seen) ? seen : kNone};
  }
  bool release(std::uint32_t shard, std::uint32_t index) {
    std::uint64_t w = shards_[shard].load();
    if ((kMistake == Mistake::returns_to_anybody || index_of(w) == index) && (w & 0xffff'ffff'ffff) != 0 &&
        shards_[shard].compare_exchange_strong(w, w - 1))
      return false;
    return slots_.count(index).fetch_sub(1) == 1;
  }
  std::uint32_t publish(std::uint32_t index) {
    const std::uint64_t fresh = std::uint64_t{index} << 48U;
    const std::uint64_t w = main_.exchange(fresh);
    std::uint64_t sum = kMistake == Mistake::forgets_main ? 0 : w & 0xffff'ffff'ffff;
    if (kMistake == Mistake::adds_piecemeal) slots_.count(index_of(w)).fetch_add(static_cast<std::int64_t>(sum));
    if (kMistake == Mistake::adds_piecemeal) sum = 0;
    for (auto& shard : shards_) sum += shard.exchange(fresh) & 0xffff'ffff'ffff;
    const auto moved = static_cast<std::int64_t>(sum);
    return slots_.count(index_of(w)).fetch_add(moved) == -moved ? index_of(w) : kNone;
  }
  std::uint32_t current() const { return index_of(main_.peek()); }
  std::int64_t readers() const { return 0; }

 private:
  static std::uint32_t index_of(std::uint64_t w) { return static_cast<std::uint32_t>(w >> 48U); }
  Slots& slots_;
  Atomic<std::uint64_t> main_{0};
  std::array<Atomic<std::uint64_t>, kShards> shards_{};
};

}  // namespace

TEST_CASE("snapshot: two readers on one shard and a store", "[model][snapshot]") {
  expect_good(model::explore({}, [](World& w) { readers_and_stores<Real<1>, 1>(w, 2, 1, 1); }));
}

TEST_CASE("snapshot: two readers that change shards, and two stores", "[model][snapshot]") {
  expect_good(model::explore({}, [](World& w) { readers_and_stores<Real<2>, 2>(w, 2, 1, 2); }));
}

TEST_CASE("snapshot: a reader that reads three times on two shards, and two stores", "[model][snapshot]") {
  expect_good(model::explore({}, [](World& w) { readers_and_stores<Real<2>, 2>(w, 1, 3, 2); }));
}

TEST_CASE("snapshot: three readers on one shard and a store, three preemptions", "[model][snapshot]") {
  expect_good(model::explore({.preemptions = 3}, [](World& w) { readers_and_stores<Real<1>, 1>(w, 3, 1, 1); }));
}

TEST_CASE("snapshot: the explorer catches the mistakes it is there for", "[model][snapshot][teeth]") {
  CHECK(
      model::explore({}, [](World& w) { readers_and_stores<Broken<Mistake::forgets_main, 1>, 1>(w, 2, 1, 2); }).failed);
  CHECK(
      model::explore({}, [](World& w) { readers_and_stores<Broken<Mistake::trusts_shard, 2>, 2>(w, 1, 2, 1); }).failed);
  CHECK(model::explore({}, [](World& w) {
          readers_and_stores<Broken<Mistake::returns_to_anybody, 2>, 2>(w, 2, 1, 1);
        }).failed);
  CHECK(model::explore({}, [](World& w) {
          readers_and_stores<Broken<Mistake::adds_piecemeal, 2>, 2>(w, 3, 1, 2);
        }).failed);
}
