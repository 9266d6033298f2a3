// Files as representations: validators, preconditions, ranges, codings, listings; and the forms of errors.
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/http/files/files.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& content, std::time_t mtime = 1'000'000'000) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << content;
  out.close();
  if (!out) throw std::runtime_error("write " + path.string());
  const utimbuf times{mtime, mtime};
  if (::utime(path.c_str(), &times) != 0) throw std::runtime_error("utime " + path.string());
}

std::string ask_for(const std::string& path, const std::string& fields = "", const std::string& method = "GET") {
  return method + " " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

struct Site {
  explicit Site(http::FilesOptions options = {}) {
    root = fs::path(directory.path()) / "root";
    write(root / "ten.txt", "0123456789");
    write(root / "index.html", "index");
    write(root / "page.html", "page");
    write(root / "app.js", "plain js");
    write(root / "app.js.gz", "gzipped js");
    write(root / "app.js.br", "brotli js");
    write(root / "stale.js", "plain");
    write(root / "stale.js.gz", "old", 999'999'999);
    write(root / "sub" / "a&<b>\"'.txt", "x");
    write(root / "sub" / ".secret", "x");
    write(root / "sub" / "\xff\n.txt", "x");
    write(root / "sub" / "deeper" / "y.txt", "y");
    options.root = root.string();
    server = std::make_unique<HttpServer>(
        std::vector<http::Route>{{.spec = {.path = "/*"}, .handler = *http::make_files_handler(std::move(options))}});
    client = std::make_unique<HttpClient>(server->port());
  }
  Answer ask(const std::string& path, const std::string& fields = "", const std::string& method = "GET") {
    const auto a = client->ask(ask_for(path, fields, method), method == "HEAD");
    REQUIRE(a.has_value());
    return *a;
  }
  /// There is one runtime at a time.
  void close() {
    client.reset();
    server.reset();
  }
  TemporaryDirectory directory;
  fs::path root;
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<HttpClient> client;
};

constexpr const char* kModified = "Sun, 09 Sep 2001 01:46:40 GMT";

}  // namespace

TEST_CASE("files: strong validators, weak ones while the file is fresh", "[integration][files]") {
  Site s;
  const Answer a = s.ask("/ten.txt");
  CHECK(a.status == 200);
  const std::string etag = a.field("ETag");
  CHECK((etag.size() == 18 && etag.front() == '"' && etag.back() == '"'));
  CHECK(a.field("Last-Modified") == kModified);
  CHECK(a.field("Accept-Ranges") == "bytes");
  CHECK(a.field("Cache-Control").empty());
  CHECK(s.ask("/ten.txt", "", "HEAD").field("ETag") == etag);
  CHECK(s.ask("/page.html").field("ETag") != etag);
  write(s.root / "fresh.txt", "fresh", std::time(nullptr));
  CHECK(s.ask("/fresh.txt").field("ETag").starts_with("W/\""));
}

TEST_CASE("files: preconditions", "[integration][files]") {
  Site s({.cache_control = "max-age=60"});
  const std::string etag = s.ask("/ten.txt").field("ETag");
  const Answer same = s.ask("/ten.txt", "If-None-Match: \"x\", " + etag + "\r\n");
  CHECK(same.status == 304);
  CHECK(same.field("ETag") == etag);
  CHECK(same.field("Cache-Control") == "max-age=60");
  CHECK(same.field("Content-Length").empty());
  CHECK(same.field("Content-Type").empty());
  CHECK(s.ask("/ten.txt", "If-None-Match: W/" + etag + "\r\n").status == 304);
  CHECK(s.ask("/ten.txt", "If-None-Match: *\r\n").status == 304);
  CHECK(s.ask("/ten.txt", "If-None-Match: \"x\"\r\n").body == "0123456789");
  CHECK(s.ask("/ten.txt", std::string("If-Modified-Since: ") + kModified + "\r\n").status == 304);
  CHECK(s.ask("/ten.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n").status == 200);
  CHECK(s.ask("/ten.txt", "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n").status == 412);
  CHECK(s.ask("/ten.txt", "If-Match: " + etag + "\r\n").status == 200);
  CHECK(s.ask("/ten.txt", "If-Match: \"x\"\r\n").status == 412);
  CHECK(s.ask("/none.txt", "If-Match: *\r\n").status == 404);
}

TEST_CASE("files: what Last-Modified said holds as a precondition, of a file from the future too",
          "[integration][files]") {
  Site s;
  write(s.root / "ahead.txt", "ahead", std::time(nullptr) + 3600);
  const std::string told = s.ask("/ahead.txt").field("Last-Modified");
  REQUIRE_FALSE(told.empty());
  CHECK(s.ask("/ahead.txt", "If-Unmodified-Since: " + told + "\r\n").status == 200);
  CHECK(s.ask("/ahead.txt", "If-Modified-Since: " + told + "\r\n").status == 304);
}

