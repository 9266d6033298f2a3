#include "core/http/date.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd::http;

namespace {
std::string formatted(std::time_t t) {
  std::string s(kDateSize, '\0');
  format_date(t, s.data());
  return s;
}
constexpr std::time_t kExample = 784111777;  // the moment of RFC 9110's examples
}  // namespace

TEST_CASE("date: format agrees with strftime", "[http]") {
  CHECK(formatted(kExample) == "Sun, 06 Nov 1994 08:49:37 GMT");
  std::size_t wrong = 0;
  for (std::time_t t = -62167219200; t < 253402300799; t += 98765432) {
    std::tm tm{};
    ::gmtime_r(&t, &tm);
    char text[40];
    const std::size_t n = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    // strftime does not pad the year.
    if (n == kDateSize && formatted(t) != text) ++wrong;
    if (parse_date(formatted(t), kExample) != t) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("date: the three forms", "[http]") {
  CHECK(parse_date("Sun, 06 Nov 1994 08:49:37 GMT", kExample) == kExample);
  CHECK(parse_date("Sunday, 06-Nov-94 08:49:37 GMT", kExample) == kExample);
  CHECK(parse_date("Sun Nov  6 08:49:37 1994", kExample) == kExample);
  CHECK(parse_date("Wednesday, 06-Nov-75 00:00:00 GMT", 1760000000) == parse_date("Thu, 06 Nov 2075 00:00:00 GMT", 0));
  CHECK(parse_date("Wednesday, 06-Nov-77 00:00:00 GMT", 1760000000) == parse_date("Sun, 06 Nov 1977 00:00:00 GMT", 0));
}

TEST_CASE("date: malformed", "[http]") {
  for (const char* text :
       {"", "Sun", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Xxx, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sunnyday, 06-Nov-94 08:49:37 GMT", "Sun, 29 Feb 2023 00:00:00 GMT", "Sun, 00 Nov 1994 08:49:37 GMT"}) {
    INFO(text);
    CHECK_FALSE(parse_date(text, kExample).has_value());
  }
}

TEST_CASE("date: the cache changes with the second", "[http]") {
  DateCache cache(kExample);
  CHECK(cache.text() == "Sun, 06 Nov 1994 08:49:37 GMT");
  cache.update(kExample + 1);
  CHECK(cache.text() == "Sun, 06 Nov 1994 08:49:38 GMT");
}
