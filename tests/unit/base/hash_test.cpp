#include "core/base/hash.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

using namespace fiberd;

TEST_CASE("hash: every byte, the length and the seed count", "[base][hash]") {
  std::set<std::uint64_t> seen;
  std::size_t made = 0;
  const auto add = [&](const std::string& text, std::uint64_t seed) {
    seen.insert(hash_bytes(text.data(), text.size(), seed));
    ++made;
  };
  for (std::size_t size = 0; size < 70; ++size) {
    const std::string text(size, 'a');
    add(text, 1);
    add(text, 2);
    for (std::size_t i = 0; i < size; ++i) {
      std::string other = text;
      other[i] = 'b';
      add(other, 1);
    }
  }
  CHECK(seen.size() == made);
  CHECK(hash_seed() == hash_seed());
}

TEST_CASE("hash: one bit changes half of the bits", "[base][hash]") {
  for (const std::size_t size : {1U, 3U, 5U, 8U, 13U, 16U, 24U, 40U}) {
    std::uint64_t changed = 0;
    std::uint64_t trials = 0;
    for (unsigned sample = 0; sample < 50; ++sample) {
      std::string text(size, '\0');
      for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(sample * 37 + i * 11);
      const std::uint64_t before = hash_bytes(text.data(), size, 7);
      for (std::size_t bit = 0; bit < size * 8; ++bit, ++trials) {
        std::string other = text;
        other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
        changed += static_cast<unsigned>(std::popcount(before ^ hash_bytes(other.data(), size, 7)));
      }
    }
    const double share = static_cast<double>(changed) / static_cast<double>(trials) / 64;
    INFO(size);
    CHECK(share > 0.47);
    CHECK(share < 0.53);
  }
}

TEST_CASE("hash: keys that count up spread over buckets", "[base][hash]") {
  std::vector<unsigned> low(256);
  std::vector<unsigned> high(256);
  for (unsigned i = 0; i < 25'600; ++i) {
    const std::string key = "requests." + std::to_string(i) + ".count";
    const std::uint64_t h = hash_bytes(key.data(), key.size(), 3);
    ++low[h & 255U];
    ++high[h >> 56U];
  }
  for (const auto& buckets : {low, high}) {  // 100 each; the deviation is 10
    CHECK(*std::min_element(buckets.begin(), buckets.end()) > 50);
    CHECK(*std::max_element(buckets.begin(), buckets.end()) < 150);
  }
}
