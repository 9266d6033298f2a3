#include "core/tls/stream.hpp"

#include <openssl/ssl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <type_traits>
#include <vector>

#include "core/runtime/blocking.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

/// Runs `body` on fibers of one and of two Processors.
template <class Body>
void on_fibers(Body body) {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    auto rt = start(processors);
    rt->run([&] {
      if constexpr (std::is_invocable_v<Body, Expectations&>)
        body(expect);
      else
        body(expect, *rt);
    });
    INFO(processors << " Processors\n" << expect.broken());
    CHECK(expect.broken().empty());
  }
}

/// What passes from one to the other in pieces of `most` bytes at most, until the end or `last` bytes; then the end of
/// both directions.
void pass_on(net::TcpStream& from, net::TcpStream& to, std::size_t most, std::size_t last = SIZE_MAX) {
  std::string buffer(most, '\0');
  std::size_t passed = 0;
  while (passed < last) {
    const auto n = from.read_some(bytes(buffer).first(std::min(most, last - passed)), Deadline::in(60s));
    if (!n || *n == 0) break;
    passed += *n;
    if (!to.write_all(bytes(buffer).first(*n), Deadline::in(60s))) break;
  }
  (void)to.shutdown_write();
  if (last != SIZE_MAX) from.shutdown();
}

void reset(net::SocketStream& s) {
  const linger now{1, 0};
  (void)::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  s.close();
}

}  // namespace

TEST_CASE("both sides of a handshake, what they know of each other, and bytes both ways", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts({.protocols = {"h2", "http/1.1"}}, {.protocols = {"http/1.1", "h2"}});
    TlsPair p(contexts);
    if (!expect(!p.of_server, p.of_server.message()) || !expect(!p.of_client, p.of_client.message())) return;
    expect(p.server->application_protocol() == "h2" && p.client->application_protocol() == "h2", "ALPN: the server's");
    const net::TlsPeer* const peer = p.server->tls_peer();
    expect(peer != nullptr && peer->version == "TLSv1.3" && peer->server_name == "localhost" && !peer->resumed, "peer");
    const std::string sent = pattern(100'000);
    Latch done(1);
    (void)runtime::spawn("echo", [&] {
      const auto got = read_exactly(*p.server, sent.size());
      expect(got && *got == sent, "what the server read");
      expect(!write_whole(*p.server, sent), "the server's write");
      expect(p.server->take_leave(Deadline::in(60s)).has_value(), "close_notify");
      (void)p.server->shutdown_write();
      const auto rest = read_to_end(*p.server);
      expect(rest && *rest == "bye", "behind its own end the server reads on");
      done.done();
    });
    expect(!write_whole(*p.client, sent), "the client's write");
    const auto got = read_to_end(*p.client);
    expect(got && *got == sent, "what the client read, up to the end in order");
    expect(!write_whole(*p.client, "bye"), "behind the server's end");
    p.client->close();
    expect(done.wait(), "the server's end");
    const auto after = p.client->write_some(bytes(std::string_view("x")));
    expect(!after && after.error() == std::errc::bad_file_descriptor, "closed");
  });
}

TEST_CASE("no ALPN is no protocol; none in common ends the handshake on both sides", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    {
      TlsPair p(Contexts({.protocols = {"h2"}}, {}));
      expect(!p.of_server && p.server->application_protocol().empty(), "the client asked for none");
    }
    TlsPair p(Contexts({.protocols = {"h2"}}, {.protocols = {"http/1.1"}}));
    expect(p.of_server == tls::errc::protocol, p.of_server.message());
    expect(p.of_client == tls::errc::alert, p.of_client.message());
  });
}

TEST_CASE("whom a client believes", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    for (const std::string name : {"localhost", "a.example.test", "127.0.0.1", "::1"}) {
      TlsPair p(Contexts(), name);
      expect(!p.of_client && !p.of_server, name);
      const bool address = name.find_first_of("0:") != std::string::npos && name.front() != 'l' && name.front() != 'a';
      expect(p.server->tls_peer()->server_name == (address ? "" : name), "SNI: names alone");
    }
    for (const std::string name : {"other", "a.b.example.test", "127.0.0.2"}) {
      TlsPair p(Contexts(), name);
      expect(p.of_client == tls::errc::certificate && p.of_client == std::errc::protocol_error, name);
      expect(p.client->failure().find("mismatch") != std::string::npos, p.client->failure());
      expect(p.of_server == tls::errc::alert, p.of_server.message());
    }
    TlsPair anybody(Contexts({}, {.verify = false}), "other");
    expect(!anybody.of_client, "verify: false");
    TlsPair stranger(Contexts({}, {.ca = test::kTestCertificate}));
    expect(stranger.of_client == tls::errc::certificate, "another authority");
    const Contexts contexts;
    expect(contexts.client->new_session("") == nullptr, "nobody's name");
    expect(contexts.client->new_session(std::string("a\0b", 3)) == nullptr, "a NUL");
  });
}

