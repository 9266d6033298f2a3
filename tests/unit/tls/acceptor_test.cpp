#include "core/tls/acceptor.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <ctime>
#include <list>
#include <vector>

#include "core/metric/registry.hpp"
#include "core/tls/certificate_loader.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

/// An Acceptor behind nobody: connections are socket pairs. Those that were secured are echoed to.
struct Encrypting {
  Encrypting() {
    metric::Family& f = registry.family({.name = "failed_total", .help = "h", .labels = {"listener", "reason"}});
    for (std::size_t i = 1; i < metrics.failed.size(); ++i)
      metrics.failed[i] = &late.emplace_back(registry, f, "web", tls::token_of(static_cast<tls::Unshaken>(i)));
    metric::Family& c = registry.family({.name = "done_total", .help = "h", .labels = {"version", "resumed"}});
    metrics.completed[1][0] = &registry.counter(c, {"1.3", "no"});
    metrics.completed[0][0] = &registry.counter(c, {"1.2", "no"});
    metrics.pending = &registry.gauge(registry.family({.name = "pending", .help = "h", .type = metric::Type::gauge}));
  }
  void use(tls::Secured s) {
    if (s.contexts == nullptr) s.contexts = std::make_shared<tls::CurrentContext>(contexts.server);
    if (s.on_secured == nullptr) {
      s.on_secured = [](void* argument, std::unique_ptr<net::ByteStream> stream, net::Place&& place,
                        const net::Endpoint&) noexcept {
        auto& self = *static_cast<Encrypting*>(argument);
        self.secured.fetch_add(1);
        (void)runtime::spawn("echo", [&self, held = std::shared_ptr<net::ByteStream>(std::move(stream)),
                                      kept = std::make_shared<net::Place>(std::move(place))] {
          std::string buffer(100, ' ');
          const auto n = held->read_some(bytes(buffer), Deadline::in(60s));
          if (n && *n != 0) (void)held->write_some(bytes(std::string_view(buffer).substr(0, *n)));
          held->close();
          self.echoed.fetch_add(1);
        });
      };
      s.argument = this;
    }
    s.metrics = &metrics;
    acceptor.use(std::move(s));
  }
  /// The client's end of a connection that was let in.
  [[nodiscard]] net::TcpStream connect() {
    Pair pair;
    acceptor.accept(std::move(pair.a), net::Place(), net::Endpoint());
    return std::move(pair.b);
  }
  /// Whether somebody who behaves is served.
  [[nodiscard]] bool serves() {
    TlsStream client = client_over(contexts, connect());
    if (!client->handshake(Deadline::in(60s)) || write_whole(*client, "hello")) return false;
    const auto got = read_exactly(*client, 5);
    return got && *got == "hello";
  }
  [[nodiscard]] std::uint64_t failed(tls::Unshaken why) const {
    return metrics.failed[static_cast<std::size_t>(why)]->value();
  }
  [[nodiscard]] std::uint64_t failed(tls::errc why) const { return failed(static_cast<tls::Unshaken>(why)); }
  /// Bounded: until nothing is under way.
  [[nodiscard]] bool settled(std::size_t pending = 0) {
    for (int i = 0; i < 60'000 && (acceptor.pending() != pending || echoed.load() != secured.load()); ++i)
      (void)runtime::sleep_for(1ms);
    return acceptor.pending() == pending && metrics.pending->value() == static_cast<std::int64_t>(pending);
  }
  metric::Registry registry;
  std::list<metric::LateCounter> late;
  tls::HandshakeMetrics metrics;
  const Contexts contexts;
  std::atomic<int> secured{0};
  std::atomic<int> echoed{0};
  tls::Acceptor acceptor;
};

template <class Body>
void encrypting(Body body) {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    auto e = std::make_unique<Encrypting>();
    start(processors)->run([&] { body(expect, *e); });
    INFO(processors << " Processors\n" << expect.broken());
    CHECK(expect.broken().empty());
  }
}

/// Whether the other side has ended the connection, or does in time.
bool ends(net::TcpStream& s) {
  std::string buffer(4096, ' ');
  for (;;) {
    const auto n = s.read_some(bytes(buffer), Deadline::in(60s));
    if (!n) return n.error() == std::errc::connection_reset;
    if (*n == 0) return true;
  }
}

}  // namespace

TEST_CASE("connections are handed over when their handshake is over, counted by version", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({});
    for (int i = 0; i < 3; ++i) expect(e.serves(), "served");
    expect(e.settled() && e.secured == 3 && e.metrics.completed[1][0]->value() == 3, "three of TLS 1.3");
  });
}

