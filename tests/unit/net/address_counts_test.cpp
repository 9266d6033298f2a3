#include "core/net/address_counts.hpp"

#include <catch2/catch.hpp>

using namespace fiberd;
using net::AddressCounts;
using net::Endpoint;

static Endpoint at(const char* text) { return *Endpoint::parse(text); }

TEST_CASE("an address takes as many as allowed, and again what it gave back", "[net]") {
  int owner = 0;
  AddressCounts counts(&owner);
  AddressCounts::Entry* const first = counts.take(at("192.0.2.1:1000"), 2);
  REQUIRE(first != nullptr);
  CHECK(first->owner == &owner);
  CHECK(counts.take(at("192.0.2.1:1001"), 2) == first);
  CHECK(counts.take(at("192.0.2.1:1002"), 2) == nullptr);
  CHECK(counts.take(at("192.0.2.2:1000"), 2) != nullptr);
  counts.give_back(*first);
  CHECK(counts.take(at("192.0.2.1:1003"), 2) == first);
}

TEST_CASE("nothing is kept of addresses without connections", "[net]") {
  AddressCounts counts(nullptr);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    AddressCounts::Entry* const e = counts.take(Endpoint::v4(0x0a000000 + i, 1), 1);
    REQUIRE(e != nullptr);
    if (i % 2 == 0) counts.give_back(*e);
  }
  CHECK(counts.size() == 500);
}

TEST_CASE("an IPv6 client is its /64, a mapped one its IPv4 address", "[net]") {
  const auto key = [](const char* text) { return AddressCounts::key_of(at(text)); };
  CHECK(key("[2001:db8::1]:1") == key("[2001:db8::ffff:2]:9"));
  CHECK(key("[2001:db8::1]:1") != key("[2001:db8:0:1::1]:1"));
  CHECK(key("[::ffff:192.0.2.1]:1") == key("192.0.2.1:2"));
  CHECK(key("192.0.2.1:1") != key("192.0.2.2:1"));
  CHECK(key("[::1]:1") != key("0.0.0.0:1"));
}