TEST_CASE("contexts refuse what is no certificate, no key, or the key of another", "[tls][stream]") {
  const auto made = [](const std::string& certificate, const std::string& key) {
    return error_of(tls::ServerContext::make({.certificate = certificate, .key = key}));
  };
  const std::string good = test::kTestCertificate;
  CHECK(!made(good, test::kTestKey));
  CHECK(!made(good + test::kTestCa, test::kTestKey));
  CHECK(made("", test::kTestKey) == std::errc::invalid_argument);
  CHECK(made(good, "") == std::errc::invalid_argument);
  CHECK(made(test::kTestCa, test::kTestKey) == std::errc::invalid_argument);
  CHECK(made(good + good.substr(0, good.size() / 2), test::kTestKey) == std::errc::invalid_argument);
  CHECK(!tls::ClientContext::make({.ca = "no certificate"}));
  CHECK(!tls::ServerContext::make({.certificate = good, .key = test::kTestKey, .protocols = {""}}));
}

TEST_CASE("records that come cut anywhere are the same records", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    for (const std::size_t most : {1U, 7U, 1000U}) {
      Pair near;
      Pair far;
      Latch passed(2);
      (void)runtime::spawn("up", [&] {
        pass_on(near.b, far.b, most);
        passed.done();
      });
      (void)runtime::spawn("down", [&] {
        pass_on(far.b, near.b, most);
        passed.done();
      });
      {
        TlsPair p(server_over(contexts, std::move(far.a)), client_over(contexts, std::move(near.a)));
        expect(!p.of_client && !p.of_server, "handshake");
        const std::string sent = pattern(40'000, static_cast<std::uint32_t>(most));
        Latch done(1);
        (void)runtime::spawn("writer", [&] {
          expect(!write_whole(*p.server, sent), "write");
          expect(p.server->take_leave(Deadline::in(60s)).has_value(), "close_notify");
          (void)p.server->shutdown_write();
          done.done();
        });
        const auto got = read_to_end(*p.client);
        expect(got && *got == sent, "all of it, and its end");
        expect(done.wait(), "the writer");
      }
      expect(passed.wait(), "both ends reach whoever passes bytes on");
    }
  });
}

TEST_CASE("a connection that breaks off behind any byte of a handshake ends it, and says so", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    unsigned failed = 0;
    std::size_t last = 0;
    // A client says some 500 bytes; the first are cut at each, then every 13th.
    for (; last < 2'000; last += last < 16 ? 1 : 13) {
      Pair near;
      Pair far;
      Latch done(3);
      (void)runtime::spawn("up", [&] {
        pass_on(near.b, far.b, 4096, last);
        done.done();
      });
      (void)runtime::spawn("down", [&] {
        pass_on(far.b, near.b, 4096);
        done.done();
      });
      TlsStream server = server_over(contexts, std::move(far.a));
      TlsStream client = client_over(contexts, std::move(near.a));
      std::error_code of_server;
      (void)runtime::spawn("server", [&] {
        of_server = error_of(server->handshake(Deadline::in(60s)));
        server->close();
        done.done();
      });
      (void)client->handshake(Deadline::in(60s));
      client->close();
      if (!expect(done.wait(), "behind " + std::to_string(last))) return;
      if (!of_server) break;  // so much is a handshake
      expect(of_server == tls::errc::ended, std::to_string(last) + ": " + of_server.message());
      ++failed;
    }
    expect(failed > 40 && last < 2'000, "it was cut, and at last it was not");
  });
}

TEST_CASE("a FIN without close_notify is no end: truncated, and it stays so", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    TlsPair p;
    expect(!write_whole(*p.server, "half"), "write");
    (void)p.server->socket().shutdown_write();
    const auto some = read_exactly(*p.client, 4);
    expect(some && *some == "half", "what came before");
    std::string buffer(10, ' ');
    for (int i = 0; i < 3; ++i) {
      const auto end = p.client->read_some(bytes(buffer), Deadline::in(60s));
      expect(!end && end.error() == tls::errc::truncated && end.error() == std::errc::connection_aborted,
             end ? "an end" : end.error().message());
    }
    TlsPair other;
    (void)other.client->socket().shutdown_write();
    const auto end = other.server->read_some(bytes(buffer), Deadline::in(60s));
    expect(!end && end.error() == tls::errc::truncated, "to a server, too");
  });
}