// With TLS 1.3 its handshake is over before its certificate is looked at, and the request follows at once: a reset by
// the kernel would be all that it learns.
TEST_CASE("who is refused for want of a certificate reads why, whatever it has sent meanwhile",
          "[tls][acceptor][mtls]") {
  const test::TestAuthority clients("clients");
  const test::TemporaryDirectory files;
  std::string why;
  bool of_crl = false;
  tls::CertificateLoader loader;
  tls::CertificateFlaw flaw;
  const auto certificate =
      loader.parse({"certificate", "key"}, test::kTestCertificate, test::kTestKey, {}, std::time(nullptr), flaw);
  REQUIRE(certificate);
  Contexts asking;
  asking.server =
      tls::ServerContext::make({.certificates = {certificate.value()},
                                .client_auth = tls::ClientAuth::load({files.write("ca.pem", clients.certificate())},
                                                                     tls::ClientAuthMode::require, why, of_crl)
                                                   .value()},
                               why)
          .value();
  encrypting([&](Expectations& expect, Encrypting& e) {
    e.use({.contexts = std::make_shared<tls::CurrentContext>(asking.server), .farewell = 60s});
    TlsStream client = client_over(asking, e.connect());
    expect(client->handshake(Deadline::in(60s)).has_value(), "over, for the client");
    bool sent = true;
    for (int i = 0; i < 200 || (e.failed(tls::errc::no_certificate) == 0 && i < 60'000); ++i) {
      sent = sent && !write_whole(*client, "a request");
      (void)runtime::sleep_for(1ms);
    }
    expect(sent, "what it sends is taken");
    std::string buffer(10, ' ');
    const auto read = client->read_some(bytes(buffer), Deadline::in(60s));
    expect(!read && read.error() == tls::errc::alert, "it is told why");
    client->close();
    expect(e.settled() && e.failed(tls::errc::no_certificate) == 1, "counted once, and gone");
  });
}

TEST_CASE(
    "silent clients, and those that stop in the middle, meet the deadline; a client in time is served beside them",
    "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 50ms});
    net::TcpStream silent = e.connect();
    net::TcpStream half = e.connect();
    expect(half.write_all(bytes(std::string_view("\x16\x03\x01\x01"))).has_value(), "a few bytes");
    expect(ends(silent) && ends(half), "both are closed");
    expect(e.settled() && e.failed(tls::Unshaken::timeout) == 2, "both counted");
    e.use({.patience = 60s});
    net::TcpStream other = e.connect();
    expect(e.serves(), "nobody waits for them");
    other.close();
    expect(e.settled() && e.failed(tls::errc::ended) == 1, "who leaves is counted");
  });
}

TEST_CASE("of too many handshakes those that have waited longest make room", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 60s, .handshakes = 5});
    std::vector<net::TcpStream> held;
    for (int i = 0; i < 20; ++i) {
      held.push_back(e.connect());
      // Some have begun: they hold a fiber.
      if (i % 2 == 0) (void)held.back().write_all(bytes(std::string_view("\x16\x03")));
      for (int k = 0; k < 20; ++k) runtime::yield();
      expect(e.acceptor.pending() <= 5, "they are bounded");
    }
    expect(e.serves(), "who behaves is served");
    expect(e.acceptor.pending() <= 5, "they still are");
    const auto ended = [&] {
      std::string buffer(10, ' ');
      return std::count_if(held.begin(), held.end(), [&](net::TcpStream& s) {
        const auto n = s.try_read(bytes(buffer));
        return n || n.error() != std::errc::operation_would_block;
      });
    };
    for (int i = 0; i < 60'000 && ended() < 15; ++i) (void)runtime::sleep_for(1ms);
    expect(ended() >= 15, "the others are closed");
    expect(e.failed(tls::Unshaken::reclaimed) + e.failed(tls::Unshaken::limit) >= 15, "counted");
    held.clear();
    expect(e.settled(), "nothing is left");
  });
}

TEST_CASE("the bound holds while those that were told to end are still there; newcomers come in their places",
          "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 60s, .handshakes = 3});
    std::vector<net::TcpStream> held;
    for (int i = 0; i < 3; ++i) {
      held.push_back(e.connect());
      (void)held.back().write_all(bytes(std::string_view("\x16\x03")));
    }
    for (int i = 0; i < 60'000 && e.acceptor.shaking() != 3; ++i) (void)runtime::sleep_for(1ms);
    // Nothing runs on this Processor in between: who is told has no time to end.
    for (int i = 0; i < 3; ++i) {
      held.push_back(e.connect());
      expect(e.acceptor.pending() <= 3, "no more than three");
    }
    for (int i = 0; i < 60'000 && e.failed(tls::Unshaken::reclaimed) != 3; ++i) (void)runtime::sleep_for(1ms);
    expect(e.failed(tls::Unshaken::reclaimed) == 3 && e.failed(tls::Unshaken::limit) == 0, "three are in their places");
    expect(e.serves() && e.acceptor.pending() <= 3, "who behaves is served");
    held.clear();
    expect(e.settled(), "nothing is left");
  });
}

