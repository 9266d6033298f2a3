#include "core/http/h1/rate_guard.hpp"

#include <catch2/catch.hpp>

using fiberd::Deadline;
using fiberd::http::RateGuard;

TEST_CASE("only waiting is held against what was moved", "[http][rate]") {
  static constexpr std::int64_t kSecond = 1'000'000'000;
  RateGuard g;
  CHECK(g.limit(7, 0, kSecond).is_never());
  CHECK(g.limit(7, 100, kSecond) == Deadline::at(7 + kSecond));
  g.note(50, kSecond / 2);
  CHECK(g.limit(7, 100, kSecond) == Deadline::at(7 + kSecond / 2));
  CHECK_FALSE(g.spent(100, kSecond));
  g.note(250, 0);  // three seconds' worth, for nothing
  CHECK(g.limit(7, 100, kSecond) == Deadline::at(7 + 3 * kSecond + kSecond / 2));
  g.note(0, 3 * kSecond + kSecond / 2);
  CHECK(g.spent(100, kSecond));
  CHECK_FALSE(g.spent(0, kSecond));
  CHECK(g.limit(7, 100, kSecond) == Deadline::at(7));
  g.reset();
  CHECK_FALSE(g.spent(100, kSecond));
  g.note(UINT64_MAX / 2, 0);
  CHECK(g.limit(0, 1, 0).ns() == 1'000'000'000 * kSecond);
}
