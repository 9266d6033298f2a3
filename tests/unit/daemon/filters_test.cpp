// Filters out of a configuration's structs: each kind, their order, and what is wrong with its place.
#include "daemon/filters.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using daemon::Flaw;

namespace {

config::Place at(const std::string& key) { return {"f.yaml", 3, 7, key}; }

std::vector<std::string> said(const std::vector<config::FilterConfig>& filters) {
  std::vector<Flaw> flaws;
  (void)daemon::make_filters(filters, {}, flaws);
  std::vector<std::string> lines;
  for (const Flaw& flaw : flaws) lines.push_back(flaw.diagnostic.to_string());
  return lines;
}
bool has(const std::vector<std::string>& lines, std::size_t i, std::string_view key, std::string_view word) {
  return i < lines.size() && lines[i].starts_with("f.yaml:3:7: " + std::string(key) + ": ") &&
         lines[i].find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("every kind of filter is made of its struct", "[daemon][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", "user:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n");
  std::vector<Flaw> flaws;
  const std::vector<config::FilterConfig> filters = {
      config::RequestIdFilter{.accept = true},
      config::CorsFilter{.origins = {"https://a.example"}, .expose = {"ETag"}},
      config::HeadersFilter{.set = {{"X-Path", "${path}"}}, .add = {{"Link", "</b>"}}, .remove = {"Server"}},
      config::CacheControlFilter{.rules = {{"text/*", "max-age=5"}}},
      config::CompressFilter{.codings = {{"br", 5}, {"gzip", {}}}, .types = {"text/plain"}, .min_size = 10},
      config::AllowFilter{.ranges = {{"203.0.113.0/24"}, {at("allow[0]")}}},
      config::DenyFilter{.ranges = {{"203.0.113.7"}, {at("deny[0]")}}},
      config::BasicAuthFilter{.file = users},
      config::NamedFilter{.name = "own"}};
  daemon::FilterSurroundings with;
  with.named = [](std::string_view name) -> std::shared_ptr<http::Filter> {
    if (name != "own") return nullptr;
    return http::make_filter([](http::Exchange& ex, http::Next next) -> Result<void> {
      if (const Result<void> set = ex.set_field("X-Own", "yes"); !set) return set;
      return next(ex);
    });
  };
  http::ServerOptions options;
  options.server_name = "fiberd";
  options.filters = daemon::make_filters(filters, with, flaws);
  options.outermost = {daemon::make_client_address_filter({{"127.0.0.1"}, {at("trusted_proxies[0]")}},
                                                          config::ForwardedHeader::x_forwarded_for, flaws)};
  REQUIRE(flaws.empty());
  REQUIRE(options.filters.size() == filters.size());
  REQUIRE(options.outermost[0]);
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, std::move(options));
  const std::string common = "X-Request-Id: 0123456789\r\nOrigin: https://a.example\r\nAccept-Encoding: br\r\n";
  const std::string login = "Authorization: Basic dXNlcjpVKlU=\r\n";
  const auto ask = [&](const std::string& fields) {
    HttpClient client(server.port());
    const auto answer = client.ask(get("/", common + fields));
    REQUIRE(answer);
    return *answer;
  };
  const Answer in = ask("X-Forwarded-For: 203.0.113.9\r\n" + login);
  CHECK(in.status == 200);
  CHECK(in.field("X-Request-Id") == "0123456789");
  CHECK(in.field("Access-Control-Allow-Origin") == "https://a.example");
  CHECK(in.field("Access-Control-Expose-Headers") == "ETag");
  CHECK(in.field("X-Path") == "/");
  CHECK(in.field("Link") == "</b>");
  CHECK(in.field("Server").empty());
  CHECK(in.field("Cache-Control") == "max-age=5");
  CHECK(in.field("X-Own") == "yes");
  CHECK(in.field("Content-Encoding").empty());  // five bytes
  // What stands before another one in the configuration is around it: the refusal has its fields, too.
  const Answer denied = ask("X-Forwarded-For: 203.0.113.7\r\n" + login);
  CHECK(denied.status == 403);
  CHECK(denied.field("X-Path") == "/");
  CHECK(denied.field("Content-Encoding") == "br");
  CHECK(denied.field("X-Own").empty());
  CHECK(ask("X-Forwarded-For: 203.0.114.1\r\n" + login).status == 403);
  CHECK(ask("X-Forwarded-For: 203.0.113.9\r\n").status == 401);
}

TEST_CASE("what is wrong with a filter is told with its place, all of it", "[daemon][filters]") {
  const auto lines = said({
      config::HeadersFilter{.set = {{"X-A", "${hots}"}, {"X-B", "$uri"}}, .at = at("headers")},
      config::HeadersFilter{.set = {{"Content-Length", "1"}}, .at = at("headers")},
      config::AllowFilter{
          .ranges = {{"10.0.0.0/8", "10.0.0.1/8", "x"}, {at("allow[0]"), at("allow[1]"), at("allow[2]")}}},
      config::BasicAuthFilter{.file = "/none/users", .file_at = at("basic_auth.file")},
      config::CorsFilter{.origins = {"*"}, .credentials = true, .at = at("cors")},
      config::CompressFilter{.codings = {{"gzip", 12}}, .at = at("compress")},
      config::RequestIdFilter{.header = "Date", .at = at("request_id")},
      config::CacheControlFilter{.rules = {{"css", "x"}}, .at = at("cache_control")},
      config::NamedFilter{.name = "none", .name_at = at("filters")},
  });
  REQUIRE(lines.size() == 11);
  CHECK(has(lines, 0, "headers", "${host}"));
  CHECK(has(lines, 1, "headers", "${path}"));
  CHECK(has(lines, 2, "headers", "Content-Length"));
  CHECK(has(lines, 3, "allow[1]", "first address"));
  CHECK(has(lines, 4, "allow[2]", "192.0.2.0/24"));
  CHECK(has(lines, 5, "basic_auth.file", "No such file"));
  CHECK(has(lines, 6, "cors", "credentials"));
  CHECK(has(lines, 7, "compress", "1 to 9"));
  CHECK(has(lines, 8, "request_id", "Date"));
  CHECK(has(lines, 9, "cache_control", "css"));
  CHECK(has(lines, 10, "filters", "none"));
}

TEST_CASE("nobody is believed where nothing is said", "[daemon][filters]") {
  std::vector<Flaw> flaws;
  CHECK_FALSE(daemon::make_client_address_filter({}, config::ForwardedHeader::x_forwarded_for, flaws));
  CHECK_FALSE(daemon::make_client_address_filter({{"10.0.0.0/8"}, {at("t")}}, config::ForwardedHeader::off, flaws));
  CHECK(flaws.empty());
  (void)daemon::make_client_address_filter({{"10.0.0.0/33"}, {at("t")}}, config::ForwardedHeader::forwarded, flaws);
  CHECK(flaws.size() == 1);
}
