// Records made by the kernel, over TCP. Where it has no module "tls" the same has to hold without.
#include "core/tls/kernel_tls.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "tests/support/daemon.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

/// Two ends of one connection over the loopback.
struct LoopbackPair {
  LoopbackPair() {
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof to;
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool made = ::bind(listening, reinterpret_cast<sockaddr*>(&to), size) == 0 && ::listen(listening, 1) == 0 &&
                      ::getsockname(listening, reinterpret_cast<sockaddr*>(&to), &size) == 0 &&
                      ::connect(client, reinterpret_cast<sockaddr*>(&to), size) == 0;
    if (!made) throw std::runtime_error("no connection over the loopback");
    (void)::fcntl(client, F_SETFL, O_NONBLOCK);
    a = *net::TcpStream::adopt(::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    b = *net::TcpStream::adopt(client);
    ::close(listening);
  }
  net::TcpStream a;
  net::TcpStream b;
};

std::shared_ptr<const tls::ServerContext> kernel_context(bool early = false) {
  tls::CertificateLoader loader;
  tls::CertificateFlaw flaw;
  const auto certificate = *loader.parse({"c", "k"}, test::kTestCertificate, test::kTestKey, {}, ::time(nullptr), flaw);
  std::string why;
  return *tls::ServerContext::make({.certificates = {certificate},
                                    .tickets = *tls::TicketKeys::random(),
                                    .early_data = early ? 1024U : 0U,
                                    .kernel = true},
                                   why);
}

}  // namespace

TEST_CASE("kernel TLS: what it has is asked once, and told", "[tls][ktls]") {
  CHECK(tls::kernel_has_tls() == tls::why_no_kernel_tls().empty());
  const std::string listed = test::read_file("/proc/sys/net/ipv4/tcp_available_ulp");
  CHECK(tls::kernel_has_tls() == ((" " + listed).find(" tls") != std::string::npos));
  // What OpenSSL could hand over and the kernel does not know.
  const unsigned short strange[40] = {0x0304, 4711};
  CHECK_FALSE(tls::give_keys_to_kernel(-1, strange));
  WARN((tls::kernel_has_tls() ? "the kernel makes records" : tls::why_no_kernel_tls()));
}

TEST_CASE("kernel TLS: bytes, parts, files and the end are what they are without", "[tls][ktls][stream]") {
  const std::string sent = pattern(300'000);
  const test::TemporaryDirectory files;
  const std::string path = files.write("file", sent);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const char* cipher : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
      Expectations expect;
      start(2)->run([&] {
        Contexts contexts;
        contexts.server = kernel_context();
        LoopbackPair pair;
        TlsStream server = server_over(contexts, std::move(pair.a));
        TlsStream client = client_over(contexts, std::move(pair.b));
        (void)SSL_set_max_proto_version(client->session(), version);
        (void)SSL_set_ciphersuites(client->session(), cipher);
        const TlsPair p(std::move(server), std::move(client));
        expect(!p.of_server && !p.of_client, "shaken");
        expect(p.server->kernel_sends() == tls::kernel_has_tls(), "the kernel, where it can");
        expect(!p.client->kernel_sends(), "of servers alone");
        Latch done(1);
        std::string got;
        (void)runtime::spawn("client", [&] {
          expect(!write_whole(*p.client, sent), "the client's are read as ever");
          got = read_to_end(*p.client).value_or("no end");
          done.done();
        });
        expect(read_exactly(*p.server, sent.size()).value_or("") == sent, "read");
        expect(!write_whole(*p.server, sent), "written");
        std::string_view rest = sent;
        while (!rest.empty()) {
          const std::size_t half = std::min<std::size_t>(rest.size(), 40'000) / 2;
          const iovec parts[3] = {{const_cast<char*>(rest.data()), half},
                                  {nullptr, 0},
                                  {const_cast<char*>(rest.data() + half), rest.size() - half}};
          const auto n = p.server->writev_some(parts, Deadline::in(60s));
          expect(n.has_value(), "parts");
          if (!n) break;
          rest.remove_prefix(*n);
        }
        std::FILE* const file = std::fopen(path.c_str(), "rb");
        for (std::size_t at = 0; at < sent.size();) {
          const auto n = p.server->sendfile_some(::fileno(file), at, sent.size() - at, Deadline::in(60s));
          expect(n && *n != 0, "a file");
          if (!n || *n == 0) break;
          at += *n;
        }
        std::fclose(file);
        expect(p.server->take_leave(Deadline::in(60s)).has_value(), "close_notify");
        expect(p.server->shutdown_write().has_value(), "FIN");
        expect(!p.server->write_some(bytes(sent), Deadline::in(60s)).has_value(), "nothing behind it");
        while (!done.wait()) {
        }
        expect(got == sent + sent + sent, "all of it, and an orderly end");
        // Its tickets are good.
        expect(SSL_SESSION_is_resumable(SSL_get0_session(p.client->session())) == 1, "a ticket");
      });
      INFO(version << " " << cipher << "\n" << expect.broken());
      CHECK(expect.broken().empty());
    }
  }
}

TEST_CASE("kernel TLS: a client that asks for new keys is let go, and beside early data there is none",
          "[tls][ktls][stream]") {
  Expectations expect;
  start(2)->run([&] {
    for (const bool early : {false, true}) {
      Contexts contexts;
      contexts.server = kernel_context(early);
      LoopbackPair pair;
      TlsStream server = server_over(contexts, std::move(pair.a));
      TlsStream client = client_over(contexts, std::move(pair.b));
      const TlsPair p(std::move(server), std::move(client));
      expect(p.server->kernel_sends() == (tls::kernel_has_tls() && !early), "who encrypts");
      (void)SSL_key_update(p.client->session(), SSL_KEY_UPDATE_REQUESTED);
      expect(!write_whole(*p.client, "hello"), "asked");
      std::string got(5, ' ');
      const auto n = p.server->read_some(bytes(got), Deadline::in(60s));
      if (!p.server->kernel_sends()) {
        expect(n && !write_whole(*p.server, "world") && read_exactly(*p.client, 5).value_or("") == "world", "new keys");
      } else {
        expect(n && *n == 5, "read");
        expect(!p.server->write_some(bytes(got), Deadline::in(60s)), "but not answered with the old ones");
      }
    }
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}
