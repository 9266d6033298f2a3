#pragma once
// What a token bucket gives away at one time, by asking and by taking: the two must agree.
#include <cstdint>

#include "core/flow/token_bucket.hpp"

namespace fiberd::test {

/// Takes all that is there; returns how much that was.
inline std::int64_t drain(flow::TokenBucket& bucket, std::int64_t now) {
  std::int64_t n = 0;
  for (;;) {
    const std::int64_t there = bucket.available_at(now);
    if (there == 0 || !bucket.try_take_at(now, there)) return n;
    n += there;
  }
}

}  // namespace fiberd::test
