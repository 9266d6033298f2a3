#pragma once
// Two tls::Streams that speak to each other over a socket pair, or through somebody between them.
#include <memory>
#include <string>
#include <utility>

#include "core/tls/client_context.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/server_context.hpp"
#include "core/tls/stream.hpp"
#include "tests/support/test_certificates.hpp"
#include "tests/unit/net/support.hpp"

namespace tls_test {

using namespace net_test;

struct Contexts {
  explicit Contexts(fiberd::tls::ServerContextOptions s = {}, fiberd::tls::ClientContextOptions c = {}) {
    if (s.certificate.empty()) s.certificate = fiberd::test::kTestCertificate;
    if (s.key.empty()) s.key = fiberd::test::kTestKey;
    if (c.ca.empty()) c.ca = fiberd::test::kTestCa;
    server = *fiberd::tls::ServerContext::make(s);
    client = *fiberd::tls::ClientContext::make(c);
  }
  std::shared_ptr<const fiberd::tls::ServerContext> server;
  std::shared_ptr<const fiberd::tls::ClientContext> client;
};

using TlsStream = std::unique_ptr<fiberd::tls::Stream>;

inline TlsStream server_over(const Contexts& contexts, fiberd::net::TcpStream&& socket) {
  return std::move(*fiberd::tls::Stream::make(std::move(socket), contexts.server->new_session()));
}
inline TlsStream client_over(const Contexts& contexts, fiberd::net::TcpStream&& socket,
                             const std::string& name = "localhost") {
  return std::move(*fiberd::tls::Stream::make(std::move(socket), contexts.client->new_session(name)));
}

/// Shakes hands on both sides at once, on a fiber.
struct TlsPair {
  explicit TlsPair(const Contexts& contexts = Contexts(), const std::string& name = "localhost") {
    Pair pair;
    server = server_over(contexts, std::move(pair.a));
    client = client_over(contexts, std::move(pair.b), name);
    shake();
  }
  TlsPair(TlsStream s, TlsStream c) : server(std::move(s)), client(std::move(c)) { shake(); }
  void shake() {
    Latch done(1);
    (void)fiberd::runtime::spawn("server's handshake", [&] {
      of_server = fiberd::error_of(server->handshake(fiberd::Deadline::in(std::chrono::seconds(60))));
      done.done();
    });
    of_client = fiberd::error_of(client->handshake(fiberd::Deadline::in(std::chrono::seconds(60))));
    while (!done.wait()) {
    }
  }
  TlsStream server;
  TlsStream client;
  std::error_code of_server;
  std::error_code of_client;
};

inline fiberd::Result<std::string> read_to_end(fiberd::net::ByteStream& s) {
  std::string all;
  std::string buffer(5000, '\0');
  for (;;) {
    const auto n = s.read_some(bytes(buffer), fiberd::Deadline::in(std::chrono::seconds(60)));
    if (!n) return fiberd::fail(n.error());
    if (*n == 0) return all;
    all.append(buffer, 0, *n);
  }
}

inline std::error_code write_whole(fiberd::net::ByteStream& s, std::string_view data) {
  while (!data.empty()) {
    const auto n = s.write_some(bytes(data), fiberd::Deadline::in(std::chrono::seconds(60)));
    if (!n) return n.error();
    data.remove_prefix(*n);
  }
  return {};
}

inline fiberd::Result<std::string> read_exactly(fiberd::net::ByteStream& s, std::size_t size) {
  std::string all(size, '\0');
  for (std::size_t at = 0; at < size;) {
    const auto n = s.read_some(bytes(all).subspan(at), fiberd::Deadline::in(std::chrono::seconds(60)));
    if (!n) return fiberd::fail(n.error());
    if (*n == 0) return fiberd::fail(std::errc::connection_aborted);
    at += *n;
  }
  return all;
}

inline std::string pattern(std::size_t size, std::uint32_t x = 1) {
  std::string s(size, '\0');
  for (char& c : s) c = static_cast<char>((x = x * 1664525U + 1013904223U) >> 24U);
  return s;
}

}  // namespace tls_test
