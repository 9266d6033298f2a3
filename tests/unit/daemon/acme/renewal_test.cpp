#include "daemon/acme/renewal.hpp"

#include <catch2/catch.hpp>

#include "daemon/acme/order.hpp"

using namespace fiberd::daemon::acme;
using std::chrono::seconds;

static constexpr std::int64_t kDay = 86'400;

TEST_CASE("a certificate is renewed when a third of its life is left, or a little earlier", "[acme]") {
  CHECK(renewal_time(0, 90 * kDay, {}, 0) == 60 * kDay);
  CHECK(renewal_time(0, 90 * kDay, {}, 1) == 57 * kDay);
  CHECK(renewal_time(0, 6 * kDay, {}, 0) == 4 * kDay);
  CHECK(renewal_time(10, 5, {}, 0.5) == 5);
}

TEST_CASE("the authority's window is kept to, but for one that is too late", "[acme]") {
  CHECK(renewal_time(0, 90 * kDay, RenewalWindow{70 * kDay, 72 * kDay}, 0.5) == 71 * kDay);
  CHECK(renewal_time(0, 90 * kDay, RenewalWindow{-5, -1}, 0.5) == -3);
  CHECK(renewal_time(0, 100 * kDay, RenewalWindow{200 * kDay, 300 * kDay}, 0.5) == 95 * kDay);
}

TEST_CASE("who is refused asks less and less often", "[acme]") {
  const Trouble plain{Reason::unreachable, "x"};
  CHECK(pause_after(1, plain, 0.5) == seconds(60));
  CHECK(pause_after(2, plain, 0.5) == seconds(120));
  CHECK(pause_after(1, plain, 0) == seconds(45));
  CHECK(pause_after(1, plain, 1) == seconds(75));
  CHECK(pause_after(100, plain, 0.5) == seconds(6 * 3600));
  CHECK(pause_after(0, plain, 0.5) == seconds(60));
  // What the authority asks for is the least.
  CHECK(pause_after(1, {Reason::busy, "x", "", seconds(7200)}, 0.5) == seconds(7200));
  CHECK(pause_after(1, {Reason::busy, "x", "", seconds(1)}, 0.5) == seconds(60));
  CHECK(pause_after(1, {Reason::rate_limited, "x"}, 0.5) == seconds(3600));
  CHECK(pause_after(1, {Reason::rate_limited, "x", "", seconds(86'400)}, 0.5) == seconds(86'400));
  CHECK(pause_after(1, {Reason::rate_limited, "x", "", seconds(999'999'999)}, 0.5) == seconds(36 * 3600));
}

TEST_CASE("after one was issued there is a rest, whatever its dates say", "[acme]") {
  CHECK(rest_after(-100) == 60);
  CHECK(rest_after(30) == 60);
  CHECK(rest_after(600) == 200);
  CHECK(rest_after(90 * kDay) == 3600);
}

TEST_CASE("each thing that an authority does is waited for from the beginning", "[acme]") {
  Pace pace(kFirstLook);
  CHECK(pace.next(seconds(0)) == seconds(1));
  CHECK(pace.next(seconds(0)) == seconds(2));
  for (int i = 0; i < 10; ++i) (void)pace.next(seconds(0));
  CHECK(pace.next(seconds(0)) == kLongestLook);
  CHECK(pace.next(seconds(60)) == seconds(60));
  CHECK(pace.next(seconds(86'400)) == seconds(120));
  pace.begin();
  CHECK(pace.next(seconds(0)) == seconds(1));
}
