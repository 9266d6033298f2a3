#include "core/http/forwarded.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/http/head.hpp"

using namespace fiberd;
using http::ForwardedField;
using http_test::Head;
using net::Endpoint;

namespace {

const net::AddressRanges& proxies() {
  static const net::AddressRanges set =
      *net::AddressRanges::make(std::vector<std::string>{"10.0.0.0/8", "fd00::/8", "unix:"});
  return set;
}
std::string of(const Head& head, ForwardedField field, const char* peer = "10.0.0.1:5000") {
  return http::client_address(*Endpoint::parse(peer), head.view(), proxies(), field).to_string();
}
std::string xff(const std::string& value, const char* peer = "10.0.0.1:5000") {
  return of({{"X-Forwarded-For", value}}, ForwardedField::x_forwarded_for, peer);
}
std::string forwarded(const std::string& value, const char* peer = "10.0.0.1:5000") {
  return of({{"Forwarded", value}}, ForwardedField::forwarded, peer);
}

}  // namespace

TEST_CASE("X-Forwarded-For is believed as far as its writers are", "[http][forwarded]") {
  CHECK(xff("203.0.113.9") == "203.0.113.9:0");
  CHECK(xff("203.0.113.9", "198.51.100.1:5000") == "198.51.100.1:5000");  // no proxy of ours: what it says is nothing
  CHECK(xff("203.0.113.9", "[::ffff:10.0.0.1]:5000") == "203.0.113.9:0");
  CHECK(xff("203.0.113.9", "unix:/run/x") == "203.0.113.9:0");
  CHECK(xff("192.0.2.66, 203.0.113.9") == "203.0.113.9:0");  // the first one is the client's own invention
  CHECK(xff("192.0.2.66, 203.0.113.9, 10.1.1.1, 10.2.2.2") == "203.0.113.9:0");
  CHECK(xff("10.3.3.3, 10.2.2.2") == "10.3.3.3:0");  // all trusted: the leftmost
  CHECK(xff(" 203.0.113.9 ,\t10.1.1.1 , ,") == "203.0.113.9:0");
  CHECK(xff("203.0.113.9:4711,10.1.1.1:80") == "203.0.113.9:4711");
  CHECK(xff("2001:db8::1, fd00::7") == "[2001:db8::1]:0");
  CHECK(xff("[2001:db8::1]:4711, [fd00::7]") == "[2001:db8::1]:4711");
  CHECK(xff("::ffff:203.0.113.9") == "203.0.113.9:0");
  CHECK(xff("") == "10.0.0.1:5000");
  CHECK(of({}, ForwardedField::x_forwarded_for) == "10.0.0.1:5000");
}

