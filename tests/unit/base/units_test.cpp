#include "core/base/units.hpp"

#include <catch2/catch.hpp>

using namespace fiberd;

TEST_CASE("rates are so many an hour, and come back as they were", "[units]") {
  CHECK(parse_rate("1/s") == 3600U);
  CHECK(parse_rate("12000/s") == 43'200'000U);
  CHECK(parse_rate("30/m") == 1800U);
  CHECK(parse_rate("5/h") == 5U);
  CHECK(parse_rate("0/h") == 0U);
  for (const char* wrong : {"", "5", "/s", "-1/s", "1.5/s", "1/d", "1 /s", "1/ s", "1/ss", "99999999999999999999/s",
                            "18446744073709551615/s"})
    CHECK_FALSE(parse_rate(wrong).has_value());
  for (const char* right : {"1/h", "59/h", "1/m", "59/m", "1/s", "12000/s", "0/s"})
    CHECK(format_rate(*parse_rate(right)) == right);
}
