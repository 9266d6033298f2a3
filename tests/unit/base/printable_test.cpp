#include "core/base/printable.hpp"

#include <catch2/catch.hpp>

#include "core/base/log_limit.hpp"

using namespace fiberd;

TEST_CASE("text of clients becomes printable and bounded", "[base]") {
  using namespace std::string_view_literals;
  CHECK(printable("a b~"sv, 100) == "a b~");
  CHECK(printable("a\n\x1b[31m\0\x7f\xff\\"sv, 100) == "a\\x0a\\x1b[31m\\x00\\x7f\\xff\\x5c");
  CHECK(printable("abc", 3) == "abc");
  CHECK(printable("abcd", 3) == "abc…");
  CHECK(printable("", 0).empty());
}

TEST_CASE("a line a second, and how many were left out", "[base]") {
  constexpr std::int64_t kSecond = 1'000'000'000;
  LogLimit limit;
  CHECK(limit.pass(5) == 0U);
  CHECK_FALSE(limit.pass(6));
  CHECK_FALSE(limit.pass(4 + kSecond));
  CHECK(limit.pass(5 + kSecond) == 2U);
  CHECK_FALSE(limit.pass(6 + kSecond));
  CHECK(limit.pass(9 * kSecond) == 1U);

  LogLimit slow(60 * kSecond);
  CHECK(slow.pass(5) == 0U);
  CHECK_FALSE(slow.pass(59 * kSecond));
  CHECK(slow.pass(61 * kSecond) == 1U);
}
