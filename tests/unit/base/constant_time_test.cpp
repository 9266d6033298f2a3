#include "core/base/constant_time.hpp"

#include <catch2/catch.hpp>
#include <string>

using fiberd::equal_in_constant_time;

TEST_CASE("secrets are equal when all of their bytes are", "[base]") {
  const std::string secret("a\0secret\xff", 9);
  CHECK(equal_in_constant_time(secret, secret));
  CHECK(equal_in_constant_time("", ""));
  CHECK_FALSE(equal_in_constant_time("", secret));
  CHECK_FALSE(equal_in_constant_time(secret, ""));
  // Neither a beginning of it, nor what begins with it, nor the same again.
  for (std::size_t size = 0; size < secret.size(); ++size)
    CHECK_FALSE(equal_in_constant_time(secret.substr(0, size), secret));
  CHECK_FALSE(equal_in_constant_time(secret + "x", secret));
  CHECK_FALSE(equal_in_constant_time(secret + secret, secret));
  CHECK_FALSE(equal_in_constant_time(secret, secret + secret));
  for (std::size_t at = 0; at < secret.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string other = secret;
      other[at] = static_cast<char>(other[at] ^ (1 << bit));
      CHECK_FALSE(equal_in_constant_time(other, secret));
    }
  }
}
