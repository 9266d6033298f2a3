#include "core/net/address_ranges.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/random.hpp"

using namespace fiberd;
using net::AddressRanges;
using net::Endpoint;
using net::RangeError;

namespace {
AddressRanges ranges(const std::vector<std::string>& texts) {
  const Result<AddressRanges> made = AddressRanges::make(texts);
  REQUIRE(made);
  return *made;
}
bool has(const AddressRanges& set, std::string_view address) {
  const Result<Endpoint> e = net::parse_address(address);
  REQUIRE(e);
  return set.contains(*e);
}
}  // namespace

TEST_CASE("a set of ranges holds its first and last address and not their neighbours", "[net][ranges]") {
  const AddressRanges set = ranges({"10.0.0.0/8", "192.0.2.7", "198.51.100.128/25", "2001:db8::/33", "fe80::1"});
  for (const char* in : {"10.0.0.0", "10.255.255.255", "192.0.2.7", "198.51.100.128", "198.51.100.255",
                         "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", "fe80::1"})
    CHECK(has(set, in));
  for (const char* out : {"9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "198.51.100.127", "198.51.101.0",
                          "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:8000::", "fe80::2", "::", "0.0.0.0"})
    CHECK_FALSE(has(set, out));
}

TEST_CASE("IPv4 is looked up as IPv4, through whichever socket it came", "[net][ranges]") {
  CHECK(has(ranges({"10.0.0.0/8"}), "::ffff:10.1.2.3"));
  CHECK(has(ranges({"::ffff:10.0.0.0/104"}), "10.1.2.3"));
  CHECK_FALSE(has(ranges({"::ffff:10.0.0.0/104"}), "11.1.2.3"));
  CHECK(has(ranges({"::ffff:0:0/96"}), "203.0.113.9"));
  CHECK_FALSE(has(ranges({"::/0"}), "203.0.113.9"));
  CHECK_FALSE(has(ranges({"::/0"}), "::ffff:203.0.113.9"));
  CHECK(has(ranges({"::/0"}), "2001:db8::1"));
  CHECK_FALSE(has(ranges({"0.0.0.0/0"}), "2001:db8::1"));
  CHECK(has(ranges({"0.0.0.0/0"}), "255.255.255.255"));
}

TEST_CASE("peers of Unix sockets and unknown ones", "[net][ranges]") {
  const Endpoint unix_peer = *Endpoint::parse("unix:/run/x.sock");
  CHECK(ranges({"unix:"}).contains(unix_peer));
  CHECK_FALSE(ranges({"0.0.0.0/0", "::/0"}).contains(unix_peer));
  CHECK_FALSE(ranges({"0.0.0.0/0", "::/0", "unix:"}).contains(Endpoint()));
  CHECK_FALSE(AddressRanges().contains(unix_peer));
  CHECK(AddressRanges().empty());
  CHECK_FALSE(ranges({"unix:"}).empty());
}

TEST_CASE("a range that is none says why", "[net][ranges]") {
  const std::vector<std::pair<std::string, RangeError>> wrong = {
      {"", RangeError::no_address},
      {"/8", RangeError::no_address},
      {"localhost", RangeError::no_address},
      {"10.0.0/8", RangeError::no_address},
      {"10.0.0.256/32", RangeError::no_address},
      {"010.0.0.0/8", RangeError::no_address},
      {"[::1]", RangeError::no_address},
      {"fe80::1%eth0", RangeError::no_address},
      {"127.0.0.1:80", RangeError::no_address},
      {std::string("10.0.0.0\0/8", 11), RangeError::no_address},
      {std::string(64, '1'), RangeError::no_address},
      {"10.0.0.0/", RangeError::no_prefix},
      {"10.0.0.0/-1", RangeError::no_prefix},
      {"10.0.0.0/8x", RangeError::no_prefix},
      {"10.0.0.0/08", RangeError::no_prefix},
      {"10.0.0.0/255.0.0.0", RangeError::no_prefix},
      {"10.0.0.0/33", RangeError::prefix_too_long},
      {"10.0.0.0/99999999999999999999", RangeError::prefix_too_long},
      {"::/129", RangeError::prefix_too_long},
      {"10.0.0.1/8", RangeError::bits_behind_prefix},
      {"2001:db8::1/64", RangeError::bits_behind_prefix},
      {"2001:db8::1/127", RangeError::bits_behind_prefix},
      {"::ffff:0:0/95", RangeError::bits_behind_prefix},
  };
  for (const auto& [text, why] : wrong) {
    CAPTURE(text);
    std::size_t bad = 0;
    const Result<AddressRanges> made = AddressRanges::make(std::vector<std::string>{"10.0.0.0/8", text}, &bad);
    REQUIRE_FALSE(made);
    CHECK(made.error() == why);
    CHECK(made.error().message().size() > 20);
    CHECK(bad == 1);
  }
}

TEST_CASE("overlapping ranges in any order are what their union is", "[net][ranges]") {
  CHECK(ranges({"10.1.0.0/16", "10.0.0.0/8", "10.2.3.4"}).size() == 1);
  CHECK(ranges({"10.2.3.4", "10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8"}).size() == 2);
  CHECK(ranges({"2001:db8::/32", "2001:db8:1::/48", "::1"}).size() == 2);
  // Against one range after the other.
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> texts;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> plain;
    for (std::uint32_t n = random.below(12); n != 0; --n) {
      const unsigned prefix = 24 + random.below(9);
      const std::uint32_t mask = ~std::uint32_t{0} << (32 - prefix);
      const std::uint32_t first = (0x0a000000U + random.below(1024)) & mask;
      texts.push_back(Endpoint::v4(first, 0).host() + "/" + std::to_string(prefix));
      plain.emplace_back(first, first | ~mask);
    }
    const AddressRanges set = ranges(texts);
    for (std::uint32_t a = 0x0a000000U - 1; a <= 0x0a000000U + 1025; ++a) {
      bool in = false;
      for (const auto& [first, last] : plain) in = in || (first <= a && a <= last);
      if (set.contains(Endpoint::v4(a, 80)) != in) FAIL("round " << round << ": " << Endpoint::v4(a, 0).host());
    }
  }
}
