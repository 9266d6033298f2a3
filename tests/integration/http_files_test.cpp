// The files handler over real sockets.
#include "core/http/files/files.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/lock.hpp"
#include "core/base/log.hpp"
#include "tests/support/file_tree.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
namespace fs = std::filesystem;

namespace {

/// What is logged while it lives.
class LoggedLines {
 public:
  LoggedLines() {
    (void)take();
    set_log_sink([](LogLevel, std::string_view line) noexcept {
      const LockGuard guard(lock);
      lines.emplace_back(line);
    });
  }
  ~LoggedLines() { set_log_sink(nullptr); }
  LoggedLines(const LoggedLines&) = delete;
  LoggedLines& operator=(const LoggedLines&) = delete;
  static std::vector<std::string> take() {
    const LockGuard guard(lock);
    return std::exchange(lines, {});
  }

 private:
  static inline Lock lock;
  static inline std::vector<std::string> lines;
};

std::string pattern(std::size_t size) {
  std::string s(size, ' ');
  std::uint32_t x = 7;
  for (char& c : s) c = static_cast<char>((x = x * 1664525U + 1013904223U) >> 24U);
  return s;
}

}  // namespace

TEST_CASE("files: content, type, index, redirect", "[integration][files]") {
  const Tree tree;
  HttpServer server(routes(tree));
  HttpClient c(server.port());
  struct Row {
    const char* path;
    unsigned status;
    const char* body;
    const char* type;
  };
  for (int round = 0; round < 2; ++round) {  // the second time from the kept descriptors
    for (const Row& row :
         std::initializer_list<Row>{{"/files/a.txt", 200, "text", "text/plain; charset=utf-8"},
                                    {"/files/a.txt?v=1", 200, "text", "text/plain; charset=utf-8"},
                                    {"/files/", 200, "<p>index</p>", "text/html; charset=utf-8"},
                                    {"/files/dir/", 200, "dir index", "text/html; charset=utf-8"},
                                    {"/files/dir/deep/b.PNG", 200, "png", "image/png"},
                                    {"/files/nothing.css", 200, "", "text/css; charset=utf-8"},
                                    {"/files/with%20space.js", 200, "js", "text/javascript; charset=utf-8"},
                                    {"/files/inside", 200, "text", "application/octet-stream"},
                                    {"/files/dir/../a.txt", 200, "text", "text/plain; charset=utf-8"},
                                    {"/files/.well-known/security.txt", 200, "contact", "text/plain; charset=utf-8"}}) {
      INFO(row.path);
      const auto a = c.ask(get(row.path));
      REQUIRE(a.has_value());
      CHECK(a->status == row.status);
      CHECK(a->body == row.body);
      CHECK(a->field("Content-Type") == row.type);
      CHECK(a->field("Last-Modified").ends_with(" GMT"));
      const auto head = c.ask("HEAD " + std::string(row.path) + " HTTP/1.1\r\nHost: a\r\n\r\n", true);
      REQUIRE(head.has_value());
      CHECK(head->status == row.status);
      CHECK(head->field("Content-Length") == a->field("Content-Length"));
      CHECK(head->field("Content-Type") == row.type);
    }
  }
  const auto redirect = c.ask(get("/files/dir?q=1"));
  REQUIRE(redirect.has_value());
  CHECK(redirect->status == 301);
  CHECK(redirect->field("Location") == "./dir/?q=1");
  const auto post = c.ask("POST /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  REQUIRE(post.has_value());
  CHECK(post->status == 405);
  CHECK(post->field("Allow").starts_with("GET, HEAD"));
}

TEST_CASE("files: nothing outside of the root, nothing hidden, nothing that is no file", "[integration][files]") {
  const Tree tree;
  HttpServer server(routes(tree));
  for (const std::string path : {"/files/out",
                                 "/files/out-relative",
                                 "/files/up/secret.txt",
                                 "/files/up/root/a.txt",
                                 "/files/loop",
                                 "/files/fifo",
                                 "/files/.hidden",
                                 "/files/../secret.txt",
                                 "/files/..%2fsecret.txt",
                                 "/files/%2e%2e/secret.txt",
                                 "/files/%2e%2e%2fsecret.txt",
                                 "/files/dir/../../../secret.txt",
                                 "/files//../secret.txt",
                                 "/files/..%5csecret.txt",
                                 "/files/....//secret.txt",
                                 "/files/%252e%252e/secret.txt",
                                 "/files/a.txt%00.png",
                                 "/files/a.txt/",
                                 "/files/a.txt/b",
                                 "/files/empty/",
                                 "/files/none",
                                 "/files//etc/passwd",
                                 "/files/dir/.%2e/%2e./secret.txt",
                                 "/files/.well-known/../.hidden"}) {
    INFO(path);
    HttpClient c(server.port());
    const auto a = c.ask(get(path));
    REQUIRE(a.has_value());
    CHECK((a->status == 404 || a->status == 400));
    CHECK(a->body.find("secret") == std::string::npos);
    CHECK(a->body.find("hidden") == std::string::npos);
  }
  HttpClient c(server.port());
  const auto a = c.ask(get("/files/" + std::string(300, 'a') + "/" + std::string(3000, 'b')));
  REQUIRE(a.has_value());
  CHECK(a->status == 404);
}

TEST_CASE("files: 20 MiB arrive intact", "[integration][files]") {
  const Tree tree;
  const std::string content = pattern(std::size_t{20} << 20U);
  Tree::write(tree.root() / "big.bin", content);
  HttpServer server(routes(tree));
  HttpClient c(server.port());
  for (int i = 0; i < 2; ++i) {
    const auto a = c.ask(get("/files/big.bin"));
    REQUIRE(a.has_value());
    CHECK((a->body == content));
  }
}

TEST_CASE("files: one that shrinks while it is sent ends its connection only", "[integration][files]") {
  const Tree tree;
  Tree::write(tree.root() / "big.bin", pattern(std::size_t{20} << 20U));
  HttpServer server(routes(tree));
  HttpClient c(server.port(), 16384);
  c.send(get("/files/big.bin"));
  while (c.rest().find("\r\n\r\n") == std::string::npos) REQUIRE(c.more());
  fs::resize_file(tree.root() / "big.bin", 100);
  CHECK_FALSE(c.receive().has_value());  // shorter than its Content-Length, and the stream ends
  HttpClient d(server.port());
  CHECK(d.ask(get("/files/a.txt"))->body == "text");
}

TEST_CASE("files: a changed file is seen, a removed one is gone", "[integration][files]") {
  const Tree tree;
  HttpServer server(routes(tree));
  HttpClient c(server.port());
  CHECK(c.ask(get("/files/a.txt"))->body == "text");
  Tree::write(tree.root() / "new", "longer text");
  fs::rename(tree.root() / "new", tree.root() / "a.txt");
  std::string body;
  for (int i = 0; i < 300 && body != "longer text"; ++i) {
    body = c.ask(get("/files/a.txt"))->body;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(body == "longer text");
  fs::remove(tree.root() / "a.txt");
  unsigned status = 0;
  for (int i = 0; i < 300 && status != 404; ++i) {
    status = c.ask(get("/files/a.txt"))->status;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(status == 404);
}

TEST_CASE("files: more of them than descriptors are kept", "[integration][files]") {
  const Tree tree;
  for (int i = 0; i < 40; ++i) Tree::write(tree.root() / ("f" + std::to_string(i)), std::to_string(i));
  HttpServer server(routes(tree, {.files = 4}));
  const auto open_descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = open_descriptors();
  std::array<std::thread, 4> threads;
  std::array<int, 4> right{};
  for (std::size_t t = 0; t < threads.size(); ++t)
    threads[t] = std::thread([&, t] {
      HttpClient c(server.port());
      for (int i = 0; i < 400; ++i) {
        const std::string n = std::to_string((i * 7 + static_cast<int>(t)) % 40);
        const auto a = c.ask(get("/files/f" + n));
        right[t] += a && a->body == n ? 1 : 0;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(right == std::array<int, 4>{400, 400, 400, 400});
  CHECK(open_descriptors() <= before + 4 + 8);
}

TEST_CASE("files: without descriptors the client may come again, and the log is not the client's",
          "[integration][files]") {
  const Tree tree;
  HttpServer server(
      {{.spec = {.path = "/files/*"}, .handler = *http::make_files_handler({.root = tree.root().string()})},
       {.spec = {.path = "/app/*"},
        .handler = *http::make_files_handler(
            {.root = tree.root().string(), .try_files = {".none"}, .fallback = "index.html"})}});
  HttpClient c(server.port());
  REQUIRE(c.ask(get("/files/a.txt"))->status == 200);
  const LoggedLines log;
  const std::int64_t begin = monotonic_now();
  std::vector<Answer> answers;
  {
    const FullDescriptorTable none;
    for (int i = 0; i < 3; ++i)
      if (const auto a =
              c.ask(get("/files/sub%0a2026-01-01T00:00:00%20error%20FAKE%1b[31m%ff" + std::string(1000, 'x'))))
        answers.push_back(*a);
  }
  const std::vector<std::string> lines = LoggedLines::take();
  REQUIRE(answers.size() == 3);
  for (const Answer& a : answers) {
    CHECK(a.status == 503);
    CHECK(a.field("Retry-After") == "1");
  }
  REQUIRE_FALSE(lines.empty());
  CHECK((lines.size() == 1 || monotonic_now() - begin >= 1'000'000'000));
  INFO(lines.front());
  CHECK(lines.front().starts_with("files: " + tree.root().string() + "/sub\\x0a2026-01-01"));
  CHECK(lines.front().find("FAKE\\x1b[31m\\xffx") != std::string::npos);
  CHECK(lines.front().find_first_of("\n\x1b\xff") == std::string::npos);
  CHECK(lines.front().size() < 1000);
  {
    const FullDescriptorTable none;
    answers.assign(1, c.ask(get("/app/deep/link")).value_or(Answer{}));
  }
  CHECK(answers.front().status == 503);
  CHECK(c.ask(get("/app/deep/link"))->body == "<p>index</p>");
}