TEST_CASE("a reset is a reset", "[tls][stream]") {
  on_fibers([](Expectations& expect, runtime::Runtime& runtime) {
    const Contexts contexts;
    auto listener = net::Listener::bind(runtime, *net::Endpoint::parse("127.0.0.1:0"), {});
    if (!expect(listener.has_value(), "bind")) return;
    Latch done(1);
    expect((*listener)
               ->serve([&](net::TcpStream s) {
                 TlsStream server = server_over(contexts, std::move(s));
                 expect(server->handshake(Deadline::in(60s)).has_value(), "handshake");
                 const auto got = read_exactly(*server, 2);
                 expect(got.has_value(), "read");
                 reset(server->socket());
                 done.done();
               })
               .has_value(),
           "serve");
    auto socket = net::TcpStream::connect((*listener)->local(), Deadline::in(60s));
    if (!expect(socket.has_value(), "connect")) return;
    TlsStream client = client_over(contexts, std::move(*socket));
    expect(client->handshake(Deadline::in(60s)).has_value(), "handshake");
    expect(!write_whole(*client, "xy"), "write");
    std::error_code error;
    std::string buffer(10, ' ');
    const auto n = client->read_some(bytes(buffer), Deadline::in(60s));
    expect(!n && n.error() == std::errc::connection_reset, n ? "bytes" : n.error().message());
    expect(done.wait(), "the server");
    (*listener)->stop();
  });
}

TEST_CASE("what is no TLS is told from what is", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    const auto said = [&](std::string_view bytes_of_client) {
      Pair pair;
      TlsStream server = server_over(contexts, std::move(pair.a));
      (void)pair.b.write_all(bytes(bytes_of_client));
      (void)pair.b.shutdown_write();
      return error_of(server->handshake(Deadline::in(60s)));
    };
    expect(said("GET / HTTP/1.1\r\n\r\n") == tls::errc::plain_http, "GET");
    expect(said("DELETE / HTTP/1.1\r\n\r\n") == tls::errc::plain_http, "DELETE");
    expect(said("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == tls::errc::plain_http, "HTTP/2's preface");
    expect(said("CONNECT a:1 HTTP/1.1\r\n\r\n") == tls::errc::plain_http, "CONNECT");
    expect(said(std::string("\0\0\0\0\0\0\0\0", 8)) == tls::errc::not_tls, "zeros");
    expect(said(std::string("\x16\x05\x05\x00\x05hello", 10)) == tls::errc::not_tls, "a version that never was");
    expect(said(std::string("\x16\x03\x01\x00\x05hello", 10)) == tls::errc::malformed, "no hello");
    expect(said("") == tls::errc::ended, "nothing");
    expect(said("\x16\x03") == tls::errc::ended, "part of a record's head");
    expect(said(std::string("\x16\x03\x01\x7f\xff", 5) + std::string(40'000, 'x')) == tls::errc::malformed,
           "a record longer than there are");
    const std::string head("\x16\x03\x01\x40\x00", 5);
    expect(said(head + std::string("\x01\x00\x40\x01", 4)) == tls::errc::hello_too_large, "16 KiB and a byte");
    expect(said(head + std::string("\x01\x01\x00\x00", 4)) == tls::errc::hello_too_large, "64 KiB");
    expect(said(head + std::string("\x01\x00\x40\x00", 4)) == tls::errc::ended, "16 KiB are awaited");
    expect(said(std::string("\x16\x03\x01\x00\x01\x01\x16\x03\x01", 9)) == tls::errc::hello_too_large, "in crumbs");
  });
}

TEST_CASE("no version and no cipher in common", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    const auto shaken = [&](auto change) {
      Pair pair;
      TlsStream server = server_over(contexts, std::move(pair.a));
      TlsStream client = client_over(contexts, std::move(pair.b));
      change(server->session(), client->session());
      TlsPair p(std::move(server), std::move(client));
      expect(static_cast<bool>(p.of_client), "the client is told");
      return p.of_server;
    };
    expect(shaken([](SSL* s, SSL* c) {
             SSL_set_min_proto_version(s, TLS1_3_VERSION);
             SSL_set_max_proto_version(c, TLS1_2_VERSION);
           }) == tls::errc::version,
           "version");
    expect(shaken([](SSL* s, SSL* c) {
             SSL_set_max_proto_version(s, TLS1_2_VERSION);
             SSL_set_cipher_list(s, "ECDHE-ECDSA-AES128-GCM-SHA256");
             SSL_set_cipher_list(c, "ECDHE-ECDSA-AES256-GCM-SHA384");
           }) == tls::errc::cipher,
           "TLS 1.2");
    expect(shaken([](SSL* s, SSL* c) {
             SSL_set_ciphersuites(s, "TLS_AES_128_GCM_SHA256");
             SSL_set_ciphersuites(c, "TLS_AES_256_GCM_SHA384");
             SSL_set_min_proto_version(c, TLS1_3_VERSION);
           }) == tls::errc::cipher,
           "TLS 1.3");
  });
}

