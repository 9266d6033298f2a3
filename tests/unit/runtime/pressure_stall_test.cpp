#include "core/runtime/pressure_stall.hpp"

#include <catch2/catch.hpp>

#include "tests/support/fake_host.hpp"

using namespace fiberd::runtime;

TEST_CASE("pressure stall: the sums are read", "[pressure]") {
  const char* const text =
      "some avg10=1.50 avg60=0.20 avg300=0.00 total=123456\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=2345\n";
  CHECK(parse_stall_times(text) == StallTimes{123456, 2345});
  CHECK(parse_stall_times("some avg10=0.00 total=7") == StallTimes{7, 0});
  for (const char* const none :
       {"", "some", "some total=", "full avg10=0 total=5\n", "awesome total=5\n", "some total=x\n"})
    CHECK_FALSE(parse_stall_times(none));
  CHECK_FALSE(read_stall_times("/no/such/file"));
  const fiberd::test::FakeHost host;
  host.write("memory.pressure", text);
  CHECK(read_stall_times(host.directory() + "/memory.pressure") == StallTimes{123456, 2345});
}
