#include "core/base/keyed_hash.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

TEST_CASE("SipHash-2-4 is that of the paper's appendix", "[keyed_hash]") {
  std::string input;
  for (char c = 0; c < 15; ++c) input += c;
  CHECK(siphash<2, 4>(0x0706050403020100U, 0x0f0e0d0c0b0a0908U, input) == 0xa129ca6149be45e5U);
  CHECK(siphash<2, 4>(0x0706050403020100U, 0x0f0e0d0c0b0a0908U, "") == 0x726fdb47dd0e0e31U);
}

TEST_CASE("each KeyedHash has a secret of its own, and kinds of keys do not meet", "[keyed_hash]") {
  const KeyedHash a;
  const KeyedHash b;
  CHECK(a.of("x") == a.of("x"));
  CHECK(a.of("x") != b.of("x"));
  CHECK(a.of("x", 0) != a.of("x", 1));
}
