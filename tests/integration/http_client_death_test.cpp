// Where an upstream may die, and what the client makes of it: each point of an answer, by FIN and by reset, on a new
// connection and on one that was kept; and what is sent twice and what is not.
#include <catch2/catch.hpp>
#include <string>

#include "tests/integration/http_client_cases.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;
using http::ClientFailure;

namespace {

struct DeathCase {
  std::string name;
  std::string bytes;  ///< what comes before it
  std::error_code error;
  bool ends_well = false;  ///< at a FIN the answer is whole
};

std::vector<DeathCase> deaths() {
  const std::string length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  return {
      {"before any byte", "", client_errc::closed_before_answer},
      {"behind the first byte", "H", client_errc::truncated_head},
      {"in the version", "HTTP/1.", client_errc::truncated_head},
      {"in the status", "HTTP/1.1 20", client_errc::truncated_head},
      {"in the reason", "HTTP/1.1 200 O", client_errc::truncated_head},
      {"in the CRLF of the status line", "HTTP/1.1 200 OK\r", client_errc::truncated_head},
      {"behind the status line", "HTTP/1.1 200 OK\r\n", client_errc::truncated_head},
      {"in a field's name", "HTTP/1.1 200 OK\r\nContent-", client_errc::truncated_head},
      {"in a field's value", "HTTP/1.1 200 OK\r\nContent-Length: 1", client_errc::truncated_head},
      {"behind the last field", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n", client_errc::truncated_head},
      {"in the CRLF of the head's end", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r", client_errc::truncated_head},
      {"behind an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", client_errc::truncated_head},
      {"in the head behind an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2",
       client_errc::truncated_head},
      {"between head and body", length, client_errc::truncated_body},
      {"in the body", length + "12345", client_errc::truncated_body},
      {"before the body's last byte", length + "123456789", client_errc::truncated_body},
      {"before the first chunk", chunked, client_errc::truncated_body},
      {"in a chunk's size", chunked + "1", client_errc::truncated_body},
      {"in an extension", chunked + "5;a=", client_errc::truncated_body},
      {"in the CRLF of a chunk's size", chunked + "5\r", client_errc::truncated_body},
      {"behind a chunk's size", chunked + "5\r\n", client_errc::truncated_body},
      {"in a chunk", chunked + "5\r\nhel", client_errc::truncated_body},
      {"behind a chunk's data", chunked + "5\r\nhello", client_errc::truncated_body},
      {"between two chunks", chunked + "5\r\nhello\r\n", client_errc::truncated_body},
      {"in the last chunk", chunked + "5\r\nhello\r\n0\r\n", client_errc::truncated_body},
      {"in the trailers", chunked + "5\r\nhello\r\n0\r\nDigest: ab", client_errc::truncated_body},
      {"behind the trailers", chunked + "5\r\nhello\r\n0\r\nDigest: ab\r\n", client_errc::truncated_body},
      {"in the last CRLF", chunked + "5\r\nhello\r\n0\r\n\r", client_errc::truncated_body},
      {"in a body until the end", "HTTP/1.1 200 OK\r\n\r\nhello", {}, true},
  };
}

}  // namespace

TEST_CASE("client: each point at which an upstream may die", "[integration][client]") {
  std::size_t cases = 0;
  for (const DeathCase& row : deaths()) {
    for (const bool with_reset : {false, true}) {
      for (const bool kept : {false, true}) {
        for (const http::Method method : {http::Method::get, http::Method::post}) {
          ++cases;
          INFO("dies " << row.name << (with_reset ? " by a reset" : " by FIN") << (kept ? " on a kept connection" : "")
                       << ", " << http::method_token(method));
          HostileUpstream upstream({[&](UpstreamPeer& peer) {
                                      if (kept && !(peer.read_request() && peer.send(kOk))) return;
                                      if (!peer.read_request()) return;
                                      peer.send(row.bytes);
                                      if (with_reset) return peer.reset();
                                      peer.end();
                                      peer.wait_for_end();
                                    },
                                    answers(kSecond)});
          ClientFixture rig;
          if (kept) REQUIRE(rig.get(upstream.url()).body == "ok");
          const Fetched got = rig.fetch({.method = method, .url = upstream.url(), .body = "body"});
          const bool repeated = kept && row.bytes.empty() && method == http::Method::get;
          if (repeated) {
            CHECK_FALSE(got.error);
            CHECK(got.body == "second");
          } else if (with_reset) {
            CHECK(got.error == std::errc::connection_reset);
          } else if (row.ends_well) {
            CHECK_FALSE(got.error);
            CHECK(got.body == "hello");
          } else {
            CHECK(got.error == row.error);
          }
          CHECK(upstream.requests() == 1U + (kept ? 1 : 0) + (repeated ? 1 : 0));
          CHECK(rig.metrics.retried->value() == (repeated ? 1 : 0));
          CHECK(rig.client().idle() == (repeated ? 1 : 0));
          // And the next one is served over a new connection.
          if (!repeated) {
            const unsigned connections = upstream.connections();
            CHECK(rig.get(upstream.url()).body == "second");
            CHECK(upstream.connections() == connections + 1);
          }
          if (!got.error) continue;
          const bool truncated = row.error == client_errc::truncated_body || row.error == client_errc::truncated_head;
          CHECK(rig.failures(!with_reset && truncated ? ClientFailure::truncated : ClientFailure::closed) == 1);
        }
      }
    }
  }
  CHECK(cases >= 100);
}

TEST_CASE("client: what is sent twice when a kept connection has ended", "[integration][client]") {
  struct Row {
    std::string name;
    http::Method method = http::Method::get;
    bool repeated = true;
    std::optional<bool> idempotent{};
    enum { none, text, source, rewinding } body = none;
    std::string_view method_text{};
  };
  const std::vector<Row> rows{
      {"GET", http::Method::get},
      {"HEAD", http::Method::head},
      {"OPTIONS", http::Method::options},
      {"DELETE", http::Method::delete_},
      {"PUT with a text", http::Method::put, true, {}, Row::text},
      {"PUT with a source that can begin anew", http::Method::put, true, {}, Row::rewinding},
      {"PUT with a source that cannot", http::Method::put, false, {}, Row::source},
      {"POST", http::Method::post, false, {}, Row::text},
      {"PATCH", http::Method::patch, false, {}, Row::text},
      {"POST that is said to be idempotent", http::Method::post, true, true, Row::text},
      {"GET that is said not to be", http::Method::get, false, false},
      {"a method that nobody knows", http::Method::get, false, {}, Row::none, "BREW"},
      {"a method that nobody knows, said to be idempotent", http::Method::get, true, true, Row::none, "BREW"},
  };
  class Source final : public http::BodySource {
   public:
    explicit Source(bool rewinds) : rewinds_(rewinds) {}
    Result<std::string_view> read(const context::Context& /*ctx*/) override {
      return std::exchange(given_, true) ? std::string_view() : "piece";
    }
    bool rewind() override {
      if (rewinds_) given_ = false;
      return rewinds_;
    }

   private:
    const bool rewinds_;
    bool given_ = false;
  };
  for (const Row& row : rows) {
    INFO(row.name);
    std::string last;
    HostileUpstream upstream({[](UpstreamPeer& peer) {
                                if (peer.read_request() && peer.send(kOk)) (void)peer.read_request();
                              },
                              [&](UpstreamPeer& peer) {
                                while (const auto request = peer.read_request()) {
                                  last = *request;
                                  peer.send("HTTP/1.1 204 No Content\r\n\r\n");
                                }
                              }});
    Fetched got;
    std::uint64_t retried = 0;
    {
      ClientFixture rig;
      REQUIRE(rig.get(upstream.url()).body == "ok");
      Source source(row.body == Row::rewinding);
      const std::string url = upstream.url();
      http::ClientRequest request{.method = row.method, .method_text = row.method_text, .url = url};
      request.idempotent = row.idempotent;
      if (row.body == Row::text) request.body = "text";
      if (row.body >= Row::source) request.source = &source;
      got = rig.fetch(request);
      retried = rig.metrics.retried->value();
    }
    upstream.join();
    CHECK(retried == (row.repeated ? 1 : 0));
    CHECK(upstream.requests() == (row.repeated ? 3 : 2));
    if (row.repeated) {
      CHECK(got.status == 204);
      if (row.body == Row::text) CHECK(last.ends_with("\r\n\r\ntext"));
      if (row.body == Row::rewinding) CHECK(last.ends_with("\r\n\r\npiece"));
    } else {
      CHECK(got.error == client_errc::closed_before_answer);
    }
  }
}

TEST_CASE("client: a request is sent again once, and not on a second kept connection", "[integration][client]") {
  // Two connections are kept, and both are dead.
  std::atomic<int> there{0};
  const auto dies = [&there](UpstreamPeer& peer) {
    (void)peer.read_request();
    ++there;
    while (there < 2) std::this_thread::yield();  // so that there are two at a time
    peer.send(kOk);
    (void)peer.read_request();
  };
  HostileUpstream upstream({dies, dies, [](UpstreamPeer& peer) { (void)peer.read_request(); }});
  ClientFixture rig;
  rig.run([&] {
    for (int i = 0; i < 2; ++i)
      (void)runtime::spawn("first", [&] { (void)fetch(context::background(), rig.client(), {.url = upstream.url()}); });
    while (rig.client().idle() < 2) (void)runtime::sleep_for(1ms);
  });
  const Fetched got = rig.get(upstream.url());
  CHECK(got.error == client_errc::closed_before_answer);
  CHECK_FALSE(got.reused);
  CHECK(rig.metrics.retried->value() == 1);
  CHECK(upstream.connections() == 3);
  CHECK(upstream.requests() == 4);
}

TEST_CASE("client: nothing is sent again once a byte of an answer has come", "[integration][client]") {
  HostileUpstream upstream({[](UpstreamPeer& peer) {
                              if (peer.read_request() && peer.send(kOk) && peer.read_request()) peer.send("H");
                            },
                            answers(kSecond)});
  ClientFixture rig;
  REQUIRE(rig.get(upstream.url()).body == "ok");
  CHECK(rig.get(upstream.url()).error == client_errc::truncated_head);
  CHECK(upstream.requests() == 2);
}

TEST_CASE("client: nothing is sent again when it was the context that ended the first time", "[integration][client]") {
  HostileUpstream upstream({[](UpstreamPeer& peer) {
                              if (peer.read_request() && peer.send(kOk) && peer.read_request()) peer.wait_for_end();
                            },
                            answers(kSecond)});
  ClientFixture rig({.timeouts = {.head = 20ms}});
  REQUIRE(rig.get(upstream.url()).body == "ok");
  SECTION("its cancellation") {
    Fetched got;
    rig.run([&] {
      const context::Cancelable scope = context::with_cancel(context::background());
      (void)runtime::spawn("cancels", [&upstream, cancel = scope.cancel] {
        while (upstream.requests() < 2) (void)runtime::sleep_for(1ms);
        cancel();
      });
      got = fetch(scope.context, rig.client(), {.url = upstream.url()});
    });
    const bool either = got.error == context::errc::canceled || got.error == client_errc::head_timeout;
    CHECK(either);
  }
  SECTION("or a time-out") { CHECK(rig.get(upstream.url()).error == client_errc::head_timeout); }
  CHECK(upstream.requests() == 2);
  CHECK(rig.client().idle() == 0);
  CHECK(rig.metrics.connections->value() == 0);
}
