// Early data (0-RTT, RFC 8446 section 2.3, RFC 8470) against the daemon: what is served before the handshake's end,
// what waits, what is refused, and that a recording is good for nothing.
#include <signal.h>

#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/early_client.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/test_certificates.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kEarlyBody = 3'000;  // more than a resumed handshake makes a server send
constexpr std::size_t kEarlyFile = 3'000'000;

struct EarlySite {
  explicit EarlySite(const std::string& tls = "early_data: true") {
    files.write("web.pem", kTestCertificate);
    files.write("web.key", kTestKey);
    for (std::size_t i = 0; file.size() < kEarlyFile; ++i) file += std::to_string(i) + "\n";
    files.write("big", file);
    daemon.emplace(yaml(tls));
  }
  [[nodiscard]] std::string yaml(const std::string& tls, const std::string& http = "") const {
    return "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n  - {name: web, address: \"127.0.0.1:0\", tls: "
           "{certificate: " +
           files.path() + "/web.pem, key: " + files.path() + "/web.key, " + tls + "}, http: {" + http +
           "routes: [{path: /, respond: {body: \"[${header.Early-Data}]" + std::string(kEarlyBody, 'x') +
           "\"}}, {path: /echo, echo: {}}, {path: /files/*, files: {root: " + files.path() + "}}]}}\n";
  }
  [[nodiscard]] std::uint16_t port() const { return daemon->port("web"); }
  [[nodiscard]] double early(const std::string& outcome) const {
    return daemon->metric("fiberd_tls_early_data_total{listener=\"web\",outcome=\"" + outcome + "\"}").value_or(-1);
  }
  [[nodiscard]] double resumed() const {
    return daemon->metric("fiberd_tls_handshakes_total{listener=\"web\",version=\"1.3\",resumed=\"yes\"}").value_or(-1);
  }
  /// Of a connection that does nothing out of the ordinary.
  [[nodiscard]] EarlySession ticket() const {
    EarlyClient client(port());
    if (!client.shake_hands() || !client.send(get("/"))) return nullptr;
    const std::optional<Answer> answer = client.receive();
    if (!answer || answer->body != "[]" + std::string(kEarlyBody, 'x')) return nullptr;
    return client.session();
  }
  static std::string get(const std::string& path, const std::string& fields = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
  }
  TemporaryDirectory files;
  std::string file;
  std::optional<Daemon> daemon;
};

}  // namespace

