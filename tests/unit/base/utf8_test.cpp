#include "core/base/utf8.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

TEST_CASE("UTF-8: shortest form, no surrogates, no more than U+10FFFF", "[base][utf8]") {
  for (const std::string_view good : {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                      "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa4z"})
    CHECK(is_utf8(good));
  for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
                                     "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xc3(z"})
    CHECK_FALSE(is_utf8(bad));
}

TEST_CASE("UTF-8: what is none is replaced byte by byte, and nothing is cut within a character", "[base][utf8]") {
  CHECK(well_formed("a\xc3\xa4z") == "a\xc3\xa4z");
  CHECK(well_formed("\xff"
                    "a\xe2\x82") ==
        "\xef\xbf\xbd"
        "a\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(utf8_cut("abc", 3) == 3);
  CHECK(utf8_cut("abc", 2) == 2);
  CHECK(utf8_cut("a\xc3\xa4", 2) == 1);
  CHECK(utf8_cut("\xf0\x9f\x98\x80x", 3) == 0);
  CHECK(utf8_cut("\xf0\x9f\x98\x80x", 4) == 4);
  CHECK(utf8_cut("\x80\x80\x80\x80\x80\x80", 5) == 5);  // no character at all
  CHECK(utf8_cut("", 0) == 0);
}
