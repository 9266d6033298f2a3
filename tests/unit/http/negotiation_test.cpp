#include "core/http/negotiation.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/http/head.hpp"

using namespace fiberd::http;
using http_test::Head;

namespace {
constexpr std::array<std::string_view, 3> kCodings{"br", "zstd", "gzip"};
constexpr std::array<std::string_view, 3> kTypes{"text/plain", "application/problem+json", "text/html"};

std::string coding(const std::string& value) {
  const std::size_t i = choose_encoding(Head({{"Accept-Encoding", value}}).view(), kCodings);
  return i == kIdentity ? "identity" : std::string(kCodings[i]);
}
std::string type(const std::string& value) {
  return std::string(kTypes[choose_media_type(Head({{"Accept", value}}).view(), kTypes)]);
}
}  // namespace

TEST_CASE("quality values", "[http][accept]") {
  CHECK(parse_quality("1") == 1000);
  CHECK(parse_quality("1.") == 1000);
  CHECK(parse_quality("1.000") == 1000);
  CHECK(parse_quality("0") == 0);
  CHECK(parse_quality("0.5") == 500);
  CHECK(parse_quality("0.05") == 50);
  CHECK(parse_quality("0.001") == 1);
  for (const char* bad : {"", "2", "1.001", "0.0001", "0,5", ".5", "-1", "1.0000", "0.x", "00.5", " 1", "1e0"})
    CHECK(parse_quality(bad) < 0);
}

TEST_CASE("Accept-Encoding picks what the client likes best", "[http][accept]") {
  CHECK(choose_encoding(HeaderView(), kCodings) == kIdentity);
  CHECK(coding("") == "identity");
  CHECK(coding("gzip") == "gzip");
  CHECK(coding("GZIP") == "gzip");
  CHECK(coding("x-gzip") == "gzip");
  CHECK(coding("gzip, deflate, br, zstd") == "br");
  CHECK(coding("gzip, zstd") == "zstd");
  CHECK(coding("gzip;q=1.0, br;q=0.9") == "gzip");
  CHECK(coding("gzip;q=0, br;q=0") == "identity");
  CHECK(coding("*") == "br");
  CHECK(coding("*;q=0.1, br;q=0") == "zstd");
  CHECK(coding("*;q=0") == "identity");
  CHECK(coding("identity") == "identity");
  CHECK(coding("identity;q=0.5, gzip;q=0.5") == "gzip");
  CHECK(coding("identity, gzip;q=0.5") == "identity");
  CHECK(coding("identity;q=0, gzip;q=0.1") == "gzip");
  CHECK(coding("deflate") == "identity");
  CHECK(coding("gzip;q=bad") == "identity");
  CHECK(coding("gzip ; q=0.3 , br ; q=0.2") == "gzip");
  CHECK(coding("gzipx, notbr") == "identity");
  CHECK(choose_encoding(Head({{"Accept-Encoding", "br;q=0"}, {"accept-encoding", "gzip"}}).view(), kCodings) == 2);
  CHECK(choose_encoding(Head({{"Accept-Encoding", "br"}}).view(), {}) == kIdentity);
}

TEST_CASE("Accept picks the form of an error", "[http][accept]") {
  CHECK(choose_media_type(HeaderView(), kTypes) == 0);
  CHECK(type("*/*") == "text/plain");
  CHECK(type("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8") == "text/html");
  CHECK(type("application/json") == "application/problem+json");
  CHECK(type("application/problem+json") == "application/problem+json");
  CHECK(type("application/*") == "application/problem+json");
  CHECK(type("text/*") == "text/plain");
  CHECK(type("text/*;q=0.5, text/html") == "text/html");
  CHECK(type("text/html;level=\"1,2;q=0\";q=0.4, text/plain;q=0.3") == "text/html");
  CHECK(type("text/plain;q=0, */*") == "application/problem+json");
  CHECK(type("image/png") == "text/plain");
  CHECK(type("text/html;q=0") == "text/plain");
  CHECK(type("\"unclosed, text/html") == "text/plain");
}