TEST_CASE("reclaim ends those that have waited for long, silent ones first", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 60s});
    net::TcpStream begun = e.connect();
    (void)begun.write_all(bytes(std::string_view("\x16\x03")));
    for (int i = 0; i < 60'000 && e.acceptor.shaking() != 1; ++i) (void)runtime::sleep_for(1ms);
    net::TcpStream silent = e.connect();
    expect(e.acceptor.reclaim(10, monotonic_now() - 3'600'000'000'000) == 0, "nobody has waited an hour");
    std::size_t ended = 0;
    for (int i = 0; i < 60'000 && (ended = e.acceptor.reclaim(1, INT64_MAX)) == 0; ++i) (void)runtime::sleep_for(1ms);
    expect(ended == 1 && ends(silent), "the silent one");
    for (int i = 0; i < 60'000 && (ended = e.acceptor.reclaim(1, INT64_MAX)) == 0; ++i) (void)runtime::sleep_for(1ms);
    expect(ended == 1 && ends(begun), "then the other");
    expect(e.settled() && e.failed(tls::Unshaken::reclaimed) == 2, "counted");
  });
}

TEST_CASE("plain HTTP is answered, other noise is closed, each counted by reason", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 60s, .plain_answer = "HTTP/1.1 400 Bad Request\r\n\r\nhttps!"});
    net::TcpStream plain = e.connect();
    expect(plain.write_all(bytes(std::string_view("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"))).has_value(), "sent");
    const auto answer = read_all(plain);
    expect(answer && *answer == "HTTP/1.1 400 Bad Request\r\n\r\nhttps!", "answered, and then the end");
    plain.close();
    net::TcpStream noise = e.connect();
    expect(noise.write_all(bytes(std::string(100, '\0'))).has_value() && ends(noise), "closed");
    net::TcpStream hello = e.connect();
    expect(
        hello.write_all(bytes(std::string_view("\x16\x03\x01\x40\x00\x01\x00\xff\xff", 9))).has_value() && ends(hello),
        "closed");
    expect(e.settled() && e.failed(tls::errc::plain_http) == 1 && e.failed(tls::errc::not_tls) == 1 &&
               e.failed(tls::errc::hello_too_large) == 1,
           "counted");
  });
}

TEST_CASE("a stop lets handshakes go on for a while, and then ends them", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    e.use({.patience = 3600s, .drain = 3600s});
    TlsStream late = client_over(e.contexts, e.connect());
    Latch done(1);
    std::atomic<std::int64_t> deadline{INT64_MAX};
    (void)runtime::spawn("stop", [&] {
      e.acceptor.drain(deadline);
      done.done();
    });
    for (int i = 0; i < 10; ++i) runtime::yield();
    expect(late->handshake(Deadline::in(60s)).has_value(), "who was let in before is served");
    expect(done.wait(), "then nobody is left");
    late->close();
    net::TcpStream silent = e.connect();
    net::TcpStream half = e.connect();
    (void)half.write_all(bytes(std::string_view("\x16\x03")));
    deadline = 0;
    e.acceptor.drain(deadline);
    expect(ends(silent) && ends(half), "ended");
    expect(e.settled() && e.failed(tls::Unshaken::stopping) == 2, "counted");
  });
}

TEST_CASE("a handshake under way is handed to whoever serves by then", "[tls][acceptor]") {
  encrypting([](Expectations& expect, Encrypting& e) {
    struct Other {
      std::atomic<int> got{0};
    } other;
    e.use({.patience = 60s});
    TlsStream client = client_over(e.contexts, e.connect());
    // Somebody in the middle of a handshake is not waited for.
    net::TcpStream half = e.connect();
    (void)half.write_all(bytes(std::string_view("\x16\x03")));
    for (int k = 0; k < 60'000 && e.acceptor.shaking() != 1; ++k) (void)runtime::sleep_for(1ms);
    e.use(
        {.patience = 60s,
         .on_secured =
             [](void* argument, std::unique_ptr<net::ByteStream> stream, net::Place&&, const net::Endpoint&) noexcept {
               stream->close();
               static_cast<Other*>(argument)->got.fetch_add(1);
             },
         .argument = &other});
    expect(client->handshake(Deadline::in(60s)).has_value(), "handshake");
    const auto end = read_to_end(*client);
    expect(end && end->empty() && other.got == 1 && e.secured == 0, "to the new one");
    expect(e.acceptor.shaking() == 1, "and the other still waits");
    half.close();
    expect(e.settled(), "nothing is left");
  });
}
