// What a client keeps of a connection, for the next one.
#include <catch2/catch.hpp>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>

#include "core/tls/certificate_loader.hpp"
#include "tests/support/certificates.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;

namespace {

struct Met {
  std::error_code error;
  bool resumed = false;
};

Met meet_server(const Contexts& contexts) {
  Met met;
  start(2)->run([&] {
    TlsPair p(contexts);
    met.error = p.of_client;
    if (p.of_client || p.of_server) return;
    met.resumed = p.client->tls_peer()->resumed;
    (void)write_whole(*p.server, "x");
    (void)read_exactly(*p.client, 1);  // tickets come before it
  });
  return met;
}

}  // namespace

TEST_CASE("a server whose certificate has ended is not believed for the sake of an earlier connection",
          "[tls][stream][tickets]") {
  const test::TestAuthority root("root");
  // Where two handshakes take longer than the certificate lives, the next one lives longer.
  for (std::int64_t life = 2;; life *= 2) {
    REQUIRE(life < 600);
    const test::MadePair made = root.issue({.names = {"localhost"}, .until = life});
    const std::int64_t end = std::time(nullptr) + life;
    tls::CertificateLoader loader;
    tls::CertificateFlaw flaw;
    const auto certificate =
        loader.parse({"certificate", "key"}, made.certificate, made.key, {}, std::time(nullptr), flaw);
    if (!certificate) continue;
    std::string why;
    Contexts contexts;
    contexts.server =
        tls::ServerContext::make({.certificates = {*certificate}, .tickets = tls::TicketKeys::random().value()}, why)
            .value();
    contexts.client = tls::ClientContext::make({.ca = root.certificate()}).value();
    if (meet_server(contexts).error || !meet_server(contexts).resumed) continue;
    while (std::time(nullptr) <= end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Met late = meet_server(contexts);
    CHECK(late.error == tls::errc::certificate);
    CHECK_FALSE(late.resumed);
    break;
  }
}
