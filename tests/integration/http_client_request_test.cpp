// What the client sends: heads, and bodies that are given, drawn or pushed.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/integration/http_client_cases.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;
using http::ClientFailure;

TEST_CASE("client: what a request looks like on the wire", "[integration][client]") {
  Seen seen;
  HostileUpstream upstream({notes(seen)});
  const std::string host = "127.0.0.1:" + std::to_string(upstream.endpoint().port());
  ClientFixture rig;
  const std::string url = upstream.url("/a/b?c=d#fragment");
  SECTION("GET") {
    CHECK(rig.get(url).body == "ok");
    CHECK(seen.head == "GET /a/b?c=d HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: fiberd\r\n\r\n");
  }
  SECTION("no path, and a query") {
    CHECK(rig.get("http://" + host + "?x").body == "ok");
    CHECK(seen.head.starts_with("GET /?x HTTP/1.1\r\n"));
    CHECK(rig.get("HTTP://" + host).body == "ok");
    CHECK(seen.head.starts_with("GET / HTTP/1.1\r\n"));
  }
  SECTION("POST with fields") {
    const std::array<http::Field, 2> fields{{{"X-One", "1"}, {"User-Agent", "test"}}};
    CHECK(rig.fetch({.method = http::Method::post, .url = url, .fields = fields, .body = "hello"}).body == "ok");
    CHECK(seen.head ==
          "POST /a/b?c=d HTTP/1.1\r\nHost: " + host + "\r\nX-One: 1\r\nUser-Agent: test\r\nContent-Length: 5\r\n\r\n");
    CHECK(seen.body == "hello");
  }
  SECTION("POST without a body says so") {
    CHECK(rig.fetch({.method = http::Method::post, .url = url}).body == "ok");
    CHECK(seen.head.ends_with("\r\nContent-Length: 0\r\n\r\n"));
  }
  SECTION("a method and a host of one's own, the last of its connection") {
    CHECK(rig.fetch({.method_text = "BREW", .url = url, .host = "pot.example", .close = true}).body == "ok");
    CHECK(seen.head ==
          "BREW /a/b?c=d HTTP/1.1\r\nHost: pot.example\r\nUser-Agent: fiberd\r\nConnection: close\r\n\r\n");
    CHECK(rig.client().idle() == 0);
  }
  SECTION("a source of known length") {
    Pieces source({"he", "ll", "o"});
    CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source, .source_size = 5}).body == "ok");
    CHECK(seen.head.find("\r\nContent-Length: 5\r\n") != std::string::npos);
    CHECK(seen.body == "hello");
    CHECK(rig.client().idle() == 1);
  }
  SECTION("a source of unknown length") {
    Pieces source({"he", repeat("l", 100'000), "o"});
    CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source}).body == "ok");
    CHECK(seen.head.find("\r\nTransfer-Encoding: chunked\r\n") != std::string::npos);
    CHECK(seen.body == "he" + repeat("l", 100'000) + "o");
    CHECK(rig.client().idle() == 1);
  }
  SECTION("a source of nothing") {
    for (const std::optional<std::uint64_t> size : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(0)}) {
      Pieces source({});
      CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source, .source_size = size}).body == "ok");
      CHECK(seen.body.empty());
    }
    CHECK(rig.metrics.opened->value() == 1);
  }
}

TEST_CASE("client: a request that cannot be sent is refused, and nothing is connected", "[integration][client]") {
  struct Row {
    std::string url;
    std::error_code error;
    http::Field field{"X", "y"};
    std::string_view method = "GET";
    std::string_view host{};
  };
  const std::vector<Row> rows{
      {"https:///path", client_errc::bad_url},
      {"https://user@127.0.0.1/", client_errc::bad_url},
      {"ftp://127.0.0.1/", client_errc::bad_url},
      {"127.0.0.1/", client_errc::bad_url},
      {"/", client_errc::bad_url},
      {"", client_errc::bad_url},
      {"http:///path", client_errc::bad_url},
      {"http://", client_errc::bad_url},
      {"http://user@127.0.0.1/", client_errc::bad_url},
      {"http://user:secret@127.0.0.1/", client_errc::bad_url},
      {"http://127.0.0.1:x/", client_errc::bad_url},
      {"http://127.0.0.1:0/", client_errc::bad_url},
      {"http://127.0.0.1:65536/", client_errc::bad_url},
      {"http://[::1/", client_errc::bad_url},
      {"http://127.0.0.1/a b", client_errc::bad_url},
      {"http://127.0.0.1/a\r\nX: y", client_errc::bad_url},
      {"http://127.0.0.1/\"", client_errc::bad_url},
      {"http://127.0.0.1\r\nX: y/", client_errc::bad_url},
      {std::string("http://127.0.0.1/\0", 18), client_errc::bad_url},
      {"http://127.0.0.1/", client_errc::bad_request, {"X\r\nY", "y"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y\r\nContent-Length: 5"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"X ", "y"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"", "y"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"content-length", "5"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Transfer-Encoding", "chunked"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Host", "a"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Connection", "close"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Upgrade", "websocket"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Expect", "100-continue"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Keep-Alive", "5"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Proxy-Connection", "close"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"TE", "trailers"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"Trailer", "x"}},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y"}, "GE T"},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y"}, "GET / HTTP/1.1\r\n"},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y"}, "CONNECT"},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y"}, "GET", "a b"},
      {"http://127.0.0.1/", client_errc::bad_request, {"X", "y"}, "GET", "a\r\nX: y"},
  };
  ClientFixture rig;
  for (const Row& row : rows) {
    INFO(row.url << " " << row.field.name << " " << row.method);
    const Fetched got =
        rig.fetch({.method_text = row.method, .url = row.url, .fields = {&row.field, 1}, .host = row.host});
    CHECK(got.error == row.error);
    CHECK(got.error == std::errc::invalid_argument);
  }
  CHECK(rig.metrics.opened->value() == 0);
  CHECK(rig.failures(ClientFailure::request) == rows.size());
}

