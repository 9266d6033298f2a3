// The client's answers, servers that answer early, its time-outs, and contexts that end at every point.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/context/waits.hpp"
#include "tests/integration/http_client_cases.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/hostile_upstream.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;
using http::ClientFailure;

TEST_CASE("client: a server that answers before it has read the body", "[integration][client]") {
  const std::string refusal = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
  const std::string large = repeat("0123456789abcdef", 1'000'000);
  // It goes on reading, reads no more, or closes with a reset since bytes are unread.
  enum class Then { reads, waits, closes };
  for (const Then then : {Then::reads, Then::waits, Then::closes}) {
    INFO(static_cast<int>(then));
    std::atomic<int> done{0};
    HostileUpstream upstream({[&, n = 0](UpstreamPeer& peer) mutable {
      (void)peer.read_head();
      peer.send(refusal);
      if (then == Then::reads) peer.wait_for_end();
      for (++n; then == Then::waits && done < n;) std::this_thread::yield();
    }});
    ClientFixture rig;
    const std::string url = upstream.url();
    const Fetched text = rig.fetch({.method = http::Method::post, .url = url, .body = large});
    ++done;
    Pieces source({large, large});
    const Fetched pieces = rig.fetch({.method = http::Method::post, .url = url, .source = &source});
    ++done;
    Fetched pushed;
    rig.run([&] {
      const context::Context ctx;
      auto upload = rig.client().begin(ctx, {.method = http::Method::post, .url = url});
      for (int i = 0; i < 100 && upload && !upload->answered(); ++i)
        if (!upload->write(ctx, large)) return;
      auto answer = upload->finish(ctx);
      if (answer) pushed.body = answer->read_all(ctx, 100).value_or("");
      pushed.error = error_of(answer);
    });
    ++done;
    for (const Fetched& got : {text, pieces, pushed}) {
      // Behind a reset what was on its way may be lost (RFC 9112 section 9.6): then it is an error, and no half answer.
      if (got.error) {
        CHECK(then == Then::closes);
        CHECK(got.body.empty());
      } else {
        CHECK(got.body == "big");
      }
    }
    CHECK(rig.metrics.connections->value() == 0);
    CHECK(rig.metrics.retried->value() == 0);
  }
}

TEST_CASE("client: 100-continue", "[integration][client]") {
  const http::Method post = http::Method::post;
  std::string body;
  SECTION("the body comes when the server says so") {
    bool early = false;
    HostileUpstream upstream({[&](UpstreamPeer& peer) {
      while (const auto head = peer.read_head()) {
        CHECK(head->find("\r\nExpect: 100-continue\r\n") != std::string::npos);
        early = early || !peer.rest().empty();
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        body = peer.read_body(*head).value_or("");
        peer.send(kOk);
      }
    }});
    {
      ClientFixture rig({.timeouts = {.expect = 10s}});
      CHECK(rig.fetch({.method = post, .url = upstream.url(), .body = "hello", .expect_continue = true}).body == "ok");
      CHECK(body == "hello");
      Pieces source({"hel", "lo!"});
      CHECK(rig.fetch({.method = post, .url = upstream.url(), .source = &source, .expect_continue = true}).body ==
            "ok");
      CHECK(body == "hello!");
      CHECK(rig.metrics.opened->value() == 1);
    }
    upstream.join();
    CHECK_FALSE(early);
  }
  SECTION("not at all when the server refuses") {
    bool end = false;
    HostileUpstream upstream({[&](UpstreamPeer& peer) {
      (void)peer.read_head();
      peer.send("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno");
      peer.wait_for_end(&body);
      end = true;
    }});
    {
      ClientFixture rig({.timeouts = {.expect = 10s}});
      const Fetched got = rig.fetch({.method = post, .url = upstream.url(), .body = "x", .expect_continue = true});
      CHECK(got.status == 417);
      CHECK(got.body == "no");
      // What would be sent on it next would be taken for the body.
      CHECK(rig.metrics.connections->value() == 0);
    }
    upstream.join();
    CHECK(end);
    CHECK(body.empty());
  }
  SECTION("after a while when the server says nothing") {
    HostileUpstream upstream({[&](UpstreamPeer& peer) {
      while (const auto request = peer.read_request()) peer.send(kOk);
    }});
    ClientFixture rig({.timeouts = {.expect = 5ms}});
    CHECK(rig.fetch({.method = post, .url = upstream.url(), .body = "hello", .expect_continue = true}).body == "ok");
    CHECK(rig.client().idle() == 1);
  }
  SECTION("is not asked for without a body") {
    Seen seen;
    HostileUpstream upstream({notes(seen)});
    ClientFixture rig;
    CHECK(rig.fetch({.url = upstream.url(), .expect_continue = true}).body == "ok");
    CHECK(seen.head.find("Expect") == std::string::npos);
  }
}

