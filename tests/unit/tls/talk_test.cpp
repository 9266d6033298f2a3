// Peers that keep TLS busy with itself.
#include <openssl/ssl.h>

#include <atomic>

#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

template <class Body>
void talk(Body body) {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    start(processors)->run([&] { body(expect); });
    INFO(processors << " Processors\n" << expect.broken());
    CHECK(expect.broken().empty());
  }
}

}  // namespace

TEST_CASE("who talks and says nothing is not listened to for ever", "[tls][stream]") {
  talk([](Expectations& expect) {
    TlsPair p;
    std::atomic<bool> over{false};
    Latch done(1);
    Result<std::size_t> read = std::size_t{0};
    (void)runtime::spawn("reader", [&] {
      std::string buffer(10, ' ');
      read = p.server->read_some(bytes(buffer), Deadline::in(60s));
      over.store(true);
      done.done();
    });
    // A new key, and another one: each is answered by nothing, and costs more to take than to send.
    SSL* const ssl = p.client->session();
    for (int i = 0; i < 5'000 && !over.load(); ++i) {
      if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) break;
      for (int tries = 0; SSL_do_handshake(ssl) != 1 && tries < 10'000 && !over.load(); ++tries)
        (void)runtime::sleep_for(1ms);
    }
    (void)p.client->socket().shutdown_write();
    while (!done.wait()) {
    }
    expect(!read && read.error() == tls::errc::malformed, read ? "bytes" : read.error().message());
  });
  // As many in between of what is read do no harm.
  talk([](Expectations& expect) {
    TlsPair p;
    SSL* const ssl = p.client->session();
    for (int i = 0; i < 100; ++i) {
      for (int k = 0; k < 50; ++k)
        expect(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1, "a new key");
      expect(!write_whole(*p.client, "x"), "write");
      const auto n = read_exactly(*p.server, 1);
      if (!expect(n && *n == "x", "read")) return;
    }
  });
}
