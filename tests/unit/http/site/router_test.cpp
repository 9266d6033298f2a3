#include "core/http/site/router.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::http;
using Kind = RouteMatch::Kind;

namespace {
constexpr MethodSet only(Method m) { return MethodSet::of(m); }
}  // namespace

TEST_CASE("router: exact beats the longest prefix", "[http]") {
  const auto router = Router::make(
      {{.path = "/"}, {.path = "/a/*"}, {.path = "/a/b/*"}, {.path = "/a/b/c"}, {.path = "/a/"}, {.path = "/files/*"}});
  REQUIRE(router);
  const auto at = [&](std::string_view path) { return router->match(Method::get, "x", path); };
  CHECK(at("/").index == 0);
  CHECK(at("/a/x").index == 1);
  CHECK(at("/a/b/").index == 2);
  CHECK(at("/a/b/x/y").index == 2);
  CHECK(at("/a/b/c").index == 3);
  CHECK(at("/a/b/c/").index == 2);
  CHECK(at("/a/").index == 4);
  CHECK(at("/files/x").rest == 7);
  CHECK(at("/x").kind == Kind::not_found);
  CHECK(at("").kind == Kind::not_found);
}

TEST_CASE("router: of prefixes of any length the longest serves", "[http]") {
  // One segment of each length, some long: what is looked for is chosen by length.
  const std::vector<std::string> segments{"",
                                          "a",
                                          std::string(7, 'b'),
                                          std::string(62, 'c'),
                                          std::string(63, 'd'),
                                          std::string(64, 'e'),
                                          std::string(200, 'f')};
  std::vector<std::string> folders{"/"};
  for (std::size_t i = 1; i < segments.size(); ++i) folders.push_back(folders.back() + segments[i] + "/");
  for (unsigned chosen = 1; chosen < 1U << folders.size(); ++chosen) {
    std::vector<RouteSpec> routes;
    for (std::size_t i = 0; i < folders.size(); ++i) {
      if ((chosen >> i & 1U) != 0) routes.push_back({.path = folders[i] + "*"});
    }
    const auto router = Router::make(routes);
    REQUIRE(router);
    bool right = true;
    std::size_t served = 0;  // routes that cover the folder
    for (std::size_t i = 0; i < folders.size(); ++i) {
      served += chosen >> i & 1U;
      const RouteMatch match = router->match(Method::get, "x", folders[i] + "leaf");
      right = right && (served == 0 ? match.kind == Kind::not_found
                                    : match.kind == Kind::route && match.index == served - 1 &&
                                          match.rest == routes[served - 1].path.size() - 1);
    }
    CAPTURE(chosen);
    CHECK(right);
  }
}

TEST_CASE("router: a prefix's name without its slash is redirected, unless a route has it", "[http]") {
  const auto router = Router::make({{.path = "/*"},
                                    {.path = "/a/*"},
                                    {.path = "/a/b/*"},
                                    {.path = "/c/*"},
                                    {.path = "/c", .methods = only(Method::get)},
                                    {.path = "/posts/*", .methods = only(Method::post)},
                                    {.path = "/own/*", .host = "own"}});
  REQUIRE(router);
  const auto at = [&](Method m, std::string_view path) { return router->match(m, "x", path); };
  for (const std::string_view path : {"/a", "/a/b"}) {
    INFO(path);
    CHECK(at(Method::get, path).kind == Kind::add_slash);
    CHECK(at(Method::post, path).kind == Kind::add_slash);
    CHECK(at(Method::get, std::string(path) + "/").kind == Kind::route);
    CHECK(at(Method::get, std::string(path) + "x").kind == Kind::route);
  }
  CHECK(at(Method::get, "/c").index == 4);
  CHECK(at(Method::get, "/c").exact);
  CHECK(at(Method::post, "/c").index == 0);
  CHECK_FALSE(at(Method::post, "/c").exact);
  CHECK(at(Method::get, "/posts").index == 0);
  CHECK(at(Method::get, "/posts").kind == Kind::route);
  CHECK(at(Method::post, "/posts").kind == Kind::add_slash);
  CHECK(router->match(Method::get, "own", "/own").kind == Kind::add_slash);
  CHECK(at(Method::get, "/own").kind == Kind::route);
  CHECK(at(Method::get, "/").kind == Kind::route);
  const auto alone = Router::make({{.path = "/static/*", .methods = only(Method::get)}});
  REQUIRE(alone);
  CHECK(alone->match(Method::get, "", "/static").kind == Kind::add_slash);
  CHECK(alone->match(Method::head, "", "/static").kind == Kind::add_slash);
  CHECK(alone->match(Method::post, "", "/static").kind == Kind::method_not_allowed);
  CHECK(alone->match(Method::options, "", "/static").kind == Kind::options);
  CHECK(alone->match(Method::get, "", "/stati").kind == Kind::not_found);
  CHECK(alone->match(Method::get, "", "/staticx").kind == Kind::not_found);
}

