#include "daemon/acme/answers.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd::daemon::acme;

static constexpr std::string_view kHttps = "https://";

TEST_CASE("a directory is read for what it offers", "[acme]") {
  const auto d = read_directory(R"({
    "keyChange": "https://ca.example/key", "newAccount": "https://ca.example/acct",
    "newNonce": "https://ca.example/nonce", "newOrder": "https://ca.example/order",
    "renewalInfo": "https://ca.example/ari", "unknown": {"a": [1, 2]},
    "meta": {"externalAccountRequired": true, "profiles": {"shortlived": "six days", "classic": "ninety"}}})",
                                kHttps);
  REQUIRE(d);
  CHECK(d->new_nonce == "https://ca.example/nonce");
  CHECK(d->new_account == "https://ca.example/acct");
  CHECK(d->new_order == "https://ca.example/order");
  CHECK(d->renewal_info == "https://ca.example/ari");
  CHECK(d->profiles == std::vector<std::string>{"shortlived", "classic"});
  CHECK(d->external_account_required);
}

TEST_CASE("a directory that leads elsewhere, or nowhere, is none", "[acme]") {
  const std::string good = R"({"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o"})";
  CHECK(read_directory(good, kHttps));
  for (const char* const bad :
       {"", "{", "[]", "null", "\"https://a/n\"", "{}", R"({"newNonce":"https://a/n","newAccount":"https://a/a"})",
        R"({"newNonce":"http://a/n","newAccount":"https://a/a","newOrder":"https://a/o"})",
        R"({"newNonce":"file:///etc","newAccount":"https://a/a","newOrder":"https://a/o"})",
        R"({"newNonce":"https://a/n","newAccount":"https://u:p@a/a","newOrder":"https://a/o"})",
        R"({"newNonce":"https://a/n","newAccount":"https://a/a b","newOrder":"https://a/o"})",
        R"({"newNonce":"https://a/n","newAccount":"https://a/a\r\nX: y","newOrder":"https://a/o"})",
        R"({"newNonce":7,"newAccount":"https://a/a","newOrder":"https://a/o"})",
        R"({"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o","renewalInfo":"ftp://a"})"}) {
    INFO(bad);
    CHECK_FALSE(read_directory(bad, kHttps));
  }
  CHECK_FALSE(read_directory(std::string(100'000, '['), kHttps));
  CHECK_FALSE(read_directory(good + std::string(kMostDocument, ' '), kHttps));
}

TEST_CASE("an order and an authorization are read", "[acme]") {
  const auto order = read_order(R"({"status":"invalid","finalize":"https://a/f","authorizations":["https://a/1"],
    "certificate":"https://a/c","error":{"type":"urn:ietf:params:acme:error:caa","detail":"no\nway"}})",
                                kHttps);
  REQUIRE(order);
  CHECK(order->status == Status::invalid);
  CHECK(order->authorizations == std::vector<std::string>{"https://a/1"});
  CHECK(order->certificate == "https://a/c");
  CHECK(order->error.type == "caa");
  CHECK(order->error.detail == "no\\x0away");
  CHECK_FALSE(read_order(R"({"status":"ready","finalize":"https://a/f"})", kHttps));
  CHECK_FALSE(read_order(R"({"status":"ready","finalize":"https://a/f","authorizations":["http://a/1"]})", kHttps));
  CHECK_FALSE(read_order(R"({"status":"ready","finalize":"https://a/f","authorizations":[1]})", kHttps));
  CHECK(read_order(R"({"status":"new","finalize":"https://a/f","authorizations":[]})", kHttps)->status ==
        Status::other);

  const auto a = read_authorization(R"({"status":"pending","identifier":{"type":"dns","value":"a.example"},
    "wildcard":true,"challenges":[
    {"type":"http-01","url":"https://a/1","token":"abc-_9","status":"pending"},
    {"type":"dns-01","url":"https://a/2","token":"../../etc/passwd","status":"pending"},
    {"type":"tls-alpn-01","url":"https://a/3","token":"xyz","status":"invalid",
     "error":{"type":"urn:ietf:params:acme:error:dns","detail":"no address"}}]})",
                                    kHttps);
  REQUIRE(a);
  CHECK(a->name == "a.example");
  CHECK(a->wildcard);
  // A token that is none leaves its challenge out.
  REQUIRE(a->challenges.size() == 2);
  CHECK(a->challenges[0].token == "abc-_9");
  REQUIRE(a->error() != nullptr);
  CHECK(a->error()->detail == "no address");
}

TEST_CASE("problems are read for their kind, and what they say is bounded", "[acme]") {
  const Problem p = read_problem(R"({"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no",
    "subproblems":[{"identifier":{"value":"b.example"},"detail":"forbidden"}]})");
  CHECK(p.type == "rejectedIdentifier");
  CHECK(p.detail == "no; b.example: forbidden");
  CHECK(read_problem(R"({"type":"about:blank","detail":"x"})").type.empty());
  CHECK(read_problem("not json") == Problem{});
  CHECK(read_problem(R"({"detail":")" + std::string(100'000, 'x') + R"("})").detail.size() < 600);
}

TEST_CASE("renewal windows have a beginning before their end", "[acme]") {
  const auto w =
      read_renewal_window(R"({"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00+01:00"}})");
  REQUIRE(w);
  CHECK(w->start == 1'735'790'400);
  CHECK(w->end == 1'735'873'200);
  CHECK_FALSE(
      read_renewal_window(R"({"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-02T04:00:00Z"}})"));
  CHECK_FALSE(read_renewal_window(R"({"suggestedWindow":{"start":"soon","end":"later"}})"));
  CHECK_FALSE(read_renewal_window("{}"));
  CHECK(parse_rfc3339("1970-01-01T00:00:00.123456Z") == 0);
  for (const char* const bad : {"", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T24:00:00Z",
                                "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00+1:00", "0001-01-01T00:00:00Z"})
    CHECK_FALSE(parse_rfc3339(bad));
}

TEST_CASE("an account is one as long as the authority says so", "[acme]") {
  CHECK(is_valid_account(R"({"status":"valid","contact":[]})"));
  for (const char* const body : {R"({"status":"deactivated"})", R"({"status":"revoked"})", "{}", "[]", ""})
    CHECK_FALSE(is_valid_account(body));
}
