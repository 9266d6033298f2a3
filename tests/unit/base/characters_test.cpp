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

TEST_CASE("what is skipped ends at the first byte of no class, wherever that is", "[characters]") {
  const std::string digits = "0123456789012345678";
  for (std::size_t size = 0; size <= digits.size(); ++size) {
    for (std::size_t at = 0; at <= size; ++at) {
      std::string text = digits.substr(0, size);
      if (at < size) text[at] = ' ';
      const char* const begin = text.data();
      CHECK(ascii::skip(begin, begin + size, ascii::chars::kDigit) == begin + at);
    }
  }
}

TEST_CASE("tokens, case and digits", "[characters]") {
  CHECK(ascii::is_token("X-Request-Id"));
  for (const char* none : {"", "a b", "a\xff", "a:", "(a)", "\t"}) CHECK_FALSE(ascii::is_token(none));
  CHECK(ascii::equals_lower("KEEP-Alive", "keep-alive"));
  CHECK_FALSE(ascii::equals_lower("keep_alive", "keep-alive"));
  bool same = true;
  for (int c = 0; c < 256; ++c) {
    const std::string text{'a', static_cast<char>(c)};
    const std::string_view view = text;
    const auto agree = [&](bool literal, std::string_view lower) {
      same = same && literal == ascii::equals_lower(view, lower);
    };
    agree(ascii::equals_lower(view, "a-"), "a-");
    agree(ascii::equals_lower(view, "aa"), "aa");
    agree(ascii::equals_lower(view, "az"), "az");
    agree(ascii::equals_lower(view, "a_"), "a_");
    agree(ascii::equals_lower(view, "a0"), "a0");
    agree(ascii::equals_lower(view, "a"), "a");
  }
  CHECK(same);
  CHECK(ascii::equals_ignore_case("ChunkeD", "cHUNKEd"));
  CHECK(ascii::hex_value('f') == 15);
  CHECK(ascii::hex_value('A') == 10);
  CHECK(ascii::hex_value('g') == -1);
  CHECK(ascii::trim(" \t a b\t ") == "a b");
}
