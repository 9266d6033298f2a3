#include "core/runtime/idle_set.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using fiberd::runtime::IdleSet;

TEST_CASE("places beyond the first word are covered before they are used", "[idle_set]") {
  fiberd::runtime::BasicIdleSet<1024> set;
  set.cover(1000);
  set.cover(3);
  CHECK_FALSE(set.any_idle());
  set.enter(1000);
  CHECK(set.any_idle());
  CHECK(set.count() == 1);
  CHECK(set.claim_sleeper() == 1000);
  CHECK(set.spinning());
  CHECK_FALSE(set.leave(1000));
}

TEST_CASE("a sleeper is claimed once and brings the spinning token", "[idle_set]") {
  IdleSet set;
  CHECK(set.claim_sleeper() == IdleSet::kNone);
  CHECK_FALSE(set.spinning());
  for (const unsigned index : {0U, 63U, 64U, 255U}) {
    set.cover(index);
    set.enter(index);
    CHECK(set.any_idle());
    CHECK(set.count() == 1);
    CHECK(set.claim_sleeper() == index);
    CHECK(set.spinning());
    CHECK_FALSE(set.leave(index));
    set.stop_spinning();
    CHECK_FALSE(set.any_idle());
  }
}

TEST_CASE("nobody is woken while somebody spins", "[idle_set]") {
  IdleSet set;
  set.enter(3);
  CHECK(set.try_spin());
  CHECK_FALSE(set.try_spin());
  CHECK(set.claim_sleeper() == IdleSet::kNone);
  CHECK(set.count() == 1);
  set.stop_spinning();
  CHECK(set.claim_sleeper() == 3);
}

TEST_CASE("who wakes up by itself leaves the set and brings no token", "[idle_set]") {
  IdleSet set;
  set.enter(5);
  CHECK(set.leave(5));
  CHECK_FALSE(set.leave(5));
  CHECK(set.claim_sleeper() == IdleSet::kNone);
  CHECK_FALSE(set.spinning());
}

TEST_CASE("two submitters never wake the same sleeper, and at most one spins", "[idle_set]") {
  constexpr int kRounds = 100'000;
  IdleSet set;
  std::atomic<int> holders{0};
  std::atomic<int> wrong{0};
  std::atomic<int> claimed{0};
  const auto submit = [&] {
    for (int i = 0; i < kRounds; ++i) {
      set.enter(static_cast<unsigned>(i) % 128);
      const unsigned index = set.claim_sleeper();
      if (index == IdleSet::kNone) continue;
      if (holders.fetch_add(1) != 0) ++wrong;
      ++claimed;
      holders.fetch_sub(1);
      set.stop_spinning();
    }
  };
  std::thread other(submit);
  submit();
  other.join();
  CHECK(wrong == 0);
  CHECK(claimed > 0);
}
