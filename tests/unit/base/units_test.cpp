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

TEST_CASE("durations of several parts have one way to be written", "[units]") {
  using namespace std::chrono_literals;
  CHECK(parse_duration("1m30s") == 90s);
  CHECK(parse_duration("1h30m") == 90min);
  CHECK(parse_duration("1d") == 24h);
  CHECK(parse_duration("1d12h") == 36h);
  CHECK(parse_duration("1s500ms") == 1500ms);
  CHECK(parse_duration("500ms") == 500ms);
  CHECK(parse_duration("1.5s") == 1500ms);
  CHECK(parse_duration("0.999999999d") == 86'399'999'913'600ns);
  CHECK(parse_duration("90s") == 90s);
  CHECK(parse_duration("106751d") == 106'751 * 24h);
  for (const char* const wrong : {"",           "1",
                                  "s",          "1s1m",
                                  "1m1m",       "1m60s",
                                  "1m90s",      "1.5m30s",
                                  "1m1.5s",     "1m05s",
                                  "1.5.s",      "1.s",
                                  ".5s",        "1 s",
                                  "1m 30s",     "1m30",
                                  "1h-5m",      "-1s",
                                  "+1s",        "106752d",
                                  "106751d24h", "99999999999999999999s",
                                  "1w",         "1M",
                                  "1sm"}) {
    INFO(wrong);
    CHECK_FALSE(parse_duration(wrong).has_value());
  }
  CHECK(format_duration(24h) == "1d");
  CHECK(format_duration(90s) == "90s");
}
