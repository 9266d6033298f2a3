// What a client's first messages may make a server do: how large they are, and what signing for them holds up.
#include <openssl/ssl.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/hello_watch.hpp"
#include "tests/support/certificates.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

std::string tls_record(unsigned type, std::string_view payload) {
  std::string text{static_cast<char>(type), '\x03', '\x03'};
  text += static_cast<char>(payload.size() >> 8U);
  text += static_cast<char>(payload.size() & 255U);
  return text + std::string(payload);
}

/// The head of a hello that announces so many bytes, and the first of them.
std::string announced_hello(std::size_t announced, std::size_t there) {
  std::string text{'\x01', static_cast<char>(announced >> 16U), static_cast<char>((announced >> 8U) & 255U),
                   static_cast<char>(announced & 255U)};
  return text + std::string(there, 'h');
}

void run_on_fiber(fiberd::UniqueFunction body) { start(2)->run(std::move(body)); }

/// Whether it passes, in pieces of `step` bytes.
bool hello_passes(std::string_view bytes, std::size_t step, bool may_be_hello = true) {
  tls::HelloWatch watch;
  while (!bytes.empty()) {
    if (!watch.see(bytes.substr(0, step), may_be_hello)) return false;
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return true;
}

}  // namespace

TEST_CASE("hellos of 16 KiB pass, in one record or several; none that announces more, the first or the second",
          "[tls][hello]") {
  const std::string whole = tls_record(22, announced_hello(500, 500));
  const std::string parted = tls_record(22, announced_hello(16'384, 10'000)) + tls_record(22, std::string(6'384, 'h'));
  // In the middle of one that goes on: bytes that look like the head of a large one.
  const std::string odd =
      tls_record(22, announced_hello(16'384, 10'000)) + tls_record(22, "\x01\x01" + std::string(6'382, 'h'));
  const std::string large = tls_record(22, announced_hello(16'385, 20));
  const std::string huge = tls_record(22, announced_hello(65'536, 20));
  const std::string change = tls_record(20, "\x01");
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{7}, std::size_t{1'000}, SIZE_MAX / 2}) {
    INFO(step);
    CHECK(hello_passes(whole, step));
    CHECK(hello_passes(parted + whole, step));
    CHECK(hello_passes(odd + change + whole, step));
    CHECK(hello_passes(whole + change + tls_record(23, announced_hello(65'536, 20)), step));
    CHECK_FALSE(hello_passes(large, step));
    CHECK_FALSE(hello_passes(whole + huge, step));
    CHECK_FALSE(hello_passes(whole + change + huge, step));
    CHECK_FALSE(hello_passes(parted + change + large, step));
    CHECK_FALSE(hello_passes(whole + change + tls_record(22, "\x01"), step));
    // What is no hello any more may look like anything.
    CHECK(hello_passes(huge + tls_record(22, "\x01"), step, false));
  }
}

TEST_CASE("a second hello is bounded as the first is", "[tls][hello]") {
  std::error_code of_large;
  std::error_code of_awaited;
  run_on_fiber([&] {
    for (const bool large : {true, false}) {
      const Contexts contexts;
      Pair pair;
      TlsStream server = server_over(contexts, std::move(pair.a));
      // Its key is on a curve that the server does not have: it is asked for another. A client of OpenSSL's makes the
      // first hello, in memory.
      const tls::SslHandle client = contexts.client->new_session("localhost");
      (void)SSL_set1_groups_list(client.get(), "P-521:P-256");
      BIO* const out = BIO_new(BIO_s_mem());
      SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), out);
      (void)SSL_do_handshake(client.get());
      char* text = nullptr;
      const long size = BIO_get_mem_data(out, &text);
      (void)pair.b.write_all(bytes(std::string_view(text, static_cast<std::size_t>(size))));
      Latch done(1);
      std::error_code& ended = large ? of_large : of_awaited;
      (void)runtime::spawn("server", [&] {
        ended = error_of(server->handshake(Deadline::in(60s)));
        done.done();
      });
      std::string answer(4096, ' ');
      (void)pair.b.read_some(bytes(answer), Deadline::in(60s));  // HelloRetryRequest
      (void)pair.b.write_all(
          bytes(tls_record(20, "\x01") + tls_record(22, announced_hello(large ? 65'536 : 16'384, 100))));
      (void)pair.b.shutdown_write();
      while (!done.wait()) {
      }
    }
  });
  CHECK(of_large == tls::errc::hello_too_large);
  CHECK(of_awaited == tls::errc::ended);
}

TEST_CASE("a signature of RSA is made on the blocking pool, whichever certificate the hello leads to",
          "[tls][hello][stream]") {
  const test::TestAuthority authority;
  tls::CertificateLoader loader;
  tls::CertificateFlaw flaw;
  const auto certificate = [&](const std::string& name, test::TestKey key) {
    const test::MadePair made = authority.issue({.names = {name}, .key = key});
    return *loader.parse({"c", "k"}, made.certificate, made.key, {}, ::time(nullptr), flaw);
  };
  const tls::CertificateTable::List list{certificate("localhost", test::TestKey::ecdsa),
                                         certificate("localhost", test::TestKey::rsa),
                                         certificate("rsa.example", test::TestKey::rsa)};
  std::string why;
  const auto server = *tls::ServerContext::make({.certificates = list}, why);
  const auto client = *tls::ClientContext::make({.ca = authority.certificate()});
  std::string wrong;
  run_on_fiber([&] {
    const auto jobs = [] { return runtime::current_blocking_pool().stats().jobs; };
    const auto shake = [&](const std::string& name, const char* signatures, int version, bool aside) {
      Contexts contexts;
      contexts.server = server;
      contexts.client = client;
      Pair pair;
      TlsStream s = server_over(contexts, std::move(pair.a));
      TlsStream c = client_over(contexts, std::move(pair.b), name);
      (void)SSL_set1_sigalgs_list(c->session(), signatures);
      (void)SSL_set_max_proto_version(c->session(), version);
      const auto before = jobs();
      const TlsPair p(std::move(s), std::move(c));
      if (p.of_server || p.of_client || (jobs() != before) != aside)
        wrong += name + " " + signatures + " " + std::to_string(version) + " " + p.of_server.message() + " " +
                 p.of_client.message() + " " + std::to_string(jobs() - before) + "\n";
    };
    shake("localhost", "ECDSA+SHA256:RSA-PSS+SHA256", TLS1_3_VERSION, false);
    shake("localhost", "RSA-PSS+SHA256:ECDSA+SHA256", TLS1_3_VERSION, true);
    shake("localhost", "RSA-PSS+SHA256", TLS1_3_VERSION, true);
    shake("localhost", "RSA-PSS+SHA256", TLS1_2_VERSION, true);
    shake("rsa.example", "ECDSA+SHA256:RSA-PSS+SHA256", TLS1_3_VERSION, true);
    shake("rsa.example", "RSA-PSS+SHA256", TLS1_2_VERSION, true);
  });
  CHECK(wrong == "");
}
