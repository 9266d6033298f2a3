// What texts may hold.
#include "config/text_rules.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::config;

TEST_CASE("variables in a text", "[config][text]") {
  CHECK(find_variable("$path").compare("$path") == 0);
  CHECK(find_variable("a/$uri/b") == "$uri");
  CHECK(find_variable("a${HOME}b") == "${HOME}");
  CHECK(find_variable("${open") == "${open");
  CHECK(find_variable("$a_1-b") == "$a_1");
  for (const char* const none : {"", "$", "a$", "5$", "$5", "$$", "$-x", "100 $ a"}) CHECK(find_variable(none).empty());
  CHECK(find_variable("$$a") == "$a");
  CHECK(find_group("/v/$1") == "$1");
  CHECK(find_group("$/a$12b") == "$12");
  for (const char* const none : {"", "$", "a$", "$a1", "1$", "${1}"}) CHECK(find_group(none).empty());
  CHECK(unknown_variable("$1", "x").find("environment") == std::string::npos);
  CHECK(unknown_variable("$HOME", "x").find("environment") != std::string::npos);
  CHECK(unknown_variable("$uri", "x").find("environment") == std::string::npos);
  CHECK(is_meant_as_variable("$host"));
  CHECK(is_meant_as_variable("${x}"));
  CHECK_FALSE(is_meant_as_variable("$argon2id"));
}

TEST_CASE("hosts and patterns of them", "[config][text]") {
  for (const char* const good : {"a", "a.example", "*.a.example", "127.0.0.1", "[::1]", "x_y", "xn--bcher-kva.example"})
    CHECK(check_host_pattern(good).empty());
  for (const char* const bad : {"", "*", "*.", ".a", "a..b", "a:80", "a b", "a/b", "a,b", "*.*.a", "a*", "[::1",
                                "[::1]:80", "~^www", "$host", "${X}.a", "b\xc3\xbc.example", "{a}"})
    CHECK_FALSE(check_host_pattern(bad).empty());
  CHECK(hosts_meet("a", "a"));
  CHECK(hosts_meet("*.a", "b.a"));
  CHECK(hosts_meet("b.a", "*.a"));
  CHECK(hosts_meet("*.a", "*.b.a"));
  CHECK_FALSE(hosts_meet("*.a", "a"));
  CHECK_FALSE(hosts_meet("*.a", "ba"));
  CHECK_FALSE(hosts_meet("*.a", "*.b"));
}
