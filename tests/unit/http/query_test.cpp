// Parameters of a query.
#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "core/http/query.hpp"

using fiberd::http::query_value;
using fiberd::http::unknown_query_name;

TEST_CASE("a parameter is found by its decoded name, and decoded", "[http][query]") {
  CHECK(query_value("a=1&b=2", "b") == "2");
  CHECK(query_value("?a=1&b=2", "a") == "1");
  CHECK(query_value("a=1&a=2", "a") == "1");
  CHECK(query_value("a=1", "b") == std::nullopt);
  CHECK(query_value("aa=1", "a") == std::nullopt);
  CHECK(query_value("", "a") == std::nullopt);
  CHECK(query_value("a", "a") == "");
  CHECK(query_value("a=", "a") == "");
  CHECK(query_value("a==b=c", "a") == "=b=c");
  CHECK(query_value("&&a=1&", "a") == "1");
  CHECK(query_value("%61=%41+%2b", "a") == "A +");
  CHECK(query_value("a+b=x", "a b") == "x");
  CHECK(query_value("a=%00%fF", "a") == std::string("\0\xff", 2));
  // What is no escape stays.
  CHECK(query_value("a=%", "a") == "%");
  CHECK(query_value("a=%4", "a") == "%4");
  CHECK(query_value("a=%zz%4g", "a") == "%zz%4g");
}

TEST_CASE("a parameter that nobody knows is found", "[http][query]") {
  CHECK(unknown_query_name("?a=1&b", {"a", "b"}) == std::nullopt);
  CHECK(unknown_query_name("", {}) == std::nullopt);
  CHECK(unknown_query_name("?&&a&", {"a"}) == std::nullopt);
  CHECK(unknown_query_name("%61=1", {"a"}) == std::nullopt);
  CHECK(unknown_query_name("a=1&blok=2&c", {"a", "block"}) == "blok");
  CHECK(unknown_query_name("=1", {"a"}) == "");
}