TEST_CASE("what is no address ends the walk at the last that was known", "[http][forwarded]") {
  CHECK(xff("203.0.113.9, unknown") == "10.0.0.1:5000");
  CHECK(xff("203.0.113.9, unknown, 10.1.1.1") == "10.1.1.1:0");
  for (const char* bad : {"a", "1.2.3", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:+1", "[1.2.3.4]", "[::1",
                          "[::1]80", "[::1]:", "::1]", "1.2.3.4 5.6.7.8", "\"1.2.3.4\"", "fe80::1%eth0"})
    CHECK(xff(bad) == "10.0.0.1:5000");
  CHECK(xff(std::string(5000, '1')) == "10.0.0.1:5000");
}

TEST_CASE("several fields are one list, and only the field that is asked for counts", "[http][forwarded]") {
  CHECK(of({{"X-Forwarded-For", "192.0.2.66"}, {"Via", "x"}, {"x-forwarded-for", "203.0.113.9, 10.1.1.1"}},
           ForwardedField::x_forwarded_for) == "203.0.113.9:0");
  CHECK(of({{"X-Forwarded-For", "203.0.113.9"}, {"x-forwarded-for", "10.1.1.1"}}, ForwardedField::x_forwarded_for) ==
        "203.0.113.9:0");
  const Head both{{"Forwarded", "for=192.0.2.66"}, {"X-Forwarded-For", "203.0.113.9"}};
  CHECK(of(both, ForwardedField::x_forwarded_for) == "203.0.113.9:0");
  CHECK(of(both, ForwardedField::forwarded) == "192.0.2.66:0");
}

TEST_CASE("Forwarded's rows of RFC 7239", "[http][forwarded]") {
  CHECK(forwarded("for=192.0.2.60;proto=http;by=203.0.113.43") == "192.0.2.60:0");
  CHECK(forwarded("For=\"[2001:db8:cafe::17]:4711\"") == "[2001:db8:cafe::17]:4711");
  CHECK(forwarded("for=192.0.2.43, FOR=10.51.100.17") == "192.0.2.43:0");
  CHECK(forwarded("proto=https;for=\"192.0.2.43:47011\" ; host=\"a,b;c\"") == "192.0.2.43:47011");
  CHECK(forwarded("for=\"19\\2.0.2.43\"") == "192.0.2.43:0");
  CHECK(forwarded("for=unknown") == "10.0.0.1:5000");
  CHECK(forwarded("for=\"_gazonk\"") == "10.0.0.1:5000");
  CHECK(forwarded("for=192.0.2.43, for=_hidden, for=10.1.1.1") == "10.1.1.1:0");
  CHECK(forwarded("by=192.0.2.43") == "10.0.0.1:5000");
  CHECK(forwarded("for=192.0.2.43;for=192.0.2.44") == "10.0.0.1:5000");  // twice in one element
  CHECK(forwarded("192.0.2.43") == "10.0.0.1:5000");
  CHECK(forwarded("for=192.0.2.43;") == "192.0.2.43:0");
  CHECK(forwarded("for=\"192.0.2.43\"x") == "10.0.0.1:5000");
  CHECK(forwarded("for=\"" + std::string(5000, '1') + "\"") == "10.0.0.1:5000");
}

TEST_CASE("a client's broken quotes do not swallow what a proxy wrote behind them", "[http][forwarded]") {
  CHECK(forwarded("for=\"192.0.2.66, for=203.0.113.9") == "203.0.113.9:0");
  CHECK(forwarded("for=\"a\\\", for=203.0.113.9") == "203.0.113.9:0");
  CHECK(forwarded("x=\"\\\\\\\", for=\"203.0.113.9\"") == "203.0.113.9:0");
  CHECK(forwarded("\", for=\"[2001:db8::1]\"") == "[2001:db8::1]:0");
  CHECK(forwarded("for=192.0.2.66, for=\"") == "10.0.0.1:5000");
}

TEST_CASE("10,000 elements cost linear time", "[http][forwarded]") {
  // Trusted ones, so that each is read; and then the hardest strings for a reader from the right.
  std::string trusted = "203.0.113.9";
  std::string pairs = "for=203.0.113.9";
  for (int i = 0; i < 10'000; ++i) {
    trusted += ",10.0.0.7";
    pairs += ",for=\"10.0.0.7\"";
  }
  CHECK(xff(trusted) == "203.0.113.9:0");
  CHECK(forwarded(pairs) == "203.0.113.9:0");
  CHECK(forwarded("\"" + std::string(1'000'000, '\\') + "\"") == "10.0.0.1:5000");
  std::string quotes;
  for (int i = 0; i < 500'000; ++i) quotes += "\\\"";
  CHECK(forwarded(quotes) == "10.0.0.1:5000");
  CHECK(forwarded(std::string(1'000'000, '"')) == "10.0.0.1:5000");
  CHECK(forwarded(std::string(1'000'000, ',')) == "10.0.0.1:5000");
  CHECK(forwarded(std::string(1'000'000, ';')) == "10.0.0.1:5000");
}

TEST_CASE("the scheme is what the last proxy tells", "[http][forwarded]") {
  const auto scheme = [](const Head& head, ForwardedField field, const char* peer = "10.0.0.1:5000") {
    return std::string(http::client_scheme(*Endpoint::parse(peer), head.view(), proxies(), field));
  };
  CHECK(scheme({{"X-Forwarded-Proto", "https"}}, ForwardedField::x_forwarded_for) == "https");
  CHECK(scheme({{"X-Forwarded-Proto", "http, HTTPS"}}, ForwardedField::x_forwarded_for) == "https");
  CHECK(scheme({{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Proto", "http"}}, ForwardedField::x_forwarded_for) ==
        "http");
  CHECK(scheme({{"X-Forwarded-Proto", "gopher"}}, ForwardedField::x_forwarded_for).empty());
  CHECK(scheme({{"X-Forwarded-Proto", "https"}}, ForwardedField::x_forwarded_for, "192.0.2.1:1").empty());
  CHECK(scheme({{"Forwarded", "for=a;proto=http, for=b;proto=\"https\""}}, ForwardedField::forwarded) == "https");
  CHECK(scheme({{"Forwarded", "for=a;proto=http, for=b"}}, ForwardedField::forwarded).empty());
  CHECK(scheme({}, ForwardedField::forwarded).empty());
}