TEST_CASE("a peer that stalls meets the deadline: in a handshake, a read and a write", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    {
      Pair silent;
      TlsStream server = server_over(contexts, std::move(silent.a));
      const auto shaken = server->handshake(Deadline::in(10ms));
      expect(!shaken && shaken.error() == std::errc::timed_out, "handshake");
      runtime::CancelSource cancel;
      cancel.cancel();
      const auto canceled = server->handshake(Deadline::never(), &cancel);
      expect(!canceled && canceled.error() == std::errc::operation_canceled, "cancelled");
    }
    TlsPair p(contexts);
    std::string buffer(10, ' ');
    auto n = p.server->read_some(bytes(buffer), Deadline::in(10ms));
    expect(!n && n.error() == std::errc::timed_out, "read");
    expect(!write_whole(*p.client, "late"), "write");
    const auto got = read_exactly(*p.server, 4);
    expect(got && *got == "late", "a deadline ends a wait, not the stream");

    // The client reads nothing: what was begun is gone on with, or nothing is.
    const std::string sent = pattern(16'000);
    std::string all;
    while ((n = p.server->try_write(bytes(sent)))) all.append(sent, 0, *n);
    expect(n.error() == std::errc::operation_would_block, n.error().message());
    n = p.server->write_some(bytes(sent), Deadline::in(10ms));
    expect(!n && n.error() == std::errc::timed_out, "write");
    Latch done(1);
    std::size_t wanted = all.size() + sent.size();
    (void)runtime::spawn("reader", [&] {
      const auto whole = read_exactly(*p.client, wanted);
      expect(whole && *whole == all + sent, "nothing is lost, nothing comes twice");
      done.done();
    });
    expect(!write_whole(*p.server, sent), "the same bytes go on");
    expect(done.wait(), "the reader");

    while ((n = p.server->try_write(bytes(sent)))) {
    }
    const std::string other = pattern(16'000, 7);
    for (int i = 0; i < 2; ++i) {
      n = p.server->write_some(bytes(other), Deadline::in(60s));
      expect(!n && n.error() == tls::errc::out_of_step, "others do not take their place");
    }
  });
}

TEST_CASE("one fiber reads, another writes, on both sides", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    TlsPair p;
    const std::string up = pattern(1 << 20, 3);
    const std::string down = pattern(1 << 20, 5);
    Latch done(4);
    const auto write = [&](tls::Stream& s, const std::string& data) {
      (void)runtime::spawn("writer", [&] {
        expect(!write_whole(s, data), "write");
        expect(s.take_leave(Deadline::in(60s)).has_value(), "close_notify waits for room");
        (void)s.shutdown_write();
        done.done();
      });
    };
    const auto read = [&](tls::Stream& s, const std::string& data) {
      (void)runtime::spawn("reader", [&] {
        const auto got = read_to_end(s);
        expect(got && *got == data, got ? "other bytes" : got.error().message());
        done.done();
      });
    };
    write(*p.client, up);
    read(*p.client, down);
    write(*p.server, down);
    read(*p.server, up);
    for (int i = 0; i < 6 && !done.wait(); ++i) {
    }
    expect(done.wait(), "all four");
  });
}

