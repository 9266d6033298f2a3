#include "core/base/json.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/json.hpp"

using namespace fiberd;

static std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST_CASE("strings of JSON are escaped, and what is no UTF-8 is replaced", "[json]") {
  CHECK(quoted("") == "\"\"");
  CHECK(quoted("a \"b\" c\\") == R"("a \"b\" c\\")");
  CHECK(quoted(std::string_view("\0\n\x1f\x7f", 4)) == R"("\u0000\u000a\u001f\u007f")");
  CHECK(quoted("grün 中 \xf0\x9f\x98\x80") == "\"grün 中 \xf0\x9f\x98\x80\"");
  CHECK(quoted("a\xff\xc0\xafz") == "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
  CHECK(quoted("cut \xe4\xb8") == "\"cut \xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST_CASE("every byte of a string of JSON is taken by a reader of JSON", "[json]") {
  for (unsigned c = 0; c < 256; ++c) {
    std::string opaque = "\"";
    opaque += JsonByte::opaque(static_cast<char>(c)).text();
    CHECK(test::Json::valid(opaque + '"'));
    CHECK(test::Json::valid(quoted(std::string(1, static_cast<char>(c)))));
  }
}
