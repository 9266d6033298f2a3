#include "core/http/path.hpp"

#include <array>
#include <catch2/catch.hpp>

#include "core/http/files/mime.hpp"

using namespace fiberd::http;

TEST_CASE("path: decoded once, dots removed", "[http]") {
  struct Row {
    std::string_view raw, path;
  };
  for (const Row& row : std::initializer_list<Row>{{"/", "/"},
                                                   {"/a/b.c", "/a/b.c"},
                                                   {"/a//b", "/a/b"},
                                                   {"/a/.", "/a/"},
                                                   {"/a/..", "/"},
                                                   {"/a/b/..", "/a/"},
                                                   {"/a/b/../c", "/a/c"},
                                                   {"/a/./b", "/a/b"},
                                                   {"/..", "/"},
                                                   {"/../../a", "/a"},
                                                   {"/%2e%2e/a", "/a"},
                                                   {"/a/%2E/b", "/a/b"},
                                                   {"/a/.%2e/b", "/b"},
                                                   {"/a//../b", "/b"},
                                                   {"/a/...", "/a/..."},
                                                   {"/.a", "/.a"},
                                                   {"/..a/", "/..a/"},
                                                   {"/%252e%252e/", "/%2e%2e/"},
                                                   {"/%41%7A", "/Az"},
                                                   {"/a%20b", "/a b"},
                                                   {"/%C3%A9", "/\xc3\xa9"},
                                                   {"/a%5C..", "/a\\.."},
                                                   {"//", "/"},
                                                   {"//a", "/a"},
                                                   {"///a///b///", "/a/b/"},
                                                   {"/.//a", "/a"},
                                                   {"/a//", "/a/"},
                                                   {"/a//..", "/"},
                                                   {"/a/.//../b", "/b"},
                                                   {"//..//a", "/a"},
                                                   {"//%2e//a", "/a"},
                                                   {"/a;b//c", "/a;b/c"},
                                                   {"/a/;/../b", "/a/b"}}) {
    std::array<char, 64> scratch{};
    INFO(row.raw);
    const NormalisedPath n = normalise_path(row.raw, scratch);
    CHECK(n.reason == Reject::none);
    CHECK(n.path == row.path);
  }
}

TEST_CASE("path: refused", "[http]") {
  std::array<char, 16> scratch{};
  CHECK(normalise_path("/%", scratch).reason == Reject::bad_escape);
  CHECK(normalise_path("/%1", scratch).reason == Reject::bad_escape);
  CHECK(normalise_path("/%g0", scratch).reason == Reject::bad_escape);
  CHECK(normalise_path("/%00", scratch).reason == Reject::nul_in_path);
  CHECK(normalise_path("/a%2f", scratch).reason == Reject::encoded_slash);
  CHECK(normalise_path("", scratch).reason == Reject::bad_target);
  CHECK(normalise_path("a", scratch).reason == Reject::bad_target);
  CHECK(normalise_path("/0123456789012345678%41", scratch).reason == Reject::path_too_long);
}

TEST_CASE("media types", "[http]") {
  CHECK(media_type_for("index.html") == "text/html; charset=utf-8");
  CHECK(media_type_for("/a.b/X.PNG") == "image/png");
  CHECK(media_type_for("a.tar.gz") == "application/gzip");
  for (const char* name : {"", ".html", "a", "a.", "/a.html/b", "a.nosuch", "a.aaaaaaaaaaaaaaaaaaaaaa"}) {
    CHECK(media_type_for(name) == "application/octet-stream");
  }
}

TEST_CASE("media types of an operator's own come before those that are known", "[http][mime]") {
  const fiberd::Result<MediaTypes> made =
      MediaTypes::make({{".PNG", "image/x"},
                        {".a-long-extension-that-is-not-known", "text/x; charset=utf-8"},
                        {".b", "b/1"},
                        {".b", "b/2"}});
  REQUIRE(made);
  const MediaTypes& types = *made;
  CHECK(types.find("/d.b/x.png") == "image/x");
  CHECK(types.find("x.PnG") == "image/x");
  CHECK(types.find("x.A-long-extension-that-is-not-known") == "text/x; charset=utf-8");
  CHECK(types.find("x.b") == "b/1");
  CHECK(types.find("x.png.gif") == "image/gif");
  CHECK(types.find("index.html") == "text/html; charset=utf-8");
  for (const char* name : {"", "b", ".b", "x.", "x.unknown", "/a.b/x"})
    CHECK(types.find(name) == "application/octet-stream");
  CHECK(MediaTypes().find("a.css") == media_type_for("a.css"));
  for (const auto& [extension, type] : std::vector<std::pair<std::string, std::string>>{
           {"a", "b/c"}, {".", "b/c"}, {".a.b", "b/c"}, {".a", ""}, {".a", "b/c\r\nX: y"}})
    CHECK(MediaTypes::make({{extension, type}}).error() == std::errc::invalid_argument);
}