TEST_CASE("router: an answer of its own names the route that it is about: the most specific, the first of a path",
          "[http]") {
  const auto router = Router::make({{.path = "/*", .methods = only(Method::get)},
                                    {.path = "/a/*", .methods = only(Method::put)},
                                    {.path = "/a/b", .methods = only(Method::post)},
                                    {.path = "/a/b", .methods = only(Method::patch)},
                                    {.path = "/*", .host = "own", .methods = only(Method::get)}});
  REQUIRE(router);
  const RouteMatch b = router->match(Method::delete_, "x", "/a/b");
  CHECK(b.kind == Kind::method_not_allowed);
  CHECK(b.of_route);
  CHECK(b.index == 2);
  CHECK(b.exact);
  const RouteMatch below = router->match(Method::options, "x", "/a/c");
  CHECK(below.kind == Kind::options);
  CHECK(below.of_route);
  CHECK(below.index == 1);
  CHECK(below.rest == 3);
  CHECK(router->match(Method::delete_, "own", "/a/b").index == 4);
  CHECK(router->match(Method::get, "x", "/a/b").index == 0);
  CHECK(router->match(Method::get, "x", "/a/b").rest == 1);
  CHECK_FALSE(router->match(Method::unknown, "x", "/a/b").of_route);
  CHECK_FALSE(router->match(Method::options, "x", "*").of_route);
}

TEST_CASE("router: what no path in normal form is, no route can be", "[http]") {
  for (const char* path : {"//", "//a", "/a//b", "/a//*", "//*", "/./a", "/a/.", "/../a", "/a/..", "/a/../*", "/./*"}) {
    INFO(path);
    CHECK_FALSE(Router::make({{.path = path}}).has_value());
  }
  for (const char* path : {"/", "/*", "/a/", "/.a", "/a./*", "/...", "/a;b"}) {
    INFO(path);
    CHECK(Router::make({{.path = path}}).has_value());
  }
}

TEST_CASE("router: methods, Allow and 501", "[http]") {
  const auto router = Router::make({{.path = "/a", .methods = only(Method::get)},
                                    {.path = "/a", .methods = only(Method::post)},
                                    {.path = "/*", .methods = only(Method::put)}});
  REQUIRE(router);
  CHECK(router->match(Method::get, "", "/a").index == 0);
  CHECK(router->match(Method::head, "", "/a").index == 0);
  CHECK(router->match(Method::post, "", "/a").index == 1);
  CHECK(router->match(Method::put, "", "/a").index == 2);
  const RouteMatch refused = router->match(Method::patch, "", "/a");
  CHECK(refused.kind == Kind::method_not_allowed);
  CHECK(AllowValue(refused.allow).text() == "GET, HEAD, POST, PUT, OPTIONS");
  CHECK(AllowValue(router->match(Method::get, "", "/b").allow).text() == "PUT, OPTIONS");
  CHECK(router->match(Method::options, "", "/a").kind == Kind::options);
  CHECK(router->match(Method::options, "", "*").kind == Kind::options);
  CHECK(router->match(Method::trace, "", "/a").kind == Kind::method_not_allowed);
  CHECK(router->match(Method::connect, "", "").kind == Kind::method_not_allowed);
  CHECK(router->match(Method::unknown, "", "/nowhere").kind == Kind::not_implemented);
}

