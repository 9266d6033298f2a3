#include "core/runtime/poller.hpp"

#include <catch2/catch.hpp>
#include <memory>

using namespace fiberd::runtime;

TEST_CASE("a wake-up that another took while it polled for the owner is given back", "[poller]") {
  Poller poller;
  REQUIRE(poller.open());
  const auto events = std::make_unique<Poller::Events>();
  REQUIRE(poller.wait(*events, 0) == 0);
  poller.wake();
  const int taken =
      poller.wait(*events, 0);  // sysmon, or the last spinner, looking after a busy Processor's descriptors
  REQUIRE(taken == 1);
  CHECK(poller.deliver(*events, taken, true) == 0);
  const int seen = poller.wait(*events, 0);  // the Processor itself, about to sleep
  CHECK(seen == 1);
  CHECK(poller.deliver(*events, seen) == 0);
  CHECK(poller.wait(*events, 0) == 0);  // its own wake-up it keeps
  CHECK(poller.wakeups.load() == 1);
}