TEST_CASE("client: an answer is read in pieces, in full, or not at all", "[integration][client]") {
  const std::string large = repeat("0123456789abcdef", 20'000);
  const std::string answer =
      "HTTP/1.1 200 OK\r\nX-Kind: large\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n" + large;
  HostileUpstream upstream({answers(answer)});
  ClientFixture rig;
  const std::string url = upstream.url();
  SECTION("in pieces, with its head beside them") {
    std::string body;
    std::string kind;
    std::size_t pieces = 0;
    rig.run([&] {
      const context::Context ctx;
      auto got = rig.client().get(ctx, url);
      for (;;) {
        const Result<std::string_view> piece = got->read_body(ctx);
        if (!piece || piece->empty()) break;
        body += *piece;
        ++pieces;
      }
      kind = got->headers().find("x-kind");
    });
    CHECK(body == large);
    CHECK(pieces >= large.size() / (32 * 1024));
    CHECK(kind == "large");
    CHECK(rig.client().idle() == 1);
  }
  SECTION("in full, or an error when it is more") {
    Result<std::string> all;
    Result<std::string> most;
    Result<std::string> after;
    rig.run([&] {
      const context::Context ctx;
      all = rig.client().get(ctx, url)->read_all(ctx, large.size());
      auto got = rig.client().get(ctx, url);
      most = got->read_all(ctx, 100);
      after = got->read_all(ctx, large.size());
    });
    CHECK(all == large);
    CHECK(error_of(most) == client_errc::body_too_large);
    CHECK(error_of(after) == client_errc::body_too_large);
    CHECK(rig.metrics.connections->value() == 0);
    CHECK(rig.failures(ClientFailure::too_large) == 1);
  }
  SECTION("half-read it is let go of, and so is its connection") {
    rig.run([&] {
      const context::Context ctx;
      auto got = rig.client().get(ctx, url);
      (void)got->read_body(ctx);
    });
    CHECK(rig.metrics.connections->value() == 0);
    CHECK(rig.get(url).body == large);
    CHECK(upstream.connections() == 2);
  }
}

TEST_CASE("client: an answer that nobody reads is no loss when it has come already", "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig;
  const std::string url = upstream.url();
  rig.run([&] {
    for (int i = 0; i < 5; ++i) (void)rig.client().get(context::background(), url)->status();
  });
  CHECK(upstream.connections() == 1);
}

TEST_CASE("client: answers larger than the client takes", "[integration][client]") {
  const std::string body(1'000, 'x');
  const std::string length = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body;
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n" + body.substr(500) +
                              "\r\n1f4\r\n" + body.substr(500) + "\r\n0\r\n\r\n";
  const std::string until_end = "HTTP/1.1 200 OK\r\n\r\n" + body;
  for (const std::string& answer : {length, chunked, until_end}) {
    for (const std::uint64_t most : {std::uint64_t{999}, std::uint64_t{1'000}}) {
      INFO(answer.substr(0, 40) << most);
      HostileUpstream upstream({[&](UpstreamPeer& peer) {
        if (peer.read_request()) peer.send(answer);
      }});
      ClientFixture rig({.body_size = most});
      const Fetched got = rig.get(upstream.url());
      CHECK(got.error == (most < 1'000 ? make_error_code(client_errc::body_too_large) : std::error_code()));
      if (most == 1'000) CHECK(got.body == body);
    }
  }
}

TEST_CASE("client: time-outs, each with its own error", "[integration][client]") {
  const auto silent = [](const std::string& bytes) {
    return [bytes](UpstreamPeer& peer) {
      (void)peer.read_head();
      peer.send(bytes);
      peer.wait_for_end();
    };
  };
  SECTION("no head") {
    HostileUpstream upstream({silent("")});
    ClientFixture rig({.timeouts = {.head = 5ms}});
    CHECK(rig.get(upstream.url()).error == client_errc::head_timeout);
    CHECK(rig.failures(ClientFailure::timeout) == 1);
    CHECK(rig.metrics.connections->value() == 0);
  }
  SECTION("half a head") {
    HostileUpstream upstream({silent("HTTP/1.1 200 OK\r\n")});
    ClientFixture rig({.timeouts = {.head = 5ms}});
    CHECK(rig.get(upstream.url()).error == client_errc::head_timeout);
  }
  SECTION("interim answers do not put it off") {
    HostileUpstream upstream({silent("HTTP/1.1 100 Continue\r\n\r\n")});
    ClientFixture rig({.timeouts = {.head = 5ms}});
    CHECK(rig.get(upstream.url()).error == client_errc::head_timeout);
  }
  SECTION("half a body") {
    HostileUpstream upstream({silent("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")});
    ClientFixture rig({.timeouts = {.body = 5ms}});
    const Fetched got = rig.get(upstream.url());
    CHECK(got.error == client_errc::body_timeout);
    CHECK(got.body == "he");
    CHECK(rig.metrics.connections->value() == 0);
  }
  SECTION("a request that nobody reads") {
    std::atomic<bool> done{false};
    HostileUpstream upstream({[&done](UpstreamPeer& peer) {
      (void)peer.read_head();
      while (!done) std::this_thread::yield();
    }});
    ClientFixture rig({.timeouts = {.write = 20ms}});
    const std::string large(std::size_t{32} * 1024 * 1024, 'x');
    CHECK(rig.fetch({.method = http::Method::post, .url = upstream.url(), .body = large}).error ==
          client_errc::write_timeout);
    done = true;
    CHECK(rig.failures(ClientFailure::write) == 1);
    CHECK(rig.metrics.connections->value() == 0);
  }
  SECTION("no connection: a queue that is full") {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    net::Endpoint at = net::Endpoint::v4(0x7f000001, 0);
    REQUIRE(::bind(listener, at.data(), at.size()) == 0);
    REQUIRE(::listen(listener, 0) == 0);
    sockaddr_in where{};
    socklen_t size = sizeof where;
    (void)::getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size);
    at.set_port(ntohs(where.sin_port));
    const std::string url = "http://" + at.to_string() + "/";
    ClientFixture rig({.timeouts = {.connect = 50ms, .head = 50ms}});
    // The first ones are taken by the kernel; nobody accepts them.
    Fetched got;
    for (int i = 0; i < 8 && got.error != client_errc::connect_timeout; ++i) got = rig.get(url);
    CHECK(got.error == client_errc::connect_timeout);
    CHECK(rig.failures(ClientFailure::connect) == 1);
    ::close(listener);
  }
  SECTION("no server") {
    std::uint16_t port = 0;
    { port = HostileUpstream({answers(kOk)}).endpoint().port(); }
    ClientFixture rig;
    CHECK(rig.get("http://127.0.0.1:" + std::to_string(port)).error == std::errc::connection_refused);
    CHECK(rig.failures(ClientFailure::connect) == 1);
  }
}

TEST_CASE("client: a fiber that computed for long before it asks has all of its time", "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig({.timeouts = {.write = 5s}}, 1);
  const std::string url = upstream.url();
  for (int i = 0; i < 2; ++i) {  // over a new connection, and over the one that is kept
    Fetched got;
    rig.run([&] {
      const auto begun = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - begun < 200ms) {
      }
      got = fetch(context::background(), rig.client(), {.url = url});
    });
    CHECK(got.error == std::error_code());
    CHECK(got.body == "ok");
  }
}

TEST_CASE("client: a context that ends closes the connection at every point", "[integration][client]") {
  // What the server does before it waits for the client's end, and what the client asks.
  struct Row {
    std::string name;
    std::string bytes;
    bool reads_body = true;
  };
  const std::vector<Row> rows{
      {"while the request is written", "", false},
      {"before the answer", ""},
      {"in the head", "HTTP/1.1 200 OK\r\nX: "},
      {"behind an interim answer", "HTTP/1.1 100 Continue\r\n\r\n"},
      {"behind the head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
      {"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"},
      {"in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"},
      {"in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:"},
      {"in a body until the end", "HTTP/1.1 200 OK\r\n\r\nhe"},
  };
  const std::string large(std::size_t{32} * 1024 * 1024, 'x');
  for (const Row& row : rows) {
    for (const bool by_deadline : {false, true}) {
      INFO(row.name << (by_deadline ? ", by its deadline" : ", by its cancellation"));
      std::atomic<bool> there{false};
      std::atomic<bool> done{false};
      std::atomic<bool> ended{false};
      HostileUpstream upstream({[&](UpstreamPeer& peer) {
                                  if (const auto head = peer.read_head(); head && row.reads_body)
                                    (void)peer.read_body(*head);
                                  peer.send(row.bytes);
                                  there = true;
                                  while (!row.reads_body && !done) std::this_thread::yield();
                                  ended = peer.wait_for_end();
                                },
                                answers(kOk)});
      const std::string url = upstream.url();
      std::optional<ClientFixture> rig;
      rig.emplace();
      Fetched got;
      rig->run([&] {
        const context::Cancelable scope = by_deadline ? context::with_timeout(context::background(), 100ms)
                                                      : context::with_cancel(context::background());
        if (!by_deadline)
          (void)runtime::spawn("cancels", [&there, cancel = scope.cancel] {
            while (!there) (void)runtime::sleep_for(1ms);
            (void)runtime::sleep_for(2ms);
            cancel();
          });
        got = fetch(scope.context, rig->client(),
                    {.method = http::Method::put,
                     .url = url,
                     .body = row.reads_body ? std::string_view("body") : std::string_view(large)});
        scope.cancel();
      });
      done = true;
      CHECK(got.error == (by_deadline ? context::errc::deadline_exceeded : context::errc::canceled));
      CHECK(rig->failures(by_deadline ? ClientFailure::deadline : ClientFailure::canceled) == 1);
      CHECK(rig->metrics.connections->value() == 0);
      const Fetched next = rig->get(url);
      CHECK(next.error == std::error_code());
      CHECK(next.body == "ok");
      rig.reset();
      upstream.join();
      CHECK(ended);
    }
  }
  // One that has ended before asks nobody.
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig;
  Fetched got;
  rig.run([&] {
    const context::Cancelable scope = context::with_cancel(context::background());
    scope.cancel();
    got = fetch(scope.context, rig.client(), {.url = upstream.url()});
  });
  CHECK(got.error == context::errc::canceled);
  CHECK(upstream.connections() == 0);
}

TEST_CASE("client: Unix sockets, and an endpoint of one's own", "[integration][client]") {
  TemporaryDirectory directory;
  Seen seen;
  HostileUpstream upstream({notes(seen)}, directory.path() + "/socket");
  ClientFixture rig;
  for (int i = 0; i < 3; ++i)
    CHECK(rig.fetch({.url = "http://anything.example/a", .endpoint = upstream.endpoint()}).body == "ok");
  CHECK(seen.head.starts_with("GET /a HTTP/1.1\r\nHost: anything.example\r\n"));
  CHECK(upstream.connections() == 1);
  CHECK(
      rig.fetch({.url = "http://a/", .endpoint = *net::Endpoint::parse("unix:" + directory.path() + "/none")}).error ==
      std::errc::no_such_file_or_directory);
}

TEST_CASE("client: names", "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig({.resolver = {.servers = {net::Endpoint::v4(0x7f000001, 9)}, .timeout = 50ms, .tries = 1}});
  CHECK(rig.get("http://localhost:" + std::to_string(upstream.endpoint().port()) + "/").body == "ok");
  CHECK(rig.get("http://LOCALHOST:" + std::to_string(upstream.endpoint().port()) + "/").body == "ok");
  const Fetched got = rig.get("http://nobody.invalid/");
  CHECK(got.error);
  CHECK(rig.failures(ClientFailure::resolve) == 1);
}
