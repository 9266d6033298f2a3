#include "tests/unit/house/one_place.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/house/tree.hpp"

namespace {

namespace house = fiberd::house;

bool refused(std::string_view source) { return !house::check_one_place("core/http/x.cpp", source).empty(); }

}  // namespace

TEST_CASE("shared mechanisms stand once") {
  for (const std::string& path : house::sources_below(house::kRoot))
    for (const house::Violation& violation : house::check_one_place(path, house::read(house::kRoot / path)))
      FAIL_CHECK(violation.file << ": " << violation.what);
}

TEST_CASE("each mechanism is in its place, and a copy of that place is caught") {
  for (const house::Mechanism& m : house::mechanisms()) {
    std::string whole;
    for (const std::string_view place : m.places) whole += house::read(house::kRoot / place);
    INFO(m.what);
    CHECK(refused(whole));
    CHECK(house::check_one_place(m.places.front(), house::read(house::kRoot / m.places.front())).empty());
  }
}

TEST_CASE("copies of shared mechanisms are caught as they are usually written") {
  CHECK(refused("constexpr std::string_view marks = \"!#$%&'*+-.^_`|~\";"));
  CHECK(refused("static constexpr char kDigits[] = \"0123456789abcdef\";"));
  CHECK(refused("return (c >= 'a' &&\n        c <= 'z') || c == '_';"));
  CHECK(refused("std::snprintf(out, 8, \"\\\\u%04x\", c);"));
  CHECK(refused("raw(json ? \"\\\\u00\" : \"\\\\x\");"));
  CHECK(refused("const std::size_t colon = text.rfind(':');"));
  CHECK(refused("unsigned port = 0;\n  const auto [end, error] = std::from_chars(a, b, port);"));
  CHECK(refused("struct HostPort {\n  std::string host;\n};"));
  CHECK(refused("std::uint64_t siphash(std::uint64_t k0);"));
  CHECK(refused("List<Session> sessions_;"));
  // What only speaks of them, or uses them.
  CHECK_FALSE(refused("// siphash: std::uint64_t siphash(\n/* \"0123456789abcdef\" */"));
  CHECK_FALSE(refused("HostPort parts;\nif (parse_port(parts.port)) out += kHexDigits[1];"));
  CHECK_FALSE(refused("net::Sessions<Session> sessions_;"));
}
