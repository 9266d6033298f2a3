#include "core/http/h1/retire_time.hpp"

#include <catch2/catch.hpp>
#include <cstdint>

using namespace fiberd;
using namespace fiberd::http;
using namespace std::chrono_literals;

static constexpr std::int64_t kDay = std::chrono::nanoseconds(24h).count();
// Behind where the units begin anew, for one.
static constexpr std::int64_t kBegins[] = {1, 5'000'000'000, (std::int64_t{1} << 56U) - 1, 2000 * kDay};

TEST_CASE("a connection is retired once its age is over, not before, and not much later", "[retire]") {
  for (const std::int64_t begin : kBegins)
    for (const std::chrono::nanoseconds age : {1ns, 16'777'216ns, 100'000'000ns, std::chrono::nanoseconds(24h)}) {
      const RetireTime t = RetireTime::after(begin, age);
      CHECK_FALSE(t.passed(begin));
      CHECK_FALSE(t.passed(begin + age.count() - 1));
      CHECK(t.passed(begin + age.count() + 34'000'000));
    }
}

TEST_CASE("a clock that is behind the one of accept retires nothing", "[retire]") {
  for (const std::int64_t begin : kBegins)
    for (const std::int64_t behind : {std::int64_t{40'000'000}, std::int64_t{1'000'000'000}, 3 * kDay}) {
      CHECK_FALSE(RetireTime::late(begin).passed(begin - behind));
      CHECK_FALSE(RetireTime::after(begin, std::chrono::nanoseconds(24h)).passed(begin - behind));
      CHECK_FALSE(RetireTime::after(begin, std::chrono::nanoseconds::max()).passed(begin - behind));
    }
}

TEST_CASE("what has no age lives for a year at least", "[retire]") {
  for (const std::int64_t begin : kBegins) {
    CHECK_FALSE(RetireTime::late(begin).passed(begin + 365 * kDay));
    CHECK_FALSE(RetireTime::after(begin, std::chrono::nanoseconds::max()).passed(begin + 365 * kDay));
  }
}
