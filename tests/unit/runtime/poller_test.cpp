#include "core/runtime/poller.hpp"

#include <catch2/catch.hpp>
#include <memory>

using namespace fiberd::runtime;

TEST_CASE("a wake-up that another took by polling is given back while somebody is to be woken by it", "[poller]") {
  Poller poller;
  REQUIRE(poller.open());
  const auto events = std::make_unique<Poller::Events>();
  REQUIRE(poller.wait(*events, 0) == 0);
  poller.sleeping = true;  // its Processor is on its way to sleep
  poller.wake();
  const int taken = poller.wait(*events, 0);  // sysmon, the last spinner, or a Poller that has adopted this one
  REQUIRE(taken == 1);
  CHECK(poller.deliver(*events, taken) == 0);
  const int seen = poller.wait(*events, 0);  // the Processor itself
  CHECK(seen == 1);
  poller.sleeping = false;
  CHECK(poller.deliver(*events, seen) == 0);
  CHECK(poller.wait(*events, 0) == 0);  // its own wake-up it keeps
  CHECK(poller.wakeups.load() == 1);
}
