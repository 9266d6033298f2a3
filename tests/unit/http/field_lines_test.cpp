#include "core/http/field_lines.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

using namespace fiberd;
using namespace fiberd::http;

TEST_CASE("field lines: added, replaced, removed, whatever their case", "[http]") {
  std::array<char, 256> room;
  FieldLines lines;
  lines.reset(room);
  CHECK(lines.add("Server", "a"));
  CHECK(lines.add("X-One", "1"));
  CHECK(lines.add("x-one", "2"));
  CHECK(lines.add("Vary", ""));
  CHECK(lines.text() == "\r\nServer: a\r\nX-One: 1\r\nx-one: 2\r\nVary: ");
  CHECK(lines.find("X-ONE") == "1");
  CHECK(lines.has("vary"));
  CHECK(lines.find("vary").empty());
  CHECK_FALSE(lines.has("x-on"));
  CHECK(lines.set("X-ONE", "3"));
  CHECK(lines.text() == "\r\nServer: a\r\nVary: \r\nX-ONE: 3");
  lines.remove("server");
  lines.remove("absent");
  CHECK(lines.text() == "\r\nVary: \r\nX-ONE: 3");
  lines.remove("x-one");
  CHECK(lines.text() == "\r\nVary: ");
}

TEST_CASE("field lines: what would split or frame a message is refused, and nothing has changed", "[http]") {
  std::array<char, 64> room;
  FieldLines lines;
  lines.reset(room);
  REQUIRE(lines.add("A", "b"));
  for (const auto& [name, value] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{"", "x"},
                                                                            {"a b", "x"},
                                                                            {"X", "a\r\nY: b"},
                                                                            {"X", std::string_view("\0", 1)},
                                                                            {"Content-Length", "1"},
                                                                            {"transfer-encoding", "x"},
                                                                            {"Connection", "x"},
                                                                            {"date", "x"}}) {
    CHECK(error_of(lines.set(name, value)) == std::errc::invalid_argument);
    CHECK(error_of(lines.add(name, value)) == std::errc::invalid_argument);
  }
  CHECK(lines.text() == "\r\nA: b");
}

TEST_CASE("field lines: beyond their room, and of themselves", "[http]") {
  std::array<char, 24> room;
  FieldLines lines;
  lines.reset(room);
  REQUIRE(lines.add("A", "0123456789"));
  // The value is a view of what moves to the heap meanwhile.
  REQUIRE(lines.add("B", lines.find("A")));
  std::string expected = "\r\nA: 0123456789\r\nB: 0123456789";
  CHECK(lines.text() == expected);
  for (int i = 0; i < 100; ++i) {
    REQUIRE(lines.add("N" + std::to_string(i), lines.find("B")));
    expected += "\r\nN" + std::to_string(i) + ": 0123456789";
  }
  CHECK(lines.text() == expected);
  std::string seen;
  lines.each([&](const Field& field) { seen += "\r\n" + std::string(field.name) + ": " + std::string(field.value); });
  CHECK(seen == expected);
}

TEST_CASE("field lines: set to what they hold themselves, within their room and beyond it", "[http]") {
  for (const std::size_t size : {std::size_t{256}, std::size_t{34}}) {
    std::array<char, 256> room;
    FieldLines lines;
    lines.reset(std::span(room).first(size));
    REQUIRE(lines.add("A", "0123456789"));
    REQUIRE(lines.add("B", "b"));
    REQUIRE(lines.add("a", "second"));
    // The line that the value is a view of goes with the others of its name.
    REQUIRE(lines.set("A", lines.find("A")));
    CHECK(lines.text() == "\r\nB: b\r\nA: 0123456789");
    // Used again, nothing of before is left.
    lines.reset(std::span(room).first(size));
    CHECK(lines.text().empty());
    CHECK_FALSE(lines.has("A"));
    CHECK(lines.find("A").empty());
    lines.remove("A");
  }
}