TEST_CASE("files: one range", "[integration][files]") {
  Site s;
  const Answer whole = s.ask("/ten.txt");
  const Answer a = s.ask("/ten.txt", "Range: bytes=2-4\r\n");
  CHECK(a.status == 206);
  CHECK(a.body == "234");
  CHECK(a.field("Content-Range") == "bytes 2-4/10");
  CHECK(a.field("ETag") == whole.field("ETag"));
  CHECK(a.field("Content-Type") == whole.field("Content-Type"));
  CHECK(s.ask("/ten.txt", "Range: bytes=-3\r\n").body == "789");
  CHECK(s.ask("/ten.txt", "Range: bytes=8-\r\n").body == "89");
  CHECK(s.ask("/ten.txt", "Range: bytes=0-3,2-6\r\n").field("Content-Range") == "bytes 0-6/10");
  const Answer beyond = s.ask("/ten.txt", "Range: bytes=10-\r\n");
  CHECK(beyond.status == 416);
  CHECK(beyond.field("Content-Range") == "bytes */10");
  CHECK(s.ask("/ten.txt", "Range: lines=1-2\r\n").status == 200);
  CHECK(s.ask("/ten.txt", "Range: bytes=4-2\r\n").status == 200);
  CHECK(s.ask("/ten.txt", "Range: bytes=0-0\r\nRange: bytes=1-1\r\n").status == 200);
  const Answer head = s.ask("/ten.txt", "Range: bytes=2-4\r\n", "HEAD");
  CHECK(head.status == 200);
  CHECK(head.field("Content-Length") == "10");
  CHECK(s.ask("/ten.txt", "Range: bytes=0-1\r\nIf-Range: " + whole.field("ETag") + "\r\n").status == 206);
  CHECK(s.ask("/ten.txt", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").status == 200);
  CHECK(s.ask("/ten.txt", std::string("Range: bytes=0-1\r\nIf-Range: ") + kModified + "\r\n").status == 206);
  CHECK(s.ask("/ten.txt", "Range: bytes=0-1\r\nIf-None-Match: " + whole.field("ETag") + "\r\n").status == 304);
}

TEST_CASE("files: several ranges come as multipart/byteranges", "[integration][files]") {
  Site s;
  const Answer a = s.ask("/ten.txt", "Range: bytes=7-8,0-1\r\n");
  CHECK(a.status == 206);
  const std::string type = a.field("Content-Type");
  const std::string prefix = "multipart/byteranges; boundary=";
  REQUIRE(type.starts_with(prefix));
  const std::string b = "\r\n--" + type.substr(prefix.size());
  const std::string part = "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ";
  CHECK(a.body == b + part + "7-8/10\r\n\r\n78" + b + part + "0-1/10\r\n\r\n01" + b + "--\r\n");
  CHECK(a.field("Content-Range").empty());
  std::string many = "Range: bytes=0-0";
  for (int i = 0; i < 16; ++i) many += ",2-2";
  CHECK(s.ask("/ten.txt", many + "\r\n").status == 200);
  s.close();
  Site without({.ranges = 0});
  const Answer none = without.ask("/ten.txt", "Range: bytes=2-4\r\n");
  CHECK(none.status == 200);
  CHECK(none.field("Accept-Ranges").empty());
}

TEST_CASE("files: compressed siblings", "[integration][files]") {
  Site s({.precompressed = {"br", "zstd", "gzip"}});
  const Answer plain = s.ask("/app.js");
  CHECK(plain.body == "plain js");
  CHECK(plain.field("Vary") == "Accept-Encoding");
  CHECK(plain.field("Content-Encoding").empty());
  const Answer gzip = s.ask("/app.js", "Accept-Encoding: gzip\r\n");
  CHECK(gzip.body == "gzipped js");
  CHECK(gzip.field("Content-Encoding") == "gzip");
  CHECK(gzip.field("Vary") == "Accept-Encoding");
  CHECK(gzip.field("Content-Type") == plain.field("Content-Type"));
  CHECK(gzip.field("ETag") != plain.field("ETag"));
  CHECK(s.ask("/app.js", "Accept-Encoding: gzip, br, zstd\r\n").body == "brotli js");
  CHECK(s.ask("/app.js", "Accept-Encoding: br;q=0.1, gzip;q=0.2\r\n").body == "gzipped js");
  CHECK(s.ask("/app.js", "Accept-Encoding: zstd\r\n").body == "plain js");
  const Answer same = s.ask("/app.js", "Accept-Encoding: gzip\r\nIf-None-Match: " + gzip.field("ETag") + "\r\n");
  CHECK(same.status == 304);
  CHECK(same.field("ETag") == gzip.field("ETag"));
  CHECK(same.field("Vary") == "Accept-Encoding");
  CHECK(same.field("Content-Encoding").empty());
  CHECK(s.ask("/app.js", "Accept-Encoding: br\r\nIf-None-Match: " + gzip.field("ETag") + "\r\n").status == 200);
  const Answer part = s.ask("/app.js", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
  CHECK(part.body == "gz");
  CHECK(part.field("Content-Encoding") == "gzip");
  const Answer stale = s.ask("/stale.js", "Accept-Encoding: gzip\r\n");
  CHECK(stale.body == "plain");
  CHECK(stale.field("Vary").empty());
  s.close();
  Site off;
  CHECK(off.ask("/app.js", "Accept-Encoding: gzip\r\n").body == "plain js");
  CHECK_FALSE(http::make_files_handler({.root = s.root.string(), .precompressed = {"lzma"}}).has_value());
}

TEST_CASE("files: try_files and fallback", "[integration][files]") {
  Site s({.try_files = {"$path", "$path.html", "$path/"}, .fallback = "index.html"});
  CHECK(s.ask("/ten.txt").body == "0123456789");
  CHECK(s.ask("/page").body == "page");
  CHECK(s.ask("/").body == "index");
  CHECK(s.ask("/deep/link?x=1").body == "index");
  CHECK(s.ask("/deep/link").status == 200);
  CHECK(s.ask("/sub/.secret").status == 404);
  s.close();
  Site plain({.fallback = "none.html"});
  CHECK(plain.ask("/missing").status == 404);
}

TEST_CASE("files: listings are escaped, hide what is hidden, and come as JSON too", "[integration][files]") {
  Site s({.listing = true});
  const Answer html = s.ask("/sub/");
  CHECK(html.status == 200);
  CHECK(html.field("Content-Type") == "text/html; charset=utf-8");
  CHECK(html.field("Vary") == "Accept");
  CHECK(html.body.find("./a%26%3Cb%3E%22%27.txt\">a&amp;&lt;b&gt;&quot;&#39;.txt</a>") != std::string::npos);
  CHECK(html.body.find("<b>") == std::string::npos);
  CHECK(html.body.find(".secret") == std::string::npos);
  CHECK(html.body.find("./%FF%0A.txt\">\xef\xbf\xbd\xef\xbf\xbd.txt</a>") != std::string::npos);
  CHECK(html.field("Listing-Truncated").empty());
  CHECK(html.body.find("./deeper/\">deeper/</a>") != std::string::npos);
  const Answer json = s.ask("/sub/", "Accept: application/json\r\n");
  CHECK(json.field("Content-Type") == "application/json");
  CHECK(json.body.find(R"({"name":"deeper","type":"directory","modified":")") != std::string::npos);
  CHECK(json.body.find(R"({"name":"a&<b>\"'.txt","type":"file","size":1,"modified":"2001-09-09T01:46:40Z"})") !=
        std::string::npos);
  CHECK(json.body.find("\"\xef\xbf\xbd\\u000a.txt\"") != std::string::npos);
  CHECK(s.ask("/").body == "index");
  s.close();
  Site off;
  CHECK(off.ask("/sub/").status == 404);
}

TEST_CASE("files: a directory with too many names is listed in part, and the answer says so", "[integration][files]") {
  Site s({.listing = true});
  fs::create_directories(s.root / "many");
  for (int i = 0; i < 10'001; ++i) std::ofstream(s.root / "many" / std::to_string(i)).close();
  // That takes longer on a slow disk than a client may be silent.
  s.client = std::make_unique<HttpClient>(s.server->port());
  const auto names = [](const std::string& body, const std::string& mark) {
    std::size_t n = 0;
    for (std::size_t at = body.find(mark); at != std::string::npos; at = body.find(mark, at + 1)) ++n;
    return n;
  };
  const Answer html = s.ask("/many/");
  CHECK(html.status == 200);
  CHECK(html.field("Listing-Truncated") == "?1");
  CHECK(names(html.body, "<a href=\"./") == 10'000);
  CHECK(html.body.find("There are more than these 10000 names.") != std::string::npos);
  const Answer json = s.ask("/many/", "Accept: application/json\r\n");
  CHECK(json.field("Listing-Truncated") == "?1");
  CHECK(names(json.body, "\n{\"name\":") == 10'000);
}

TEST_CASE("errors take the form that Accept likes, or the operator's page", "[integration][http]") {
  http::ServerOptions options;
  options.error_pages = {{405, "text/html; charset=utf-8", "<p>ours</p>"}};
  HttpServer server({{.spec = {.path = "/", .methods = http::MethodSet::of(http::Method::get)}, .handler = hello()}},
                    std::move(options));
  HttpClient c(server.port());
  const auto form = [&](const std::string& accept) { return c.ask(ask_for("/none", accept)); };
  CHECK(form("")->body == "404 Not Found\n");
  CHECK(form("")->field("Vary") == "Accept");
  CHECK(form("Accept: application/json\r\n")->field("Content-Type") == "application/problem+json");
  CHECK(form("Accept: application/json\r\n")->body ==
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}\n");
  CHECK(form("Accept: text/html, */*;q=0.1\r\n")->body.find("<h1>404 Not Found</h1>") != std::string::npos);
  const auto page = c.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  REQUIRE(page.has_value());
  CHECK(page->status == 405);
  CHECK(page->field("Allow") == "GET, HEAD, OPTIONS");
  CHECK(page->body == "<p>ours</p>");
  CHECK(page->field("Vary").empty());
}