TEST_CASE("router: hosts", "[http]") {
  const auto router = Router::make({{.path = "/a"},
                                    {.path = "/*", .host = "API.example.com"},
                                    {.path = "/a", .host = "b.example", .methods = only(Method::post)},
                                    {.path = "/v6", .host = "[::1]:80"}});
  REQUIRE(router);
  CHECK(router->match(Method::get, "x", "/a").index == 0);
  CHECK(router->match(Method::get, "api.EXAMPLE.com:8080", "/a").index == 1);
  CHECK(router->match(Method::get, "api.example.comx", "/a").index == 0);
  CHECK(router->match(Method::get, "b.example", "/a").index == 0);
  CHECK(router->match(Method::post, "b.example", "/a").index == 2);
  CHECK(router->match(Method::get, "[::1]", "/v6").index == 3);
  CHECK(router->match(Method::get, "x", "/v6").kind == Kind::not_found);
}

TEST_CASE("router: the dot of a host's absolute form is no part of its name", "[http]") {
  const auto router = Router::make({{.path = "/*"}, {.path = "/*", .host = "a.example"}, {.path = "/*", .host = "b."}});
  REQUIRE(router);
  CHECK(router->match(Method::get, "a.example.", "/").index == 1);
  CHECK(router->match(Method::get, "A.example.:80", "/").index == 1);
  CHECK(router->match(Method::get, "a.example..", "/").index == 0);
  CHECK(router->match(Method::get, "b", "/").index == 2);
  CHECK(router->match(Method::get, ".", "/").index == 0);
}

TEST_CASE("router: an exact host beats the longest wildcard beats any host", "[http]") {
  const auto router = Router::make({{.path = "/*"},
                                    {.path = "/*", .host = "*.example.org"},
                                    {.path = "/*", .host = "*.B.example.org"},
                                    {.path = "/a", .host = "x.b.example.org", .methods = only(Method::post)},
                                    {.path = "/only", .host = "*.net"}});
  REQUIRE(router);
  const auto at = [&](std::string_view host, std::string_view path = "/a", Method method = Method::get) {
    return router->match(method, host, path);
  };
  CHECK(at("y.example.org").index == 1);
  CHECK(at("Y.EXAMPLE.org.:80").index == 1);
  CHECK(at("y.z.example.org").index == 1);
  CHECK(at("y.b.example.org").index == 2);
  CHECK(at("b.example.org").index == 1);
  CHECK(at("x.b.example.org", "/a", Method::post).index == 3);
  CHECK(at("x.b.example.org").index == 2);
  for (const char* host : {"example.org", ".example.org", "yexample.org", "y.example.org.evil", "", "org", "[::1]"}) {
    INFO(host);
    CHECK(at(host).index == 0);
  }
  CHECK(at("a.net", "/only").index == 4);
  CHECK(at("net", "/only").index == 0);
  CHECK(at(std::string(100'000, '.'), "/only").index == 0);
}

TEST_CASE("router: refused tables", "[http]") {
  for (const char* path : {"", "a", "/a*", "/*/b", "/a/*/*", "/a\r\n"}) {
    INFO(path);
    CHECK_FALSE(Router::make({{.path = path}}));
  }
  CHECK_FALSE(Router::make({{.path = "/a"}, {.path = "/a"}}));
  CHECK_FALSE(Router::make({{.path = "/a", .methods = MethodSet()}}));
  for (const char* host : {".", ":80", "*", "*.", "*..", ".a", "a.*", "*.*.a", "*a"}) {
    INFO(host);
    CHECK_FALSE(Router::make({{.path = "/a", .host = host}}));
  }
  CHECK(Router::make({}));
}
