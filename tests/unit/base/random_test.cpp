#include "core/base/random.hpp"

#include <array>
#include <catch2/catch.hpp>

TEST_CASE("Random repeats itself by seed", "[base]") {
  fiberd::Random a(42);
  fiberd::Random b(42);
  fiberd::Random c(43);
  bool same = true;
  bool other = false;
  for (int i = 0; i < 1'000; ++i) {
    const auto x = a.next();
    same = same && x == b.next();
    other = other || x != c.next();
  }
  CHECK(same);
  CHECK(other);
}

TEST_CASE("Random::below is in range and level", "[base]") {
  fiberd::Random random(1);
  std::array<unsigned, 7> counts{};
  bool in_range = true;
  for (int i = 0; i < 70'000; ++i) {
    const std::uint32_t x = random.below(7);
    in_range = in_range && x < 7;
    ++counts[x % 7];
  }
  CHECK(in_range);
  // 10,000 expected a bin, standard deviation 93: five of them.
  for (const unsigned n : counts) CHECK((n > 9'535 && n < 10'465));
  CHECK(random.below(1) == 0);
}
