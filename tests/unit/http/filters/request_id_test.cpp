#include "core/http/filters/request_id.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "core/http/filters/cache_rules.hpp"

using namespace fiberd;
using http::CacheRules;

TEST_CASE("request ids are 32 digits, or what needs no escape", "[http][request_id]") {
  const auto id = http::format_request_id(0x0123456789abcdefU, 0xfedcba9876543210U);
  CHECK(std::string(id.data(), id.size()) == "0123456789abcdeffedcba9876543210");
  CHECK(http::is_request_id({id.data(), id.size()}));
  for (const char* good : {"12345678", "0c5d1a6e-1b7e-4f4e-8a10-a5b6bd1ce2a9", "Root=1-67891233-abcdef012345678912",
                           "abc.def_ghi:1/2+3=@"})
    CHECK(http::is_request_id(good));
  CHECK(http::is_request_id(std::string(128, 'a')));
  for (const std::string& bad : {std::string(), std::string("1234567"), std::string(129, 'a'), std::string("1234 5678"),
                                 std::string("12345678\n"), std::string("1234\"5678"), std::string("1234<5678"),
                                 std::string("1234%5678"), std::string("1234567\0", 8), std::string("1234567\xc3\xa4")})
    CHECK_FALSE(http::is_request_id(bad));
}

TEST_CASE("the first rule that fits says the Cache-Control", "[http][cache_control]") {
  const CacheRules rules = *CacheRules::make({{".min.css", "a"}, {".CSS", "b"}, {"image/*", "c"}, {"text/html", "d"}});
  CHECK(rules.find("/x/site.min.css", "text/css") == "a");
  CHECK(rules.find("/x/site.css", "text/css; charset=utf-8") == "b");
  CHECK(rules.find("/x/SITE.CSS", "") == "b");
  CHECK(rules.find("/logo", "Image/PNG") == "c");
  CHECK(rules.find("/", "text/html; charset=utf-8") == "d");
  CHECK(rules.find("/a.css/", "text/plain").empty());
  CHECK(rules.find("/a.css/b", "text/plain").empty());
  CHECK(rules.find("/.css", "text/plain").empty());  // a file of that name, not one with that extension
  CHECK(rules.find("/acss", "").empty());
  CHECK(CacheRules::make({{"*", "no-store"}})->find("/x", "") == "no-store");
  CHECK(CacheRules().find("/x", "text/html").empty());
  CHECK(CacheRules::applies_to(200));
  CHECK(CacheRules::applies_to(304));
  for (const unsigned status : {301U, 403U, 404U, 500U}) CHECK_FALSE(CacheRules::applies_to(status));
  for (const http::CacheRule& bad :
       {http::CacheRule{"css", "a"}, http::CacheRule{".", "a"}, http::CacheRule{"", "a"}, http::CacheRule{"*/*", "a"},
        http::CacheRule{".c*", "a"}, http::CacheRule{".css", ""}, http::CacheRule{".css", "a\r\nb"},
        http::CacheRule{".css", " a"}, http::CacheRule{"text/", "a"}}) {
    std::string why;
    CHECK_FALSE(CacheRules::make({bad}, &why));
    CHECK_FALSE(why.empty());
  }
}
