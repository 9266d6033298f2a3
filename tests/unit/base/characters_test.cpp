#include "core/base/characters.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

// The table is made by code; here the classes are written out.
static std::string members(std::uint8_t bits) {
  std::string all;
  for (unsigned c = 0; c < 256; ++c)
    if (ascii::is_class(static_cast<char>(c), bits)) all += static_cast<char>(c);
  return all;
}

TEST_CASE("classes of characters are those of the RFCs", "[characters]") {
  const std::string upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const std::string lower = "abcdefghijklmnopqrstuvwxyz";
  CHECK(members(ascii::chars::kDigit) == "0123456789");
  CHECK(members(ascii::chars::kAlpha) == upper + lower);
  CHECK(members(ascii::chars::kHex) == "0123456789ABCDEFabcdef");
  CHECK(members(ascii::chars::kToken) == "!#$%&'*+-.0123456789" + upper + "^_`" + lower + "|~");
  CHECK(members(ascii::chars::kValue).size() == 256 - 33 + 1);
  CHECK(members(ascii::chars::kQuoted).size() == members(ascii::chars::kValue).size() - 2);
  CHECK(members(ascii::chars::kTarget).find_first_of(std::string("\0 \x7f\"#<>\\", 8)) == std::string::npos);
}

TEST_CASE("tokens, case and digits", "[characters]") {
  CHECK(ascii::is_token("X-Request-Id"));
  for (const char* none : {"", "a b", "a\xff", "a:", "(a)", "\t"}) CHECK_FALSE(ascii::is_token(none));
  CHECK(ascii::equals_lower("KEEP-Alive", "keep-alive"));
  CHECK_FALSE(ascii::equals_lower("keep_alive", "keep-alive"));
  CHECK(ascii::equals_ignore_case("ChunkeD", "cHUNKEd"));
  CHECK(ascii::hex_value('f') == 15);
  CHECK(ascii::hex_value('A') == 10);
  CHECK(ascii::hex_value('g') == -1);
  CHECK(ascii::trim(" \t a b\t ") == "a b");
}
