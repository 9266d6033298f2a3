// Compression of answers, as clients see it; and one that never reads.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/http/files/files.hpp"
#include "core/http/filters/compression_filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/integration/compressible_text.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Coding;
using http::Exchange;

namespace {

/// Answers with `size` bytes of text and these fields, in one go or in pieces.
std::shared_ptr<http::Handler> text_handler(std::size_t size, std::vector<http::Field> fields = {},
                                            std::string_view type = "text/plain; charset=utf-8",
                                            unsigned status = 200) {
  return handler(
      [text = text_of(size), fields, type, status](Exchange& ex) { return ex.respond(status, type, text, fields); });
}
std::shared_ptr<http::Handler> stream_handler(std::size_t size, bool with_length) {
  return handler([text = text_of(size), with_length](Exchange& ex) -> Result<void> {
    http::ResponseHead head;
    head.content_type = "text/plain";
    if (with_length) head.content_length = text.size();
    if (const auto sent = ex.begin(head); !sent) return sent;
    for (std::size_t at = 0; at < text.size(); at += 7001)
      if (const auto sent = ex.write(std::string_view(text).substr(at, 7001)); !sent) return sent;
    return ex.end();
  });
}

Answer ask_for(const HttpServer& server, std::string_view path, const std::string& codings,
               std::string_view method = "GET") {
  HttpClient client(server.port());
  const auto answer = client.ask(std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" +
                                     (codings.empty() ? "" : "Accept-Encoding: " + codings + "\r\n") + "\r\n",
                                 method == "HEAD");
  REQUIRE(answer);
  return *answer;
}

http::ServerOptions compressing(http::CompressionOptions compression = {}) {
  http::ServerOptions options;
  options.filters = {*http::make_compression_filter(std::move(compression))};
  return options;
}

}  // namespace