TEST_CASE("early data: a GET is answered before the handshake's end, and says so; what follows is as ever",
          "[integration][daemon][tls]") {
  EarlySite site;
  const EarlySession ticket = site.ticket();
  REQUIRE(ticket != nullptr);
  CHECK(SSL_SESSION_get_max_early_data(ticket.get()) == 16 * 1024);
  EarlyClient client(site.port(), {}, ticket.get());
  // The client's own field is one of it, and stands for ours.
  REQUIRE(client.send_early(site.get("/") + site.get("/", "Early-Data: 1\r\n")));
  REQUIRE(client.wait_for(2 * kEarlyBody));  // and it has sent nothing that proves who it is
  CHECK(site.early("accepted") == 1);
  CHECK(site.resumed() == 0);
  REQUIRE(client.shake_hands());
  CHECK(client.accepted());
  for (int i = 0; i < 2; ++i) {
    const std::optional<Answer> answer = client.receive();
    REQUIRE(answer.has_value());
    CHECK(answer->body == "[1]" + std::string(kEarlyBody, 'x'));
  }
  REQUIRE(client.send(site.get("/")));
  const std::optional<Answer> later = client.receive();
  REQUIRE(later.has_value());
  CHECK(later->body == "[]" + std::string(kEarlyBody, 'x'));
  CHECK(eventually([&] { return site.resumed() == 1; }));
  CHECK(site.early("replayed") == 0);
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: a recording that is sent again is skipped, by the same keys after a reload, too",
          "[integration][daemon][tls]") {
  EarlySite site;
  const EarlySession ticket = site.ticket();
  REQUIRE(ticket != nullptr);
  EarlyClient client(site.port(), {}, ticket.get());
  REQUIRE(client.send_early(site.get("/")));
  REQUIRE(client.wait_for(kEarlyBody));
  for (int again = 1; again <= 2; ++again) {
    HttpClient thief(site.port());
    REQUIRE(thief.send(client.first()));
    thief.finish_sending();
    while (thief.more()) continue;
    CHECK(thief.rest().size() < kEarlyBody);
    CHECK(eventually([&] { return site.early("replayed") == again; }));
    if (again == 2) break;
    site.daemon->write_config(site.yaml("early_data: true, profile: modern"));
    site.daemon->process().signal(SIGHUP);
    REQUIRE(eventually([&] { return site.daemon->metric("fiberd_config_reloads_total{result=\"success\"}") == 1; }));
  }
  CHECK(site.early("accepted") == 1);
  // Who has proved nothing is counted when it leaves.
  CHECK(eventually([&] {
    return site.daemon->metric("fiberd_tls_handshake_failures_total{listener=\"web\",reason=\"ended\"}") == 2;
  }));
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: what may change something waits for the handshake's end", "[integration][daemon][tls]") {
  EarlySite site;
  const EarlySession ticket = site.ticket();
  REQUIRE(ticket != nullptr);
  EarlyClient client(site.port(), {}, ticket.get());
  REQUIRE(
      client.send_early(site.get("/") + "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"));
  REQUIRE(client.wait_for(kEarlyBody));
  REQUIRE(client.shake_hands());
  CHECK(client.accepted());
  CHECK(client.receive().value_or(Answer{}).body == "[1]" + std::string(kEarlyBody, 'x'));
  const std::optional<Answer> posted = client.receive();
  REQUIRE(posted.has_value());
  CHECK(posted->status == 200);
  CHECK(posted->body == "hello");
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: who does not end the handshake is cut when its time is over, whoever has the connection",
          "[integration][daemon][tls]") {
  EarlySite site;
  const EarlySession ticket = site.ticket();
  REQUIRE(ticket != nullptr);
  site.daemon->write_config(site.yaml("early_data: true", "timeouts: {handshake: 300ms}, "));
  site.daemon->process().signal(SIGHUP);
  REQUIRE(eventually([&] { return site.daemon->metric("fiberd_config_reloads_total{result=\"success\"}") == 1; }));
  // On a machine that stands still its time may be over before its hello is looked at.
  for (int tries = 0; tries < 50 && site.early("accepted") == 0; ++tries) {
    EarlyClient client(site.port(), {}, ticket.get());
    REQUIRE(client.send_early(site.get("/")));
    CHECK_FALSE(client.wait_for(SIZE_MAX));
    CHECK(eventually([&] {
      return site.daemon->metric("fiberd_tls_handshake_failures_total{listener=\"web\",reason=\"timeout\"}") ==
             tries + 1;
    }));
  }
  CHECK(site.early("accepted") == 1);
  CHECK(site.resumed() == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: HTTP/2 serves a GET of it, and answers 425 to a POST", "[integration][daemon][tls]") {
  EarlySite site;
  const auto talk = [&](EarlyClient* client) {
    return std::make_unique<http2::Client>(std::unique_ptr<AnswerReader>(client), "");
  };
  const std::string begun = std::string(http2::kPreface) + http2::settings();
  auto* first = new EarlyClient(site.port(), "h2");
  const auto one = talk(first);
  REQUIRE(first->shake_hands());
  REQUIRE(one->send(begun + http2::get(1)));
  REQUIRE(one->reply(1).body == "[]" + std::string(kEarlyBody, 'x'));
  const EarlySession ticket = first->session();
  auto* second = new EarlyClient(site.port(), "h2", ticket.get());
  const auto two = talk(second);
  REQUIRE(second->send_early(begun + http2::get(1) + http2::post(3, "hello")));
  REQUIRE(second->wait_for(kEarlyBody));
  REQUIRE(second->shake_hands());
  CHECK(second->accepted());
  CHECK(two->reply(1).body == "[1]" + std::string(kEarlyBody, 'x'));
  CHECK(two->reply(3).status == 425);
  REQUIRE(two->send(http2::get(5) + http2::post(7, "hello")));
  CHECK(two->reply(5).body == "[]" + std::string(kEarlyBody, 'x'));
  CHECK(two->reply(7).body == "hello");
  CHECK(site.daemon->metric("fiberd_http_refused_total{listener=\"web\",reason=\"too_early\"}") == 1);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: an answer that the socket does not take at once is whole", "[integration][daemon][tls]") {
  EarlySite site;
  const EarlySession ticket = site.ticket();
  REQUIRE(ticket != nullptr);
  EarlyClient client(site.port(), {}, ticket.get(), 4096);
  REQUIRE(client.send_early(site.get("/files/big", "Connection: close\r\n")));
  REQUIRE(client.wait_for(100'000));
  REQUIRE(client.shake_hands());
  const std::optional<Answer> answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->body == site.file);
  CHECK(client.wait_end());  // with close_notify
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: off it is skipped, and what follows is served; openssl s_client", "[integration][daemon][tls]") {
  EarlySite site;
  const std::string request = site.get("/", "Connection: close\r\n");
  site.files.write("request", request);
  const std::string files = site.files.path();
  const auto client = [&](const std::string& options, const std::string& input) {
    return run({"sh", "-c",
                "timeout 60 openssl s_client -connect 127.0.0.1:" + std::to_string(site.port()) +
                    " -servername localhost -tls1_3 -ign_eof " + options + " < " + input + " 2>&1"})
        .output;
  };
  CHECK(client("-sess_out " + files + "/session", files + "/request").find("[]xxx") != std::string::npos);
  const std::string on = client("-sess_in " + files + "/session -early_data " + files + "/request", "/dev/null");
  CHECK(on.find("Early data was accepted") != std::string::npos);
  CHECK(on.find("[1]xxx") != std::string::npos);
  site.daemon->write_config(site.yaml("early_data: false"));
  site.daemon->process().signal(SIGHUP);
  REQUIRE(eventually([&] { return site.daemon->metric("fiberd_config_reloads_total{result=\"success\"}") == 1; }));
  const std::string off =
      client("-sess_in " + files + "/session -early_data " + files + "/request", files + "/request");
  CHECK(off.find("Early data was rejected") != std::string::npos);
  CHECK(off.find("[]xxx") != std::string::npos);
  CHECK(off.find("[1]xxx") == std::string::npos);
  CHECK(eventually([&] { return site.early("refused") == 1; }));
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("early data: what another has taken so is passed on, and refused where it may change something (8470 5.2)",
          "[integration][daemon]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: "
      "/, respond: {body: \"[${header.Early-Data}]\"}}, {path: /echo, echo: {}}]}}\n");
  HttpClient client(daemon.port("web"));
  REQUIRE(
      client.send("GET / HTTP/1.1\r\nHost: a\r\nearly-data: 1\r\n\r\n"
                  "POST /echo HTTP/1.1\r\nHost: a\r\nEarly-Data: 1\r\nContent-Length: 2\r\n\r\nhi"
                  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  CHECK(client.receive().value_or(Answer{}).body == "[1]");
  CHECK(client.receive().value_or(Answer{}).status == 425);
  CHECK(client.receive().value_or(Answer{}).body == "[]");
  CHECK(daemon.stop() == 0);
}