TEST_CASE("shutdown from another fiber ends a read, a write and a handshake", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    TlsPair p(contexts);
    Pair silent;
    TlsStream third = server_over(contexts, std::move(silent.a));
    Latch done(3);
    (void)runtime::spawn("reader", [&] {
      std::string buffer(10, ' ');
      const auto n = p.server->read_some(bytes(buffer));
      expect(!n && n.error() == std::errc::operation_canceled, "read");
      done.done();
    });
    (void)runtime::spawn("writer", [&] {
      const std::error_code error = write_whole(*p.server, std::string(8 << 20, 'x'));
      expect(error == std::errc::operation_canceled, error.message());
      done.done();
    });
    (void)runtime::spawn("handshake", [&] {
      const auto shaken = third->handshake();
      expect(!shaken && shaken.error() == std::errc::operation_canceled, "handshake");
      done.done();
    });
    for (int i = 0; i < 10; ++i) runtime::yield();
    p.server->shutdown();
    p.client->shutdown();
    third->shutdown();
    expect(done.wait(), "all three");
    expect(p.server->is_shut_down(), "known");
  });
}

TEST_CASE("signatures of RSA are made on the blocking pool, those on P-256 are not", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const auto jobs = [] { return runtime::current_blocking_pool().stats().jobs; };
    const std::uint64_t before = jobs();
    TlsPair quick;
    expect(!quick.of_server && jobs() == before, "P-256");
    TlsPair slow(Contexts({.certificate = test::kTestRsaCertificate, .key = test::kTestRsaKey}));
    expect(!slow.of_server && !slow.of_client, slow.of_server.message() + slow.of_client.message());
    expect(jobs() > before && jobs() <= before + 2, "RSA: until the hello is answered");
  });
}

TEST_CASE("renegotiation is refused, and the connection lives", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    const Contexts contexts;
    Pair pair;
    TlsStream server = server_over(contexts, std::move(pair.a));
    TlsStream client = client_over(contexts, std::move(pair.b));
    SSL_set_max_proto_version(client->session(), TLS1_2_VERSION);
    TlsPair p(std::move(server), std::move(client));
    expect(!p.of_server && p.server->tls_peer()->version == "TLSv1.2", "TLS 1.2");
    SSL* const ssl = p.client->session();
    SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
    expect(SSL_renegotiate(ssl) == 1, "asked for");
    (void)SSL_do_handshake(ssl);  // sends the hello
    std::string buffer(10, ' ');
    const auto n = p.server->read_some(bytes(buffer), Deadline::in(50ms));
    expect(!n, "no bytes");
    expect(SSL_num_renegotiations(p.server->session()) == 0, "there was none");
    p.client->socket().note_readable();
    expect(SSL_do_handshake(ssl) != 1, "the client is told");
  });
}

namespace {
struct Waker {
  std::atomic<int> ready{0};
  std::atomic<int> late{0};
};
constexpr runtime::IdleHandler kWaker{[](void* w) noexcept { static_cast<Waker*>(w)->ready.fetch_add(1); },
                                      [](void* w) noexcept { static_cast<Waker*>(w)->late.fetch_add(1); }};
bool woken(const std::atomic<int>& what, int times) {
  for (int i = 0; i < 10'000 && what.load() != times; ++i) (void)runtime::sleep_for(1ms);
  return what.load() == times;
}
}  // namespace

TEST_CASE("idle: bytes, part of a record, and the end wake it; what waits already does not let it", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    TlsPair p;
    Waker waker;
    std::string buffer(10, ' ');
    auto n = p.server->try_read(bytes(buffer));
    expect(!n && n.error() == std::errc::operation_would_block && p.server->drained(), "nothing there");
    expect(p.server->go_idle(kWaker, &waker, Deadline::never()) && p.server->is_idle(), "idle");
    expect(!p.server->bytes_waiting(), "no bytes");
    expect(!write_whole(*p.client, "0123456789abcde"), "write");
    expect(woken(waker.ready, 1), "bytes wake it");
    expect(p.server->bytes_waiting(), "and wait");
    p.server->note_readable();
    n = p.server->try_read(bytes(buffer));
    expect(n && *n == 10 && !p.server->drained() && p.server->bytes_waiting(), "some of them still do");
    expect(!p.server->go_idle(kWaker, &waker, Deadline::never()), "then it does not go idle");
    n = p.server->try_read(bytes(buffer));
    expect(n && *n == 5 && p.server->drained(), "the rest, and the kernel has no more");
    expect(p.server->go_idle(kWaker, &waker, Deadline::never()) && p.server->claim_idle(), "claimed");
    expect(p.server->go_idle(kWaker, &waker, Deadline::in(1ms)) && woken(waker.late, 1), "its deadline");

    // Half of a record is nothing to read; the other half makes it something.
    std::string record;
    {
      expect(!write_whole(*p.client, "split"), "write");
      // Taken from the server's socket before it, and given back in two pieces by the client's.
      std::string raw(100, ' ');
      const auto got = p.server->socket().read_some(bytes(raw), Deadline::in(60s));
      expect(got.has_value(), "raw");
      record.assign(raw, 0, got ? *got : 0);
    }
    p.server->socket().note_readable();
    n = p.server->try_read(bytes(buffer));
    expect(!n, "nothing");
    expect(p.client->socket().write_some(bytes(std::string_view(record).substr(0, 9))).has_value(), "the first half");
    p.server->note_readable();
    for (int i = 0; i < 2; ++i) {
      n = p.server->try_read(bytes(buffer));
      expect(!n && n.error() == std::errc::operation_would_block && p.server->drained(), "half a record");
    }
    expect(!p.server->bytes_waiting(), "is no bytes");
    // The edge of its coming may still be told.
    while (!p.server->go_idle(kWaker, &waker, Deadline::never())) runtime::yield();
    const int before = waker.ready.load();
    expect(p.client->socket().write_some(bytes(std::string_view(record).substr(9))).has_value(), "the second half");
    expect(woken(waker.ready, before + 1), "wakes it");
    p.server->note_readable();
    n = p.server->try_read(bytes(buffer));
    expect(n && *n == 5, "whole");

    // close_notify and FIN wake it, and are no bytes.
    expect(p.server->go_idle(kWaker, &waker, Deadline::never()), "idle");
    p.client->close();
    expect(woken(waker.ready, before + 2), "the end wakes it");
    expect(!p.server->bytes_waiting(), "and is no bytes");
    expect(!p.server->go_idle(kWaker, &waker, Deadline::never()), "nothing more will come");
    n = p.server->try_read(bytes(buffer));
    expect(n && *n == 0, "the end");
  });
}