TEST_CASE("answers come in the coding that the client likes best", "[integration][http][compression]") {
  HttpServer server({route("/short", text_handler(3000)), route("/long", text_handler(300'000)),
                     route("/stream", stream_handler(300'000, false)), route("/sized", stream_handler(300'000, true)),
                     route("/short-stream", stream_handler(5000, false))},
                    compressing());
  for (const std::string& coding : {std::string("gzip"), std::string("br"), std::string("zstd")}) {
    for (const auto& [path, size] : std::vector<std::pair<std::string, std::size_t>>{{"/short", 3000},
                                                                                     {"/long", 300'000},
                                                                                     {"/stream", 300'000},
                                                                                     {"/sized", 300'000},
                                                                                     {"/short-stream", 5000}}) {
      CAPTURE(path, coding);
      const Answer a = ask_for(server, path, coding);
      CHECK(a.field("Content-Encoding") == coding);
      CHECK(a.field("Vary") == "Accept-Encoding");
      CHECK(a.body.size() < size / 3);
      CHECK(decompress(coding, a.body) == text_of(size));
      // What fits into the output buffer has a length.
      if (size <= 5000) CHECK_FALSE(a.field("Content-Length").empty());
      // HEAD says the same, but no length of what is not made.
      const Answer head = ask_for(server, path, coding, "HEAD");
      CHECK(head.field("Content-Encoding") == coding);
      CHECK(head.field("Vary") == "Accept-Encoding");
      const Answer plain = ask_for(server, path, "");
      CHECK(plain.body == text_of(size));
      CHECK(plain.field("Content-Encoding").empty());
      CHECK(plain.field("Vary") == "Accept-Encoding");
    }
  }
  CHECK(ask_for(server, "/long", "gzip, deflate, br, zstd").field("Content-Encoding") == "zstd");
  CHECK(ask_for(server, "/long", "gzip, br;q=0").field("Content-Encoding") == "gzip");
  CHECK(ask_for(server, "/long", "identity").field("Content-Encoding").empty());
  CHECK(ask_for(server, "/long", "gzip;q=0, *;q=0").body == text_of(300'000));
}

TEST_CASE("what is not compressed", "[integration][http][compression]") {
  const std::vector<http::Field> encoded{{"Content-Encoding", "br"}, {"ETag", "\"x\""}};
  const std::vector<http::Field> fixed{{"Cache-Control", "no-transform"}, {"ETag", "\"x\""}};
  const std::vector<http::Field> digest{{"Repr-Digest", "sha-256=:x:"}, {"ETag", "\"x\""}};
  const std::vector<http::Field> part{{"Content-Range", "bytes 0-2999/9000"}, {"ETag", "\"x\""}};
  HttpServer server({route("/small", text_handler(1023)), route("/image", text_handler(3000, {}, "image/png")),
                     route("/no-type", text_handler(3000, {}, "")), route("/encoded", text_handler(3000, encoded)),
                     route("/fixed", text_handler(3000, fixed)), route("/digest", text_handler(3000, digest)),
                     route("/part", text_handler(3000, part, "text/plain", 206)),
                     route("/none", handler([](Exchange& ex) { return ex.respond(204, {}, {}); }))},
                    compressing());
  for (const char* path : {"/small", "/image", "/no-type", "/encoded", "/fixed", "/digest", "/part", "/none"}) {
    CAPTURE(path);
    const Answer a = ask_for(server, path, "gzip, br, zstd");
    CHECK(a.field("Content-Encoding") == (std::string_view(path) == "/encoded" ? "br" : ""));
    CHECK(a.field("Vary") == (std::string_view(path) == "/part" ? "Accept-Encoding" : ""));
    CHECK((a.field("ETag").empty() || a.field("ETag") == "\"x\""));
    CHECK((a.body.empty() || a.body == text_of(a.body.size())));
  }
}

TEST_CASE("a compressed answer's tag is weak and its ranges are off", "[integration][http][compression]") {
  const std::vector<http::Field> fields{
      {"ETag", "\"x\""}, {"Accept-Ranges", "bytes"}, {"Vary", "Accept"}, {"Vary", "Cookie"}};
  HttpServer server({route("/", text_handler(3000, fields)), route("/same", handler([](Exchange& ex) {
                                                                     const http::Field tag{"ETag", "\"x\""};
                                                                     return ex.respond(304, {}, {}, {&tag, 1});
                                                                   }))},
                    compressing());
  const Answer a = ask_for(server, "/", "gzip");
  CHECK(a.field("ETag") == "W/\"x\"");
  CHECK(a.field("Accept-Ranges").empty());
  CHECK(a.field("Vary") == "Accept, Cookie, Accept-Encoding");
  const Answer plain = ask_for(server, "/", "");
  CHECK(plain.field("ETag") == "\"x\"");
  CHECK(plain.field("Accept-Ranges") == "bytes");
  CHECK(plain.field("Vary") == "Accept, Cookie, Accept-Encoding");
  const Answer same = ask_for(server, "/same", "gzip");
  CHECK(same.status == 304);
  CHECK(same.field("ETag") == "W/\"x\"");
  CHECK(same.field("Vary") == "Accept-Encoding");
}

TEST_CASE("HEAD has the fields, and is counted as nothing that was compressed", "[integration][http][compression]") {
  metric::Registry registry;
  http::CompressionOptions options;
  options.metrics.compressed = &registry.counter(registry.family({.name = "compressed_total", .help = "h"}));
  HttpServer server({route("/", text_handler(3000))}, compressing(options));
  CHECK(ask_for(server, "/", "gzip", "HEAD").field("Content-Encoding") == "gzip");
  CHECK(options.metrics.compressed->value() == 0);
  CHECK(ask_for(server, "/", "gzip").field("Content-Encoding") == "gzip");
  CHECK(options.metrics.compressed->value() == 1);
}

TEST_CASE("files, ranges of them and conditions under compression", "[integration][http][compression]") {
  const TemporaryDirectory dir;
  (void)dir.write("a.txt", text_of(200'000));
  // Long ago: what was written a moment ago has a weak tag.
  for (const auto& [name, size] : {std::pair("b.png", 200'000U), std::pair("short.txt", 100U)})
    std::filesystem::last_write_time(dir.write(name, text_of(size)),
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  auto files = http::make_files_handler({.root = dir.path()});
  REQUIRE(files);
  HttpServer server({route("/*", *files)}, compressing());
  const Answer a = ask_for(server, "/a.txt", "gzip");
  CHECK(a.field("Content-Encoding") == "gzip");
  CHECK(decompress("gzip", a.body) == text_of(200'000));
  const std::string tag = a.field("ETag");
  CHECK(tag.starts_with("W/\""));
  HttpClient client(server.port());
  const auto same = client.ask(get("/a.txt", "Accept-Encoding: gzip\r\nIf-None-Match: " + tag + "\r\n"));
  REQUIRE(same);
  CHECK(same->status == 304);
  CHECK(same->field("ETag") == tag);
  CHECK(same->field("Vary") == "Accept-Encoding");
  // What would not be compressed is as it would be without the filter, also where the answer says nothing of its type.
  for (const char* path : {"/b.png", "/short.txt"}) {
    CAPTURE(path);
    const auto whole = client.ask(get(path, "Accept-Encoding: gzip\r\n"));
    REQUIRE(whole);
    const std::string strong = whole->field("ETag");
    CHECK(strong.starts_with("\""));
    for (const std::string& asked :
         {"If-None-Match: " + strong, std::string("Range: bytes=0-9"), std::string("Range: bytes=0-1,5-6")}) {
      CAPTURE(asked);
      const auto answer = client.ask(get(path, "Accept-Encoding: gzip\r\n" + asked + "\r\n"));
      REQUIRE(answer);
      CHECK(answer->status == (asked.starts_with("If") ? 304U : 206U));
      CHECK(answer->field("ETag") == strong);
      CHECK(answer->field("Vary") == whole->field("Vary"));
    }
  }
  // A range is of the file as it is; one that is asked for only if the compressed form is unchanged is none.
  const auto part = client.ask(get("/a.txt", "Accept-Encoding: gzip\r\nRange: bytes=0-9999\r\n"));
  REQUIRE(part);
  CHECK(part->status == 206);
  CHECK(part->field("Vary") == "Accept-Encoding");
  CHECK(part->field("Content-Encoding").empty());
  CHECK(part->body == text_of(200'000).substr(0, 10'000));
  const auto whole =
      client.ask(get("/a.txt", "Accept-Encoding: gzip\r\nRange: bytes=0-9999\r\nIf-Range: " + tag + "\r\n"));
  REQUIRE(whole);
  CHECK(whole->status == 200);
  CHECK(decompress("gzip", whole->body) == text_of(200'000));
}

TEST_CASE("a stream's piece is there when its handler flushed", "[integration][http][compression]") {
  for (const std::string& coding : {std::string("gzip"), std::string("br"), std::string("zstd")}) {
    std::atomic<bool> go_on{false};
    const auto events = handler([&](Exchange& ex) -> Result<void> {
      http::ResponseHead head;
      head.content_type = "text/event-stream";
      if (const auto sent = ex.begin(head); !sent) return sent;
      if (const auto sent = ex.write("data: first\n\n"); !sent) return sent;
      if (const auto sent = ex.flush(); !sent) return sent;
      while (!go_on) (void)runtime::sleep_for(std::chrono::milliseconds(1));
      if (const auto sent = ex.write("data: second\n\n"); !sent) return sent;
      return ex.end();
    });
    HttpServer server({route("/", events)}, compressing());
    HttpClient client(server.port());
    client.send(get("/", "Accept-Encoding: " + coding + "\r\n"));
    std::string first;
    // The second piece is not even written before the first one was read.
    while (first.size() < 13) {
      REQUIRE(client.more());
      const std::size_t body = client.rest().find("\r\n\r\n");
      if (body == std::string::npos) continue;
      std::string chunks = client.rest().substr(body + 4);
      std::string bytes;
      while (!chunks.empty()) {
        const std::size_t line = chunks.find("\r\n");
        if (line == std::string::npos) break;
        const std::size_t size = std::strtoull(chunks.c_str(), nullptr, 16);
        if (chunks.size() < line + 2 + size + 2) break;
        bytes += chunks.substr(line + 2, size);
        chunks.erase(0, line + 2 + size + 2);
      }
      if (!bytes.empty()) first = decompress(coding, bytes, false);
    }
    CHECK(first == "data: first\n\n");
    go_on = true;
    const auto all = client.receive();
    REQUIRE(all);
    CHECK(decompress(coding, all->body) == "data: first\n\ndata: second\n\n");
  }
}

TEST_CASE("a client that never reads holds one encoder and no more of the body", "[integration][http][compression]") {
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "h"}));
  };
  http::CompressionOptions compression;
  compression.max_streams = 2;
  compression.metrics = {counter("a_total"), counter("b_total"), counter("c_total"), counter("d_total")};
  const http::CompressionMetrics metrics = compression.metrics;
  std::atomic<std::uint64_t> written{0};
  std::atomic<int> ended{0};
  // Does not compress: what is written is what comes out.
  const auto endless = handler([&](Exchange& ex) -> Result<void> {
    std::string noise(16384, '\0');
    Result<void> sent = ex.begin({.content_type = "text/plain"});
    for (std::uint64_t i = 0; sent && i < 100'000; ++i) {
      for (char& c : noise) c = static_cast<char>(runtime::random());
      sent = ex.write(noise);
      written += noise.size();
    }
    ++ended;
    return sent;
  });
  http::ServerOptions options = compressing(std::move(compression));
  options.timeouts.write = std::chrono::milliseconds(300);
  options.timeouts.grace = std::chrono::milliseconds(300);
  HttpServer server({route("/endless", endless), route("/text", text_handler(3000))}, std::move(options));
  {
    std::vector<std::unique_ptr<HttpClient>> deaf;
    for (int i = 0; i < 2; ++i) {
      deaf.push_back(std::make_unique<HttpClient>(server.port(), 4096));
      deaf.back()->send(get("/endless", "Accept-Encoding: gzip\r\n"));
    }
    // Until both encoders are in use.
    REQUIRE(eventually([&] { return metrics.compressed->value() >= 2; }));
    // Two is what there is; a third one comes as it is, and is not refused.
    const Answer crowded = ask_for(server, "/text", "gzip");
    if (ended == 0) {
      CHECK(crowded.field("Content-Encoding").empty());
      CHECK(crowded.field("Vary") == "Accept-Encoding");
      CHECK(metrics.crowded->value() == 1);
    }
    CHECK(crowded.status == 200);
    // The server gives up on them.
    REQUIRE(eventually([&] { return ended == 2; }));
  }
  // What the kernel's buffers took, not what the handler had to say (1.6 GB each).
  CHECK(written < std::uint64_t{64} * 1024 * 1024);
  CHECK(metrics.bytes_in->value() <= written);
  // Their places are free again.
  CHECK(eventually([&] { return ask_for(server, "/text", "gzip").field("Content-Encoding") == "gzip"; }));
}

TEST_CASE("a handler that fails in the middle leaves a body that is seen to be cut",
          "[integration][http][compression]") {
  const auto breaks = handler([](Exchange& ex) -> Result<void> {
    if (const auto sent = ex.begin({.content_type = "text/plain"}); !sent) return sent;
    if (const auto sent = ex.write(text_of(100'000)); !sent) return sent;
    return fail(std::errc::io_error);
  });
  const auto early = handler([](Exchange& ex) -> Result<void> {
    if (const auto sent = ex.begin({.content_type = "text/plain"}); !sent) return sent;
    if (const auto sent = ex.write(text_of(2000)); !sent) return sent;
    return fail(std::errc::io_error);
  });
  HttpServer server({route("/", breaks), route("/early", early)}, compressing());
  HttpClient client(server.port());
  client.send(get("/", "Accept-Encoding: gzip\r\n"));
  while (client.more()) {
  }
  CHECK(client.rest().starts_with("HTTP/1.1 200"));
  CHECK_FALSE(client.rest().ends_with("0\r\n\r\n"));
  // Before its head is out it is a clean 500.
  CHECK(ask_for(server, "/early", "gzip").status == 500);
}

TEST_CASE("compression that cannot be is refused when it is made", "[integration][http][compression]") {
  const auto why_not = [](http::CompressionOptions options) {
    std::string why;
    return http::make_compression_filter(std::move(options), &why) ? "" : why;
  };
  CHECK(why_not({}).empty());
  CHECK_FALSE(why_not({.codings = {}}).empty());
  CHECK(why_not({.codings = {{Coding::gzip, 10}}}).find("1 to 9") != std::string::npos);
  CHECK(why_not({.codings = {{Coding::gzip, 5}, {Coding::gzip, 6}}}).find("twice") != std::string::npos);
  for (const char* type : {"", "text", "Text/html", "*/*", "text/html; q=1", "/x", "text/"})
    CHECK_FALSE(why_not({.types = {type}}).empty());
}
