#include "daemon/memory_levels.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>

#include "core/net/queue_sizes.hpp"
#include "daemon/memory_gate.hpp"
#include "daemon/memory_guard.hpp"
#include "tests/support/no_descriptors.hpp"

using namespace fiberd::daemon;
using namespace std::chrono_literals;
using fiberd::flow::Priority;
using fiberd::runtime::MemoryCharge;
using fiberd::runtime::StallTimes;
using Level = MemoryLevel;

static constexpr std::int64_t kSecond = 1'000'000'000;
static constexpr std::uint64_t kMiB = 1U << 20U;

TEST_CASE("memory levels: where they begin", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  CHECK(at(t, Level::trim) == Approx(0.80));
  CHECK(at(t, Level::shed_low) == Approx(0.90));
  CHECK(at(t, Level::shed_normal) == Approx(0.95));
  CHECK(at(t, Level::shed_high) == Approx(0.98));
  CHECK(at(t, Level::last) == Approx(0.99));
  const MemoryThresholds large = within(t, 4096 * kMiB);
  CHECK(at(large, Level::last) == Approx(0.99));
  const MemoryThresholds small = within(t, 64 * kMiB);
  CHECK(at(small, Level::trim) == Approx(0.80));
  CHECK(at(small, Level::shed_normal) == Approx(59.0 / 64));
  CHECK(at(small, Level::last) == Approx(61.0 / 64));
  CHECK(at(within(t, kMiB), Level::last) == 0);
  const MemoryThresholds narrow = memory_thresholds(98, 99);
  for (std::size_t i = 1; i < kMemoryLevels; ++i) CHECK(narrow[i] > narrow[i - 1]);
  CHECK(narrow.back() < 1);
}

TEST_CASE("memory levels: up at once, down after a calm second", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  struct Look {
    std::int64_t ms;
    double share;
    double expected;
    Level level;
  };
  LevelRule rule;
  for (const Look& look : {
           Look{0, 0.50, 0.50, Level::normal},
           Look{10, 0.79, 0.79, Level::normal},
           Look{20, 0.79, 0.81, Level::trim},         // by what is to be expected
           Look{30, 0.96, 0.96, Level::shed_normal},  // several at once
           Look{35, 0.96, 1.05, Level::shed_high},    // but the last step is for what is there
           Look{40, 0.991, 1.0, Level::last},
           Look{50, 0.94, 0.94, Level::last},           // below, but not for long
           Look{1040, 0.94, 0.94, Level::last},         // 990 ms
           Look{1051, 0.94, 0.94, Level::shed_normal},  // by the margin of two points: 0.93 is where it ends
           Look{1060, 0.92, 0.92, Level::shed_normal},
           Look{1500, 0.951, 0.951, Level::shed_normal},  // again: the second begins anew
           Look{2100, 0.92, 0.92, Level::shed_normal},
           Look{3099, 0.92, 0.92, Level::shed_normal},
           Look{3101, 0.92, 0.92, Level::shed_low},
           Look{3200, 0.76, 0.76, Level::shed_low},
           Look{4300, 0.76, 0.76, Level::trim},  // five points for this one
           Look{5300, 0.74, 0.74, Level::trim},
           Look{6301, 0.74, 0.74, Level::normal},
       }) {
    CAPTURE(look.ms);
    CHECK(rule.look(t, look.share, look.expected, {}, look.ms * 1'000'000) == look.level);
  }
}

TEST_CASE("memory levels: the charge around a threshold does not make them flap", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  LevelRule rule;
  int changes = 0;
  Level before = Level::normal;
  for (int i = 0; i < 6000; ++i) {  // a minute
    const double share = 0.95 + (i % 2 == 0 ? 0.005 : -0.005);
    const Level level = rule.look(t, share, share, {}, std::int64_t{i} * 10'000'000);
    changes += level != before ? 1 : 0;
    before = level;
  }
  CHECK(changes == 1);
}

TEST_CASE("memory levels: time lost waiting for memory is a second signal", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  const auto level = [&](double share, const StallShares& stalls) {
    LevelRule rule;
    return rule.look(t, share, share, stalls, 0);
  };
  CHECK(level(0.1, {0.09, 0.0, true}) == Level::normal);
  CHECK(level(0.1, {0.11, 0.0, false}) == Level::trim);
  CHECK(level(0.1, {0.5, 0.5, true}) == Level::trim);    // nothing of ours is full
  CHECK(level(0.85, {0.5, 0.5, false}) == Level::trim);  // a neighbour's doing, perhaps
  CHECK(level(0.85, {0.5, 0.2, true}) == Level::shed_low);
  CHECK(level(0.99, {0.5, 0.2, true}) == Level::last);
  const StallShares s = stall_shares(StallTimes{1000, 500}, StallTimes{101'000, 50'500}, 1s, true);
  CHECK(s.some == Approx(0.1));
  CHECK(s.full == Approx(0.05));
  CHECK(s.own);
  CHECK(stall_shares(StallTimes{1000, 0}, StallTimes{10, 0}, 1s, true).some == 0);
  CHECK(stall_shares(StallTimes{0, 0}, StallTimes{9'000'000, 0}, 1s, true).some == 1);
  CHECK(stall_shares(StallTimes{0, 0}, StallTimes{10, 0}, 0s, true).some == 0);
}

