// What two looks in a row must agree on.
#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

#include "core/observe/leak_report.hpp"

using namespace fiberd;

TEST_CASE("whom only one of two looks found certain is a suspect, and the page says what is missing", "[leaks]") {
  const auto fiber = [](std::uint64_t id, bool certain) {
    observe::StuckFiber f;
    f.origin.id = id;
    f.parked_at = 7;
    f.certain = certain;
    f.why = "nobody";
    return f;
  };
  std::vector<observe::StuckFiber> first{fiber(3, true), fiber(1, true), fiber(2, false)};
  const std::vector<observe::LostFiber> lost = observe::doubt_the_new(first, {});
  CHECK(lost == std::vector<observe::LostFiber>{{1, 7}, {3, 7}});
  CHECK_FALSE(first[0].certain);

  std::vector<observe::StuckFiber> second{fiber(3, true), fiber(2, true), fiber(1, false)};
  CHECK(observe::doubt_the_new(second, lost) == std::vector<observe::LostFiber>{{2, 7}, {3, 7}});
  CHECK(second[0].certain);
  CHECK(second[0].why == "nobody");
  CHECK_FALSE(second[1].certain);
  CHECK(second[1].why == "nobody (certain when the next look finds it so, too)");
  CHECK_FALSE(second[2].certain);
  CHECK(second[2].why == "nobody");
}