TEST_CASE("parts leave as one record; a file is read and sent", "[tls][stream]") {
  on_fibers([](Expectations& expect) {
    TlsPair p;
    std::string head = "head";
    std::string body = pattern(9'000);
    const std::array<iovec, 4> parts{{{nullptr, 0}, {head.data(), head.size()}, {nullptr, 0}, {body.data(), 9'000}}};
    auto n = p.server->writev_some(parts);
    expect(n && *n == 9'004, "all");
    std::string raw(20'000, ' ');
    // Behind the tickets of the handshake, which the client has not read.
    std::size_t size = 0;
    for (int i = 0; i < 100 && size < 9'000; ++i) {
      const auto got = p.client->socket().read_some(bytes(raw).subspan(size), Deadline::in(60s));
      if (!expect(got.has_value(), "raw")) return;
      size += *got;
    }
    std::vector<std::size_t> records;
    for (std::size_t at = 0; at + 5 <= size;) {
      records.push_back(static_cast<unsigned char>(raw[at + 3]) * 256U + static_cast<unsigned char>(raw[at + 4]));
      at += 5 + records.back();
    }
    expect(!records.empty() && records.back() > 9'004 && records.back() < 9'040, "one record for both");

    // Records that follow each other are one call's: 64 KiB of them at most.
    TlsPair q;
    const std::string four = pattern(80'000);
    const auto taken = q.server->try_write(std::as_bytes(std::span(four)));
    expect(taken && *taken > 16'384 && *taken <= 65'536, "several records at once");
    std::FILE* const file = std::tmpfile();
    const std::string content = pattern(150'000);
    expect(std::fwrite(content.data(), 1, content.size(), file) == content.size() && std::fflush(file) == 0, "file");
    Latch done(1);
    (void)runtime::spawn("sender", [&] {
      std::uint64_t offset = 100;
      for (;;) {
        const auto sent = q.server->sendfile_some(::fileno(file), offset, 1 << 20, Deadline::in(60s));
        if (!expect(sent.has_value(), "sendfile_some") || *sent == 0) break;
        offset += *sent;
      }
      expect(q.server->take_leave(Deadline::in(60s)).has_value(), "close_notify");
      (void)q.server->shutdown_write();
      done.done();
    });
    const auto got = read_to_end(*q.client);
    expect(got && *got == four.substr(0, *taken) + content.substr(100), "the file from there on");
    expect(done.wait(), "the sender");
    const auto closed = q.server->sendfile_some(-1, 0, 10);
    expect(!closed && closed.error() == std::errc::bad_file_descriptor, "no file");
    (void)std::fclose(file);
  });
}
