#include "core/http/files/conditional.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/http/head.hpp"

using namespace fiberd::http;
using http_test::Head;

namespace {
constexpr std::time_t kNow = 1'000'000'000;     // Sun, 09 Sep 2001 01:46:40 GMT
constexpr std::time_t kModified = 999'999'900;  // Sun, 09 Sep 2001 01:45:00 GMT
const std::string kSame = "Sun, 09 Sep 2001 01:45:00 GMT";
const std::string kBefore = "Sun, 09 Sep 2001 01:44:59 GMT";
const std::string kAfter = "Sun, 09 Sep 2001 01:45:01 GMT";
constexpr Validators kStrong{"\"a\"", kModified};
constexpr Validators kWeak{"W/\"a\"", kModified};

Precondition get(const Head& head, const Validators& v = kStrong, Method method = Method::get) {
  Request r;
  r.method = method;
  r.headers = head.view();
  return evaluate_preconditions(r, v, kNow);
}
constexpr auto kProceed = Precondition::proceed;
constexpr auto kNotModified = Precondition::not_modified;
constexpr auto kFailed = Precondition::failed;
}  // namespace

TEST_CASE("entity tags", "[http][conditional]") {
  for (const char* good : {"\"\"", "\"a\"", "W/\"a\"", "\"a b\"", "\"\xc3\xa9\"", "\"!\""})
    CHECK(is_entity_tag(good) == (std::string(good) != "\"a b\""));  // no blank inside (RFC 9110 section 8.8.3)
  for (const char* bad :
       {"", "a", "\"", "\"a", "a\"", "w/\"a\"", "W/a", "W/ \"a\"", "\"a\"b", "\"a\"\"b\"", "\"\x7f\""})
    CHECK_FALSE(is_entity_tag(bad));
}

TEST_CASE("If-None-Match compares weakly; GET and HEAD get 304, others 412", "[http][conditional]") {
  CHECK(get({{"If-None-Match", "\"a\""}}) == kNotModified);
  CHECK(get({{"If-None-Match", "W/\"a\""}}) == kNotModified);
  CHECK(get({{"If-None-Match", "\"a\""}}, kWeak) == kNotModified);
  CHECK(get({{"If-None-Match", "\"b\", \"a\""}}) == kNotModified);
  CHECK(get({{"If-None-Match", " ,\"b\" ,, W/\"a\" ,"}}) == kNotModified);
  CHECK(get({{"If-None-Match", "\"b\""}, {"If-None-Match", "\"a\""}}) == kNotModified);
  CHECK(get({{"If-None-Match", "*"}}) == kNotModified);
  CHECK(get({{"If-None-Match", "\"a\""}}, kStrong, Method::head) == kNotModified);
  CHECK(get({{"If-None-Match", "\"a\""}}, kStrong, Method::put) == kFailed);
  CHECK(get({{"If-None-Match", "*"}}, kStrong, Method::put) == kFailed);
  CHECK(get({{"If-None-Match", "\"A\""}}) == kProceed);
  CHECK(get({{"If-None-Match", "a"}}) == kProceed);
  CHECK(get({{"If-None-Match", "\"a\" \"b\""}}) == kProceed);
  CHECK(get({{"If-None-Match", "\"a\", *"}}) == kProceed);
  CHECK(get({{"If-None-Match", ""}}) == kProceed);
  CHECK(get({{"If-None-Match", "\"a\""}}, {"", kModified}) == kProceed);
}

TEST_CASE("If-Match compares strongly", "[http][conditional]") {
  CHECK(get({{"If-Match", "\"a\""}}) == kProceed);
  CHECK(get({{"If-Match", "\"b\",\"a\""}}) == kProceed);
  CHECK(get({{"If-Match", "*"}}) == kProceed);
  CHECK(get({{"If-Match", "\"b\""}}) == kFailed);
  CHECK(get({{"If-Match", "W/\"a\""}}) == kFailed);
  CHECK(get({{"If-Match", "\"a\""}}, kWeak) == kFailed);
  CHECK(get({{"If-Match", "a"}}) == kFailed);
  CHECK(get({{"If-Match", "\"a\", x"}}) == kFailed);
}

TEST_CASE("dates", "[http][conditional]") {
  CHECK(get({{"If-Modified-Since", kSame}}) == kNotModified);
  CHECK(get({{"If-Modified-Since", kAfter}}) == kNotModified);
  CHECK(get({{"If-Modified-Since", kBefore}}) == kProceed);
  CHECK(get({{"If-Modified-Since", "Sunday, 09-Sep-01 01:45:00 GMT"}}) == kNotModified);
  CHECK(get({{"If-Modified-Since", "Sun Sep  9 01:45:00 2001"}}) == kNotModified);
  CHECK(get({{"If-Modified-Since", "yesterday"}}) == kProceed);
  CHECK(get({{"If-Modified-Since", kSame}, {"If-Modified-Since", kSame}}) == kProceed);
  CHECK(get({{"If-Modified-Since", kSame}}, kStrong, Method::post) == kProceed);
  CHECK(get({{"If-Modified-Since", kSame}}, {"\"a\"", -1}) == kProceed);
  CHECK(get({{"If-Unmodified-Since", kSame}}) == kProceed);
  CHECK(get({{"If-Unmodified-Since", kAfter}}) == kProceed);
  CHECK(get({{"If-Unmodified-Since", kBefore}}) == kFailed);
  CHECK(get({{"If-Unmodified-Since", "never"}}) == kProceed);
}

TEST_CASE("tags win over dates, and If-Match comes first", "[http][conditional]") {
  CHECK(get({{"If-None-Match", "\"b\""}, {"If-Modified-Since", kAfter}}) == kProceed);
  CHECK(get({{"If-Match", "\"a\""}, {"If-Unmodified-Since", kBefore}}) == kProceed);
  CHECK(get({{"If-Match", "\"b\""}, {"If-None-Match", "\"a\""}}) == kFailed);
  CHECK(get({{"If-Match", "\"a\""}, {"If-None-Match", "\"a\""}}) == kNotModified);
  CHECK(get({{"If-Unmodified-Since", kBefore}, {"If-None-Match", "\"a\""}}) == kFailed);
}

TEST_CASE("If-Range", "[http][conditional]") {
  const auto holds = [](const Head& head, const Validators& v = kStrong, std::time_t now = kNow) {
    return if_range_holds(head.view(), v, now);
  };
  CHECK(holds({}));
  CHECK(holds({{"If-Range", "\"a\""}}));
  CHECK_FALSE(holds({{"If-Range", "\"b\""}}));
  CHECK_FALSE(holds({{"If-Range", "W/\"a\""}}));
  CHECK_FALSE(holds({{"If-Range", "W/\"a\""}}, kWeak));
  CHECK_FALSE(holds({{"If-Range", "\"a\""}}, kWeak));
  CHECK(holds({{"If-Range", kSame}}));
  CHECK_FALSE(holds({{"If-Range", kAfter}}));
  CHECK_FALSE(holds({{"If-Range", kBefore}}));
  CHECK_FALSE(holds({{"If-Range", kSame}}, kStrong, kModified + 1));  // it may change within that second
  CHECK_FALSE(holds({{"If-Range", "\"a\", \"b\""}}));
  CHECK_FALSE(holds({{"If-Range", "nonsense"}}));
  CHECK_FALSE(holds({{"If-Range", "\"a\""}, {"If-Range", "\"a\""}}));
}
