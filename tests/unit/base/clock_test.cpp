#include "core/base/clock.hpp"

#include <catch2/catch.hpp>
#include <chrono>

using namespace fiberd;
using namespace std::chrono_literals;

constexpr auto kEver = std::chrono::nanoseconds::max();
constexpr auto kPast = std::chrono::nanoseconds::min();

static_assert(time_after(5, 7ns) == 12 && time_after(5, -7ns) == -2);
static_assert(time_after(5, kEver) == INT64_MAX && time_after(INT64_MAX, 1ns) == INT64_MAX);
static_assert(time_after(-5, kPast) == INT64_MIN && time_after(INT64_MAX, kPast) == -1);
static_assert(Deadline::after(5, kEver).is_never() && Deadline::after(5, kEver - 5ns).is_never());
static_assert(!Deadline::after(5, kEver - 6ns).is_never());
static_assert(Deadline::after(5, kPast) == Deadline::at(0) && Deadline::after(5, -4ns) == Deadline::at(1));

TEST_CASE("the end of a time that overflows is never, or the past", "[clock]") {
  CHECK(Deadline::in(kEver).is_never());
  CHECK(Deadline::in(kEver - 1ns).is_never());
  CHECK(Deadline::in(kPast).ns() <= monotonic_now());
  // As far as the clock reaches, and what is left until then can be told.
  const Deadline far = Deadline::in(std::chrono::hours(24 * 365 * 100));
  CHECK_FALSE(far.is_never());
  CHECK(far.ns() - monotonic_now() > 0);
  CHECK(Deadline::in(kPast).ns() - monotonic_now() < 0);
}