TEST_CASE("memory levels: growth is that of one limit's charge", "[memory]") {
  GrowthRule growth;
  CHECK(growth.look(1, 100, 0) == 0);
  CHECK(growth.look(1, 200, kSecond / 100) == Approx(10'000));
  CHECK(growth.look(1, 150, kSecond / 50) == 0);
  CHECK(growth.look(2, 900, kSecond / 25) == 0);
  // Looks that follow each other closely are seen as one of 5 ms.
  CHECK(growth.look(2, 1000, kSecond / 25 + 1) == Approx(20'000));
  CHECK(growth.look(2, 1000, kSecond / 25 + 10'000'000) == Approx(10'000));
  CHECK(growth.look(2, 1000, kSecond / 25 + 20'000'000) == 0);
  CHECK(expected_share({500, 1000}, 1000, 20ms) == Approx(0.52));
  CHECK(expected_share({500, 1000}, 1e9, 20ms) == Approx(0.6));  // a tenth at most
  CHECK(expected_share({500, 0}, 1e9, 20ms) == 0);
}

TEST_CASE("memory levels: looks come in time", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  CHECK(pause_after({}, 0, t, Level::normal) == 500ms);
  CHECK(pause_after({100 * kMiB, 10'000 * kMiB}, 0, t, Level::normal) == 500ms);
  // What nobody saw coming fills 76 MiB in 300 ms.
  const auto small = pause_after({20 * kMiB, 96 * kMiB}, 0, t, Level::normal);
  CHECK(small >= 200ms);
  CHECK(small <= 250ms);
  CHECK(pause_after({20 * kMiB, 96 * kMiB}, 1e9, t, Level::normal) < 40ms);
  CHECK(pause_after({76 * kMiB, 96 * kMiB}, 0, t, Level::normal) == 10ms);
  CHECK(pause_after({90 * kMiB, 96 * kMiB}, 0, t, Level::shed_low) == 10ms);
  CHECK(connections_left({}, t) == INT64_MAX);
  CHECK(connections_left({0, 1000 * 16384}, t) == 950);
  CHECK(connections_left({900 * 16384, 1000 * 16384}, t, Level::last) == 90);
  CHECK(connections_left({960 * 16384, 1000 * 16384}, t) == 0);
  CHECK(cache_growth({}, t) == UINT64_MAX);
  CHECK(cache_growth({20 * kMiB, 100 * kMiB}, t) == 30 * kMiB);
  CHECK(cache_growth({81 * kMiB, 100 * kMiB}, t) == 0);
}

TEST_CASE("memory levels: what does not help is done less often", "[memory]") {
  TrimPace pace;
  CHECK(pace.due(0));
  pace.trimmed(0, 50, 1000);
  CHECK_FALSE(pace.due(kSecond - 1));
  CHECK(pace.due(kSecond));
  std::int64_t now = kSecond;
  for (int i = 0; i < 10; ++i) {
    pace.trimmed(now, 0, 1000);
    CHECK_FALSE(pace.due(now + 2 * kSecond - 1));
    now += 30 * kSecond;
    CHECK(pace.due(now));
  }
  pace.trimmed(now, 10, 1000);
  CHECK(pace.due(now + kSecond));
  pace.trimmed(now, 0, 1000);
  pace.reset();
  CHECK(pace.due(now));
}

TEST_CASE("memory gate: who is let in until the next look", "[memory]") {
  int looks = 0;
  MemoryGate gate([](void* n) noexcept { ++*static_cast<int*>(n); }, &looks);
  const fiberd::net::AcceptGate tcp = gate.connections();
  const fiberd::net::AcceptGate http = gate.requests();
  const auto ask = [](const fiberd::net::AcceptGate& g) { return g.admit(g.argument, {}); };
  for (int i = 0; i < 1000; ++i) REQUIRE(ask(tcp));
  CHECK(looks == 0);
  gate.bound(4, 10, false);
  CHECK(ask(tcp));
  CHECK(looks == 0);
  CHECK(ask(tcp));
  CHECK(ask(tcp));  // half of them have come
  CHECK(looks == 1);
  CHECK(ask(http));  // one left, of which it takes four
  CHECK_FALSE(ask(tcp));
  CHECK(ask(http));
  CHECK(ask(http));
  CHECK_FALSE(ask(http));
  CHECK(looks == 1);  // once for a bound
  gate.bound(100, 3, false);
  CHECK(ask(tcp));
  gate.pressure().shed(2);
  CHECK_FALSE(ask(tcp));  // a connection is work of normal priority
  CHECK(ask(http));
  gate.bound(100, 3, true);
  CHECK_FALSE(ask(http));
  gate.open();
  CHECK(ask(http));
  gate.pressure().shed(0);
  CHECK(ask(tcp));
}

TEST_CASE("memory gate: what has begun grows as far as there is room", "[memory]") {
  int looks = 0;
  MemoryGate gate([](void* n) noexcept { ++*static_cast<int*>(n); }, &looks);
  fiberd::flow::Pressure& pressure = gate.pressure();
  static constexpr std::size_t kUnit = MemoryGate::kConnectionBytes;
  for (int i = 0; i < 1000; ++i) REQUIRE(pressure.may_grow(kUnit));
  gate.bound(4, 2, false);
  CHECK(pressure.may_grow(kUnit));
  CHECK(pressure.may_grow(1));
  CHECK(looks == 0);
  CHECK(pressure.may_grow(2 * kUnit));  // beyond half of it
  CHECK(looks == 1);
  CHECK(pressure.may_grow(kUnit));  // as who brings a request
  CHECK(pressure.may_grow(kUnit));
  CHECK_FALSE(pressure.may_grow(kUnit));
  CHECK_FALSE(gate.connections().admit(gate.connections().argument, {}));  // it is the same room
  gate.bound(100, 100, true);
  CHECK_FALSE(pressure.may_grow(kUnit));
  gate.open();
  CHECK(pressure.may_grow(kUnit));
  CHECK(fiberd::flow::Pressure().may_grow(kUnit));
}

TEST_CASE("memory levels: how much of what sockets hold must go", "[memory]") {
  const MemoryThresholds t = memory_thresholds(80, 95);
  CHECK(bytes_to_cut({}, 0, t) == 0);
  CHECK(bytes_to_cut({979'999, 1'000'000}, 1e9, t) == 0);  // what is expected only is no reason
  CHECK(bytes_to_cut({981'000, 1'000'000}, 0, t) == Approx(31'000).margin(1));
  CHECK(bytes_to_cut({981'000, 1'000'000}, 1e6, t) == Approx(51'000).margin(1));  // and what comes meanwhile
}

TEST_CASE("memory: the fullest sockets are found by their sizes", "[memory]") {
  fiberd::net::QueueSizes sizes;
  CHECK(sizes.least_of(1) == SIZE_MAX);
  sizes.add(4095);  // frees no page
  CHECK(sizes.least_of(1) == SIZE_MAX);
  for (int i = 0; i < 10; ++i) sizes.add(5000);
  sizes.add(100'000);
  sizes.add(std::size_t{1} << 40U);
  CHECK(sizes.least_of(1) == std::size_t{1} << 31U);
  sizes = {};
  for (int i = 0; i < 10; ++i) sizes.add(5000);
  sizes.add(100'000);
  CHECK(sizes.least_of(100'000) == 65'536);
  CHECK(sizes.least_of(100'001) == 4096);
  CHECK(sizes.least_of(UINT64_MAX) == 4096);
  CHECK(sizes.least_of(0) == SIZE_MAX);
}

TEST_CASE("pressure: the lowest are shed first", "[memory]") {
  fiberd::flow::Pressure pressure;
  CHECK_FALSE(pressure.sheds(Priority::low));
  pressure.shed(1);
  CHECK(pressure.sheds(Priority::low));
  CHECK_FALSE(pressure.sheds(Priority::normal));
  pressure.shed(2);
  CHECK(pressure.sheds(Priority::normal));
  CHECK_FALSE(pressure.sheds(Priority::high));
  pressure.shed(99);
  CHECK(pressure.sheds(Priority::high));
  pressure.shed(0);
  CHECK_FALSE(pressure.sheds(Priority::low));
}

TEST_CASE("what is resident is known without a descriptor left", "[memory]") {
  CHECK(resident_bytes() > 0);
  std::uint64_t then = 0;
  {
    const fiberd::test::NoDescriptors none;
    then = resident_bytes();
  }
  CHECK(then > 0);
}