TEST_CASE("client: a body that is not what was announced is an error, and ends the connection",
          "[integration][client]") {
  HostileUpstream upstream({[](UpstreamPeer& peer) {
    if (peer.read_request()) peer.send(kOk);
    peer.wait_for_end();
  }});
  ClientFixture rig;
  const std::string url = upstream.url();
  SECTION("less") {
    Pieces source({"he"});
    CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source, .source_size = 5}).error ==
          client_errc::bad_request_body);
  }
  SECTION("more") {
    Pieces source({"he", "llo!"});
    CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source, .source_size = 5}).error ==
          client_errc::bad_request_body);
  }
  SECTION("an error of the source's") {
    Pieces source({"he"}, std::make_error_code(std::errc::io_error));
    CHECK(rig.fetch({.method = http::Method::put, .url = url, .source = &source}).error == std::errc::io_error);
  }
  CHECK(rig.metrics.connections->value() == 0);
  CHECK(rig.metrics.retried->value() == 0);
  upstream.join();
  CHECK(upstream.requests() <= 1);
}

TEST_CASE("client: an upload is pushed piece by piece", "[integration][client]") {
  Seen seen;
  HostileUpstream upstream({notes(seen)});
  ClientFixture rig;
  const std::string url = upstream.url();
  for (const std::optional<std::uint64_t> size : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(11)}) {
    Fetched got;
    rig.run([&] {
      const context::Context ctx;
      auto upload = rig.client().begin(ctx, {.method = http::Method::post, .url = url, .source_size = size});
      if (!upload) return;
      for (const std::string_view piece : {"hello", "", " ", "world"})
        if (!upload->write(ctx, piece)) return;
      auto answer = upload->finish(ctx);
      if (!answer) return;
      got.status = answer->status();
      got.body = answer->read_all(ctx, 100).value_or("");
    });
    CHECK(got.status == 200);
    CHECK(got.body == "ok");
    CHECK(seen.body == "hello world");
    CHECK(rig.client().idle() == 1);
  }
  CHECK(rig.metrics.opened->value() == 1);
  std::error_code more;
  std::error_code less;
  rig.run([&] {
    const context::Context ctx;
    auto upload = rig.client().begin(ctx, {.method = http::Method::post, .url = url, .source_size = 3});
    more = error_of(upload->write(ctx, "four"));
    upload = rig.client().begin(ctx, {.method = http::Method::post, .url = url, .source_size = 3});
    (void)upload->write(ctx, "2_");
    less = error_of(upload->finish(ctx));
    // One that nobody finishes.
    upload = rig.client().begin(ctx, {.method = http::Method::post, .url = url});
    (void)upload->write(ctx, "piece");
  });
  CHECK(more == client_errc::bad_request_body);
  CHECK(less == client_errc::bad_request_body);
  CHECK(rig.metrics.connections->value() == 0);
}

TEST_CASE("client: a source that throws takes its connection with it", "[integration][client]") {
  struct Throws final : http::BodySource {
    Result<std::string_view> read(const context::Context& /*ctx*/) override {
      if (std::exchange(given_, true)) throw std::runtime_error("source");
      return std::string_view("half of it");
    }
    bool given_ = false;
  };
  Seen first;
  HostileUpstream one({notes(first)});
  Seen second;
  HostileUpstream other({notes(second)});
  ClientFixture rig;
  std::string thrown;
  Fetched fetched;
  rig.run([&] {
    Throws source;
    try {
      (void)rig.client().send(context::background(),
                              {.method = http::Method::post, .url = one.url("/"), .source = &source});
    } catch (const std::runtime_error& e) {
      thrown = e.what();
    }
    fetched = fetch(context::background(), rig.client(), {.url = other.url("/other")});
  });
  CHECK(thrown == "source");
  CHECK(fetched.body == "ok");
  CHECK(second.head.starts_with("GET /other "));
  CHECK(rig.metrics.connections->value() == 1);
}

TEST_CASE("client: an interim answer, and half of a head, do not stop an upload", "[integration][client]") {
  // The server takes nothing until its words have been sent, so the upload waits in between.
  const std::string body(20'000'000, 'u');
  for (const char* const word :
       {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 O"}) {
    INFO(word);
    std::atomic<std::size_t> taken{0};
    const bool half = !std::string_view(word).ends_with("\n");
    HostileUpstream upstream({[&](UpstreamPeer& peer) {
      const auto head = peer.read_head();
      peer.send(word);
      // Until the client has filled what lies between, and looked again. Were it too short less would be tried, no
      // more.
      std::this_thread::sleep_for(300ms);
      if (const auto all = peer.read_body(*head)) taken = all->size();
      peer.send(half ? "K\r\nContent-Length: 2\r\n\r\nok" : kOk);
    }});
    http::ClientOptions options;
    options.timeouts.head = 5s;
    ClientFixture rig(options);
    const Fetched fetched = rig.fetch({.method = http::Method::post, .url = upstream.url("/"), .body = body});
    CHECK(fetched.body == "ok");
    CHECK(taken == body.size());
  }
}
