// The files handler and what it keeps: one idea of a path, a root that is looked up anew, files that change under it.
#include <utime.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/http/files/files.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/file_tree.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<http::Handler> denied() {
  return handler([](http::Exchange& ex) { return ex.respond_error(403); });
}

/// Writes over the content, as an editor or a copy does: the inode stays.
void overwrite(const fs::path& path, const std::string& content) { Tree::write(path, content); }

}  // namespace

TEST_CASE("files: no spelling of a path comes past the rule for it", "[integration][files]") {
  const Tree tree;
  fs::create_directories(tree.root() / "private" / "sub");
  Tree::write(tree.root() / "private" / "s.txt", "secret");
  Tree::write(tree.root() / "private" / "index.html", "secret");
  Tree::write(tree.root() / "private" / "sub" / "index.html", "secret");
  Tree::write(tree.root() / "secret.txt", "secret");
  const auto site = [&](http::FilesOptions options) {
    options.root = tree.root().string();
    return std::vector<http::Route>{{.spec = {.path = "/private/*"}, .handler = denied()},
                                    {.spec = {.path = "/secret.txt"}, .handler = denied()},
                                    {.spec = {.path = "/*"}, .handler = *http::make_files_handler(std::move(options))}};
  };
  for (const std::vector<std::string>& tried :
       std::vector<std::vector<std::string>>{{}, {"$path", "$path/"}, {"$path/index.html", "$path"}, {"/$path"}}) {
    HttpServer server(site({.try_files = tried, .listing = true}));
    for (const std::string path : {"/private/s.txt",
                                   "//private/s.txt",
                                   "///private//s.txt",
                                   "/.//private/s.txt",
                                   "/a//private/s.txt",
                                   "/a//..//private/s.txt",
                                   "/a/..//private/s.txt",
                                   "//./private/./s.txt",
                                   "/%2e//private/s.txt",
                                   "/%2e/private/s.txt",
                                   "/x/%2e%2e/private/s.txt",
                                   "/x/%2E./private/s.txt",
                                   "/%70rivate/s.txt",
                                   "/private%2fs.txt",
                                   "/private%2Fs.txt",
                                   "/private%5cs.txt",
                                   "/private;/s.txt",
                                   "/private;x=1/s.txt",
                                   "/;/private/s.txt",
                                   "/;/../private/s.txt",
                                   "/private%00/s.txt",
                                   "/private%20/s.txt",
                                   "/private./s.txt",
                                   "/PRIVATE/s.txt",
                                   "/private",
                                   "//private",
                                   "/private/",
                                   "//private//",
                                   "/private/.",
                                   "/private/sub",
                                   "/private//sub//",
                                   "/private/index.html",
                                   "/secret.txt",
                                   "//secret.txt",
                                   "/./secret.txt",
                                   "/.//secret.txt",
                                   "/secret.txt/",
                                   "/secret.txt//",
                                   "/secret.txt/.",
                                   "/secret.txt;",
                                   "/secret%2etxt",
                                   "/x/../secret.txt",
                                   "/x//../secret.txt"}) {
      for (const std::string& target : {path, "http://a.example" + path}) {
        INFO(target << " with " << tried.size() << " names tried");
        HttpClient c(server.port());
        const auto a = c.ask(get(target));
        REQUIRE(a.has_value());
        CHECK(a->status != 200);
        CHECK(a->body.find("secret") == std::string::npos);
      }
    }
    HttpClient c(server.port());
    CHECK(c.ask(get("//a.txt"))->status == 200);
    CHECK(c.ask(get("/private"))->field("Location") == "./private/");
    CHECK(c.ask(get("//private?q=//"))->field("Location") == "./private/?q=//");
    CHECK(c.ask(get("/private/"))->status == 403);
  }
}

TEST_CASE("files: a directory's index is served under its own name only", "[integration][files]") {
  const Tree tree;
  Tree::write(tree.root() / "dir" / "page.html", "page");
  HttpServer server({{.spec = {.path = "/*"},
                      .handler = *http::make_files_handler(
                          {.root = tree.root().string(), .try_files = {"$path", "$path.html", "$path/", "dir/"}})}});
  HttpClient c(server.port());
  const auto redirect = c.ask(get("/dir?q=1"));
  CHECK(redirect->status == 301);
  CHECK(redirect->field("Location") == "./dir/?q=1");
  CHECK(c.ask(get("/dir/"))->body == "dir index");
  CHECK(c.ask(get("/dir/page"))->body == "page");
  CHECK(c.ask(get("/"))->body == "<p>index</p>");
  CHECK(c.ask(get("/none"))->body == "dir index");  // a name of its own that was asked for by the operator
}

