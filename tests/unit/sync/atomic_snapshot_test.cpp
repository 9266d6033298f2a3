#include "core/sync/atomic_snapshot.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "tests/support/allocations.hpp"

using namespace fiberd;
using sync::AtomicSnapshot;

namespace {

/// Knows how many of it live, and whether it is whole.
struct Version {
  static inline std::atomic<int> alive{0};
  explicit Version(int n = 0) : first(n), last(n) { ++alive; }
  Version(const Version& o) : first(o.first), last(o.last) { ++alive; }
  Version& operator=(const Version&) = default;
  ~Version() {
    first = last = -1;
    --alive;
  }
  int first;
  int filler[30]{};
  int last;
};

struct Picky {
  static inline bool throws = false;
  int n = 0;
  explicit Picky(int number = 0) : n(number) {}
  Picky(Picky&& o) : n(o.n) {  // NOLINT: it throws
    if (throws) throw std::runtime_error("no");
  }
};

}  // namespace

TEST_CASE("snapshot: a guard keeps its version, and the last guard ends it", "[sync][snapshot]") {
  REQUIRE(Version::alive == 0);
  {
    AtomicSnapshot<Version> s(Version(1));
    CHECK(Version::alive == 1);
    auto one = s.read();
    auto also_one = s.read();
    s.store(Version(2));
    CHECK(Version::alive == 2);
    CHECK(one->first == 1);
    CHECK(s.read()->first == 2);
    s.store(Version(3));
    CHECK(Version::alive == 2);  // nobody held 2
    { const auto dropped = std::move(one); }
    CHECK(Version::alive == 2);
    CHECK(also_one->first == 1);
    also_one = s.read();
    CHECK(Version::alive == 1);
    CHECK((*also_one).first == 3);
  }
  CHECK(Version::alive == 0);
}

TEST_CASE("snapshot: many versions may be held, and their room is used again", "[sync][snapshot]") {
  {
    AtomicSnapshot<Version> s;
    for (int round = 0; round < 3; ++round) {
      std::vector<AtomicSnapshot<Version>::Guard> held;
      for (int i = 0; i < 500; ++i) {
        s.store(Version(i));
        held.push_back(s.read());
      }
      bool whole = true;
      for (int i = 0; i < 500; ++i) whole = whole && held[static_cast<std::size_t>(i)]->first == i;
      CHECK(whole);
      CHECK(Version::alive == 500);
      // Held in any order: from the middle outwards.
      held.erase(held.begin() + 250, held.end());
      CHECK(Version::alive == 251);
    }
    const std::uint64_t before = test::allocations();
    for (int i = 0; i < 1000; ++i) s.store(Version(i));
    CHECK(test::allocations() == before);
  }
  CHECK(Version::alive == 0);
}

TEST_CASE("snapshot: reading does not allocate, also while a version is replaced", "[sync][snapshot]") {
  AtomicSnapshot<std::string> s(std::string(100, 'a'));
  const auto held = s.read();
  const std::uint64_t before = test::allocations();
  std::size_t sum = 0;
  for (int i = 0; i < 1000; ++i) sum += s.read()->size();
  CHECK(test::allocations() == before);
  CHECK(sum == 100'000);
  static_assert(noexcept(s.read()));
}

TEST_CASE("snapshot: what cannot be moved in changes nothing", "[sync][snapshot]") {
  AtomicSnapshot<Picky> s(Picky(1));
  Picky::throws = true;
  bool thrown = false;
  try {
    s.update([](const Picky&) { return Picky(2); });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  Picky::throws = false;
  CHECK(thrown);
  CHECK(s.read()->n == 1);
  for (int i = 2; i < 20; ++i) s.store(Picky(i));
  CHECK(s.read()->n == 19);
}

TEST_CASE("snapshot: update loses nothing to other writers", "[sync][snapshot]") {
  AtomicSnapshot<int> s(0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&s] {
      for (int i = 0; i < 5'000; ++i) s.update([](const int& n) { return n + 1; });
    });
  for (auto& t : threads) t.join();
  CHECK(*s.read() == 20'000);
}

TEST_CASE("snapshot: update that another store overtakes is asked again", "[sync][snapshot]") {
  AtomicSnapshot<int> s(1);
  int calls = 0;
  s.update([&](const int& n) {
    if (++calls == 1) s.store(10);
    return n + 1;
  });
  CHECK(calls == 2);
  CHECK(*s.read() == 11);
}

TEST_CASE("snapshot: fibers hold guards across parks and threads while versions change", "[sync][snapshot]") {
  static constexpr int kFibers = 40;
  static constexpr int kReads = 400;
  std::atomic<int> torn{0};
  std::atomic<int> backwards{0};
  std::atomic<int> left{kFibers};
  {
    AtomicSnapshot<Version> s;
    auto started = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(started);
    (*started)->run([&] {
      for (int f = 0; f < kFibers; ++f)
        (void)runtime::spawn("reader", [&] {
          int floor = 0;
          for (int i = 0; i < kReads; ++i) {
            auto g = s.read();
            if (g->first < floor) ++backwards;
            floor = g->first;
            runtime::yield();
            auto moved = std::move(g);
            if (moved->first != floor || moved->last != floor) ++torn;
          }
          --left;
        });
      for (int n = 1; left != 0; ++n) {
        s.store(Version(n));
        if (n % 8 == 0) runtime::yield();
      }
    });
    started->reset();
    CHECK(Version::alive == 1);
  }
  CHECK(Version::alive == 0);
  CHECK(torn == 0);
  CHECK(backwards == 0);
}
