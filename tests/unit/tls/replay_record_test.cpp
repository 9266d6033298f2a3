#include "core/tls/replay_record.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>

using fiberd::tls::ReplayRecord;
using ReplayVerdict = fiberd::tls::ReplayRecord::Verdict;

namespace {

std::array<unsigned char, 32> replay_random(std::uint64_t n) {
  std::array<unsigned char, 32> random{};
  std::memcpy(random.data(), &n, sizeof n);
  return random;
}

}  // namespace

TEST_CASE("early data: a hello is taken once, for as long as its age would pass", "[tls][replay]") {
  ReplayRecord record;
  static constexpr std::int64_t kNow = 1'800'000'000;
  CHECK(record.take(replay_random(1), kNow) == ReplayVerdict::fresh);
  CHECK(record.take(replay_random(1), kNow) == ReplayVerdict::seen);
  // A hello is good for eleven seconds, wherever in a turn the first one came.
  for (std::int64_t at = 1; at < 3 * ReplayRecord::kTurn; ++at) {
    INFO(at);
    REQUIRE(record.take(replay_random(100 + static_cast<std::uint64_t>(at)), kNow + at) == ReplayVerdict::fresh);
    for (std::int64_t back = 0; back < std::min<std::int64_t>(at, 11); ++back)
      REQUIRE(record.take(replay_random(100 + static_cast<std::uint64_t>(at - back)), kNow + at) ==
              ReplayVerdict::seen);
  }
  // And is forgotten in time.
  CHECK(record.take(replay_random(1), kNow + 100) == ReplayVerdict::fresh);
}

TEST_CASE("early data: what cannot be told is not taken", "[tls][replay]") {
  ReplayRecord record;
  static constexpr std::int64_t kNow = 1'800'000'000;
  CHECK(record.take(replay_random(1), kNow) == ReplayVerdict::fresh);
  CHECK(record.take(replay_random(2), kNow - 1) == ReplayVerdict::uncertain);  // the clock has gone back
  CHECK(record.take(replay_random(2), kNow) == ReplayVerdict::fresh);
  for (std::uint64_t i = 2; i < ReplayRecord::kMost; ++i)
    REQUIRE(record.take(replay_random(1'000 + i), kNow) == ReplayVerdict::fresh);
  CHECK(record.take(replay_random(3), kNow) == ReplayVerdict::uncertain);
  CHECK(record.take(replay_random(1), kNow) == ReplayVerdict::seen);
  CHECK(record.take(replay_random(3), kNow + ReplayRecord::kTurn) == ReplayVerdict::fresh);
}