TEST_CASE("files: a route without /* serves the file of its path", "[integration][files]") {
  const Tree tree;
  Tree::write(tree.root() / "robots.txt", "robots");
  Tree::write(tree.root() / "dir" / "deep" / "index.html", "deep");
  const auto files = [&] { return *http::make_files_handler({.root = tree.root().string()}); };
  HttpServer server({{.spec = {.path = "/robots.txt"}, .handler = files()},
                     {.spec = {.path = "/dir/deep/"}, .handler = files()},
                     {.spec = {.path = "/none"}, .handler = files()},
                     {.spec = {.path = "/"}, .handler = files()},
                     {.spec = {.path = "/sub/*"}, .handler = files()}});
  HttpClient c(server.port());
  CHECK(c.ask(get("/robots.txt"))->body == "robots");
  CHECK(c.ask(get("//robots.txt"))->body == "robots");
  CHECK(c.ask(get("/dir/deep/"))->body == "deep");
  CHECK(c.ask(get("/none"))->status == 404);
  CHECK(c.ask(get("/"))->body == "<p>index</p>");
  CHECK(c.ask(get("/sub/"))->body == "<p>index</p>");
  CHECK(c.ask(get("/sub/a.txt"))->body == "text");
}

TEST_CASE("http: a prefix's name without its slash is redirected", "[integration][http]") {
  HttpServer server({{.spec = {.path = "/static/*"}, .handler = hello()}});
  HttpClient c(server.port());
  const auto a = c.ask(get("/static?x=1"));
  CHECK(a->status == 301);
  CHECK(a->field("Location") == "./static/?x=1");
  CHECK(c.ask(get("/st%61tic"))->field("Location") == "./st%61tic/");
  CHECK(c.ask("HEAD /static HTTP/1.1\r\nHost: a\r\n\r\n", true)->status == 301);
  const auto post = c.ask("POST /static HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  CHECK(post->status == 308);
  CHECK(post->field("Location") == "./static/");
  CHECK(c.ask(get("/static/"))->status == 200);
  CHECK(c.ask(get("/statics"))->status == 404);
}

TEST_CASE("files: a root whose link is turned, or that is made anew, is followed", "[integration][files]") {
  const TemporaryDirectory directory;
  const fs::path base = directory.path();
  for (const char* release : {"one", "two"}) {
    fs::create_directories(base / release);
    directory.write(std::string(release) + "/v", release);
    Tree::write(base / release / "big", std::string(200'000, release[0]));
  }
  fs::create_symlink("one", base / "current");
  HttpServer server({{.spec = {.path = "/*"}, .handler = *http::make_files_handler({.root = (base / "current")})}});
  HttpClient c(server.port());
  const auto becomes = [&](const std::string& body) {
    return eventually([&] { return c.ask(get("/v"))->body == body; }, std::chrono::seconds(10)) &&
           eventually([&] { return c.ask(get("/big"))->body.starts_with(body[0]); }, std::chrono::seconds(10));
  };
  CHECK(becomes("one"));
  fs::create_symlink("two", base / "next");
  fs::rename(base / "next", base / "current");
  CHECK(becomes("two"));
  fs::remove_all(base / "one");  // as a deploy does with what is old
  fs::remove(base / "current");
  fs::create_directories(base / "current");
  directory.write("current/v", "three");
  Tree::write(base / "current" / "big", std::string(200'000, 't'));
  CHECK(becomes("three"));
  fs::remove_all(base / "current");
  CHECK(eventually([&] { return c.ask(get("/v"))->status == 404; }));
  fs::create_directories(base / "current");
  directory.write("current/v", "four");
  Tree::write(base / "current" / "big", std::string(200'000, 'f'));
  CHECK(becomes("four"));
}

TEST_CASE("files: length and ETag belong to the bytes, of a file that is overwritten in place",
          "[integration][files]") {
  const Tree tree;
  // In memory, and by descriptor.
  for (const std::size_t size : {std::size_t{10}, std::size_t{100'000}, std::size_t{300'000}}) {
    const fs::path path = tree.root() / ("f" + std::to_string(size));
    const auto version = [&](int i) {
      return std::string(size + static_cast<std::size_t>(i * 37 % 11) - 5, static_cast<char>('a' + i % 26));
    };
    overwrite(path, version(0));
    HttpServer server(routes(tree));
    HttpClient c(server.port());
    const std::string request = get("/files/f" + std::to_string(size));
    std::map<std::string, std::string> seen;  // by ETag
    for (int i = 0; i < 40; ++i) {
      overwrite(path, version(i));
      for (int again = 0; again < 3; ++again) {
        const auto a = c.ask(request);
        INFO(size << ", round " << i);
        REQUIRE(a.has_value());
        REQUIRE(a->status == 200);
        REQUIRE_FALSE(a->body.empty());
        // All of it is of one version, which is as long as this.
        CHECK(a->body.find_first_not_of(a->body.front()) == std::string::npos);
        bool is_version = false;
        for (int v = 0; v <= i; ++v) is_version = is_version || a->body == version(v);
        CHECK(is_version);
        if (size > 128 * 1024) CHECK(a->body == version(i));  // by descriptor: it is looked at each time
        const auto [at, fresh] = seen.emplace(a->field("ETag"), a->body);
        if (!fresh && !a->field("ETag").starts_with("W/")) CHECK((at->second == a->body));
        if (!fresh) CHECK(at->second.size() == a->body.size());
      }
    }
    // In the end all of them see the last one.
    CHECK(eventually([&] { return c.ask(request)->body == version(39); }, std::chrono::seconds(10)));
  }
}

TEST_CASE("files: one that changes while it is sent is not passed off as whole, and is counted",
          "[integration][files]") {
  const Tree tree;
  metric::Registry registry;
  metric::Family& family = registry.family({.name = "truncated", .help = ""});
  http::ServerOptions options;
  options.metrics.closed_truncated = &registry.counter(family, {});
  const std::string content(std::size_t{20} << 20U, 'a');
  Tree::write(tree.root() / "big.bin", content);
  HttpServer server(routes(tree), std::move(options));
  for (const bool shrinks : {false, true}) {
    INFO(shrinks);
    HttpClient c(server.port(), 16384);
    c.send(get("/files/big.bin"));
    while (c.rest().find("\r\n\r\n") == std::string::npos) REQUIRE(c.more());
    if (shrinks)
      fs::resize_file(tree.root() / "big.bin", 100);
    else
      overwrite(tree.root() / "big.bin", std::string(content.size(), 'b'));
    CHECK_FALSE(c.receive().has_value());
    CHECK(eventually([&] { return options.metrics.closed_truncated->value() == (shrinks ? 2U : 1U); }));
  }
}

TEST_CASE("files: those that are only kept are closed before a client is told that descriptors are out",
          "[integration][files]") {
  const Tree tree;
  for (int i = 0; i < 8; ++i) Tree::write(tree.root() / ("f" + std::to_string(i)), std::string(200'000, 'x'));
  HttpServer server(routes(tree));
  HttpClient c(server.port());
  for (int i = 0; i < 4; ++i) CHECK(c.ask(get("/files/f" + std::to_string(i)))->status == 200);
  std::vector<unsigned> status;
  {
    const FullDescriptorTable none;
    for (int i = 4; i < 8; ++i) status.push_back(c.ask(get("/files/f" + std::to_string(i)))->status);
  }
  CHECK(status == std::vector<unsigned>{200, 200, 200, 200});
}

TEST_CASE("files: a time that says nothing is not told as Last-Modified", "[integration][files]") {
  const Tree tree;
  for (const std::time_t time : {0, 1}) {
    const utimbuf times{time, time};
    REQUIRE(::utime((tree.root() / "a.txt").c_str(), &times) == 0);
    HttpServer server(routes(tree));
    HttpClient c(server.port());
    const auto a = c.ask(get("/files/a.txt"));
    CHECK(a->status == 200);
    CHECK(a->head.find("Last-Modified") == std::string::npos);
    const std::string etag = a->field("ETag");
    CHECK(etag.starts_with('"'));
    CHECK(c.ask(get("/files/a.txt", "If-None-Match: " + etag + "\r\n"))->status == 304);
    CHECK(c.ask(get("/files/a.txt", "Range: bytes=0-1\r\nIf-Range: " + etag + "\r\n"))->status == 206);
    // Who has a date from elsewhere compares it with nothing.
    CHECK(c.ask(get("/files/a.txt", "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"))->status == 200);
    CHECK(c.ask(get("/files/a.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"))->status == 200);
    const auto part = c.ask(get("/files/a.txt", "Range: bytes=0-1\r\n"));
    CHECK(part->status == 206);
    CHECK(part->head.find("Last-Modified") == std::string::npos);
  }
}

TEST_CASE("files: try_files and listing beside each other", "[integration][files]") {
  const Tree tree;
  fs::create_symlink("../a.txt", tree.root() / "empty" / "link.txt");
  fs::create_symlink("../../secret.txt", tree.root() / "empty" / "out.txt");
  for (const std::vector<std::string>& tried :
       std::vector<std::vector<std::string>>{{}, {"$path", "$path/"}, {"$path", "$path.html"}}) {
    INFO(tried.size());
    HttpServer server(
        {{.spec = {.path = "/files/*"},
          .handler = *http::make_files_handler({.root = tree.root().string(), .try_files = tried, .listing = true})}});
    HttpClient c(server.port());
    const auto page = c.ask(get("/files/empty/"));
    CHECK(page->status == 200);
    CHECK(page->body.find("\"./link.txt\">link.txt</a> 4 ") != std::string::npos);
    CHECK(page->body.find("out.txt") == std::string::npos);
    CHECK(c.ask(get("/files/empty/link.txt"))->body == "text");
    CHECK(c.ask(get("/files/empty/out.txt"))->status == 404);
    CHECK(c.ask(get("/files/empty"))->field("Location") == "./empty/");
    CHECK(c.ask(get("/files/dir/"))->body == "dir index");
    CHECK(c.ask(get("/files/none/"))->status == 404);
    CHECK(c.ask(get("/files/none"))->status == 404);
    CHECK(c.ask(get("/files/a.txt/"))->status == 404);
  }
}
