#include "core/tls/server_context.hpp"

#include <openssl/ssl.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "core/tls/certificate_loader.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/tls_handshake.hpp"

using namespace fiberd;
using Catch::Matchers::Contains;

namespace {

const test::TestAuthority& root() {
  static const test::TestAuthority one;
  return one;
}

std::shared_ptr<const tls::Certificate> certified(const test::CertificateWishes& wishes, bool stapled = false) {
  const test::MadePair pair = root().issue(wishes);
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto made = loader.parse({"a.pem", "a.key", stapled ? "a.ocsp" : ""}, pair.certificate, pair.key,
                           stapled ? root().vouch(pair.certificate) : "", std::time(nullptr), why);
  if (!made) throw std::runtime_error(why.text);
  return *made;
}

std::shared_ptr<const tls::ServerContext> context_of(tls::ServerOptions options) {
  std::string why;
  auto made = tls::ServerContext::make(std::move(options), why);
  if (!made) throw std::runtime_error(why);
  return *made;
}

test::TlsOutcome meet(const tls::ServerContext& context, const test::TlsWishes& wishes) {
  const tls::SslHandle session = context.new_session();
  REQUIRE(session != nullptr);
  return test::shake_hands(*session, wishes);
}

std::shared_ptr<const tls::ClientAuth> asked_for(const std::string& ca, const std::string& crl,
                                                 tls::ClientAuthMode mode) {
  const test::TemporaryDirectory files;
  std::string why;
  bool of_crl = false;
  auto made = tls::ClientAuth::load({files.write("ca.pem", ca), crl.empty() ? "" : files.write("crl.pem", crl)}, mode,
                                    why, of_crl);
  if (!made) throw std::runtime_error(why);
  return *made;
}

}  // namespace

TEST_CASE("a profile says versions and ciphers", "[tls][context]") {
  const auto both = certified({.names = {"a.example.org"}});
  const auto intermediate = context_of({.certificates = {both}});
  const auto modern = context_of({.profile = tls::Profile::modern, .certificates = {both}});
  CHECK(meet(*intermediate, {}).version == "TLSv1.3");
  CHECK(meet(*intermediate, {.most = 0x0303}).version == "TLSv1.2");
  CHECK(meet(*modern, {}).version == "TLSv1.3");
  CHECK_THAT(meet(*modern, {.most = 0x0303}).server_error, Contains("unsupported protocol"));
  CHECK_THAT(meet(*intermediate, {.least = 0x0301, .most = 0x0302}).server_error, Contains("unsupported protocol"));
  CHECK_THAT(meet(*intermediate, {.most = 0x0303, .ciphers = "ECDHE-ECDSA-AES128-SHA"}).server_error,
             Contains("no shared cipher"));
  CHECK(meet(*intermediate, {.most = 0x0303, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"}).done);
}

TEST_CASE("a client is shown the certificate of the name that it asks for", "[tls][context]") {
  const auto context =
      context_of({.certificates = {certified({.names = {"first.example.org"}}), certified({.names = {"a.example.org"}}),
                                   certified({.names = {"*.example.org"}})}});
  const auto shown = [&](const std::string& name) { return meet(*context, {.server_name = name}).names; };
  CHECK(shown("a.example.org") == "a.example.org");
  CHECK(shown("A.Example.Org") == "a.example.org");
  CHECK(shown("b.example.org") == "*.example.org");
  CHECK(shown("first.example.org") == "first.example.org");
  CHECK(shown("elsewhere.org") == "first.example.org");
  CHECK(shown("") == "first.example.org");
  CHECK(meet(*context, {.server_name = "a.example.org", .most = 0x0303}).names == "a.example.org");
}

TEST_CASE("of several kinds of keys the client's offer decides", "[tls][context]") {
  const auto rsa = certified({.names = {"a.example.org"}, .key = test::TestKey::rsa});
  const auto ecdsa = certified({.names = {"a.example.org"}});
  const auto other = certified({.names = {"b.example.org"}});
  // As the first certificate's, and as one that a name is looked up for.
  for (const auto& list : {tls::CertificateTable::List{ecdsa, rsa}, {rsa, ecdsa}, {other, rsa, ecdsa}}) {
    const auto context = context_of({.certificates = list});
    const auto key = [&](const std::string& signatures, int most) {
      return meet(*context, {.server_name = "a.example.org", .most = most, .signatures = signatures}).key;
    };
    CHECK(key("ECDSA+SHA256:RSA-PSS+SHA256", 0x0304) == "EC");
    CHECK(key("RSA-PSS+SHA256", 0x0304) == "RSA");
    CHECK(key("ECDSA+SHA256", 0x0304) == "EC");
    CHECK(key("RSA-PSS+SHA256", 0x0303) == "RSA");
  }
}

TEST_CASE("strict SNI refuses who asks for no name or another", "[tls][context]") {
  const auto context = context_of({.certificates = {certified({.names = {"a.example.org"}})}, .strict_sni = true});
  for (const int most : {0x0303, 0x0304}) {
    CHECK(meet(*context, {.server_name = "a.example.org", .most = most}).done);
    for (const char* name : {"", "b.example.org"}) {
      const test::TlsOutcome out = meet(*context, {.server_name = name, .most = most});
      CHECK_FALSE(out.done);
      CHECK_THAT(out.client_error, Contains("unrecognized name"));
    }
  }
}

TEST_CASE("hostile server names are refused or mean nothing", "[tls][context]") {
  for (const bool strict : {false, true}) {
    const auto context =
        context_of({.certificates = {certified({.names = {"a.example.org"}}), certified({.names = {"*.example.org"}})},
                    .strict_sni = strict});
    const auto verdict = [&](const std::string& name) {
      const tls::SslHandle session = context->new_session();
      return test::why_refused(*session, test::client_hello(name));
    };
    CHECK(verdict("a.example.org") == "");
    for (const std::string& bad : {std::string("a\0.example.org", 14), std::string(300, 'a')}) {
      INFO(bad.size());
      CHECK_THAT(verdict(bad), !Catch::Equals(""));
    }
    CHECK((verdict(std::string(255, 'a')) == "") == !strict);
    CHECK((verdict("") == "") == !strict);
    CHECK((verdict("\xff\xfe\r\n") == "") == !strict);
  }
}

TEST_CASE("ALPN: the server's order, and no protocol in common ends it", "[tls][context]") {
  const auto certificate = certified({.names = {"a.example.org"}});
  const auto both = context_of({.certificates = {certificate}, .alpn = {"h2", "http/1.1"}});
  CHECK(meet(*both, {.alpn = {"http/1.1", "h2"}}).alpn == "h2");
  CHECK(meet(*both, {.alpn = {"http/1.1"}}).alpn == "http/1.1");
  CHECK(meet(*both, {}).alpn == "");
  CHECK_THAT(meet(*both, {.alpn = {"smtp"}}).client_error, Contains("no application protocol"));
  const auto none = context_of({.certificates = {certificate}});
  CHECK(meet(*none, {.alpn = {"smtp"}}).done);
}

TEST_CASE("an OCSP response is stapled for who asks, of the certificate that is shown", "[tls][context]") {
  const auto plain = certified({.names = {"plain.example.org"}});
  const auto stapled = certified({.names = {"a.example.org"}}, true);
  const auto context = context_of({.certificates = {plain, stapled}});
  const auto status = [&](const std::string& name, bool asks, int most) {
    return meet(*context, {.server_name = name, .most = most, .status = asks}).status;
  };
  for (const int most : {0x0303, 0x0304}) {
    CHECK(status("a.example.org", true, most).size() == stapled->staple(0).size());
    CHECK(status("a.example.org", false, most) == "");
    CHECK(status("plain.example.org", true, most) == "");
  }
}

TEST_CASE("a session is resumed by its ticket, by who has the key", "[tls][context][tickets]") {
  const auto certificate = certified({.names = {"a.example.org"}});
  const test::TemporaryDirectory files;
  const std::string first = files.write("1", std::string(80, '1'));
  const std::string second = files.write("2", std::string(80, '2'));
  std::string why;
  const auto made = [&](const std::shared_ptr<tls::TicketKeys>& keys) {
    return context_of({.certificates = {certificate}, .tickets = keys});
  };
  for (const int most : {0x0303, 0x0304}) {
    const test::TlsWishes wishes{.server_name = "a.example.org", .most = most};
    const auto resumes = [&](const tls::ServerContext& from, const tls::ServerContext& at) {
      const test::TlsOutcome begun = meet(from, wishes);
      REQUIRE(begun.session != nullptr);
      CHECK_FALSE(begun.resumed);
      test::TlsWishes again = wishes;
      again.session = begun.session.get();
      const test::TlsOutcome out = meet(at, again);
      CHECK(out.done);
      return out.resumed;
    };
    const auto own = tls::TicketKeys::random().value();
    CHECK(resumes(*made(own), *made(own)));  // another context, as a swap of certificates makes one
    CHECK_FALSE(resumes(*made(own), *made(tls::TicketKeys::random().value())));
    // Two machines with the same files, also while one of them has a newer one.
    CHECK(resumes(*made(tls::TicketKeys::read({first}, why).value()),
                  *made(tls::TicketKeys::read({first}, why).value())));
    CHECK(resumes(*made(tls::TicketKeys::read({first}, why).value()),
                  *made(tls::TicketKeys::read({second, first}, why).value())));
    CHECK_FALSE(resumes(*made(tls::TicketKeys::read({first}, why).value()),
                        *made(tls::TicketKeys::read({second}, why).value())));
    // Rotation: the two keys before still open.
    const auto context = made(own);
    const test::TlsOutcome begun = meet(*context, wishes);
    test::TlsWishes again = wishes;
    again.session = begun.session.get();
    for (int turn = 0; turn < 2; ++turn) {
      own->rotate();
      CHECK(meet(*context, again).resumed);
    }
    own->rotate();
    CHECK_FALSE(meet(*context, again).resumed);
  }
}

TEST_CASE("with TLS 1.3 who resumes a session is given a ticket for the next time", "[tls][context][tickets]") {
  const auto context = context_of(
      {.certificates = {certified({.names = {"a.example.org"}})}, .tickets = tls::TicketKeys::random().value()});
  test::TlsOutcome last = meet(*context, {.most = 0x0304});
  for (int turn = 0; turn < 4; ++turn) {
    REQUIRE(last.session != nullptr);
    last = meet(*context, {.most = 0x0304, .session = last.session.get()});
    CHECK(last.resumed);
  }
}

TEST_CASE("without ticket keys no session is resumed", "[tls][context][tickets]") {
  const auto context = context_of({.certificates = {certified({.names = {"a.example.org"}})}});
  for (const int most : {0x0303, 0x0304}) {
    const test::TlsOutcome begun = meet(*context, {.most = most});
    CHECK(begun.done);
    if (begun.session == nullptr) continue;
    CHECK_FALSE(meet(*context, {.most = most, .session = begun.session.get()}).resumed);
  }
}

TEST_CASE("early data is refused, and what follows it is not", "[tls][context]") {
  const auto certificate = certified({.names = {"a.example.org"}});
  const auto keys = tls::TicketKeys::random().value();
  const auto open = context_of({.certificates = {certificate}, .tickets = keys, .early_data = 1024});
  const auto closed = context_of({.certificates = {certificate}, .tickets = keys});
  const test::TlsOutcome begun = meet(*open, {});  // a ticket that says that early data is welcome
  REQUIRE(begun.session != nullptr);
  const test::TlsOutcome out = meet(*closed, {.session = begun.session.get(), .early = "GET / HTTP/1.1"});
  CHECK(out.done);
  CHECK(out.resumed);
  CHECK_FALSE(out.early_accepted);
}

TEST_CASE("a client that renegotiates is told no", "[tls][context]") {
  const auto context = context_of({.certificates = {certified({.names = {"a.example.org"}})}});
  const test::TlsOutcome out = meet(*context, {.most = 0x0303, .renegotiate = true});
  CHECK(out.done);
  CHECK_THAT(out.client_error, Contains("no renegotiation"));
}

TEST_CASE("mTLS: whom the issuer vouches for is let in", "[tls][context][mtls]") {
  const test::TestAuthority clients("clients");
  const test::TestAuthority others("others");
  const test::MadePair good = clients.issue({.names = {"alice"}});
  const test::MadePair revoked = clients.issue({.names = {"mallory"}});
  const test::MadePair foreign = others.issue({.names = {"eve"}});
  const test::MadePair ended = clients.issue({.names = {"old"}, .from = -7200, .until = -3600});
  const auto certificate = certified({.names = {"a.example.org"}});
  const auto served = [&](const std::shared_ptr<const tls::ClientAuth>& auth, const test::MadePair& client, int most) {
    const auto context = context_of({.certificates = {certificate}, .client_auth = auth});
    const test::TlsOutcome out = meet(*context, {.most = most, .certificate = client.certificate, .key = client.key});
    return out.server_error.empty();
  };
  using Mode = tls::ClientAuthMode;
  for (const int most : {0x0303, 0x0304}) {
    const auto require = asked_for(clients.certificate(), "", Mode::require);
    CHECK(served(require, good, most));
    CHECK_FALSE(served(require, {}, most));
    CHECK_FALSE(served(require, foreign, most));
    CHECK_FALSE(served(require, ended, most));
    CHECK(served(require, revoked, most));
    const auto request = asked_for(clients.certificate(), "", Mode::request);
    CHECK(served(request, good, most));
    CHECK(served(request, {}, most));
    CHECK_FALSE(served(request, foreign, most));
    const auto listed = asked_for(clients.certificate(), clients.revoke({revoked.certificate}), Mode::require);
    CHECK(served(listed, good, most));
    CHECK_FALSE(served(listed, revoked, most));
    // A list that is over says nothing of who has been revoked since.
    const auto over = asked_for(clients.certificate(), clients.revoke({}, -30), Mode::require);
    CHECK_FALSE(served(over, good, most));
    CHECK(over->crl_until() < std::time(nullptr));
  }
}

TEST_CASE("what was proved to one issuer is not resumed under another", "[tls][context][mtls][tickets]") {
  const test::TestAuthority clients("clients");
  const test::MadePair good = clients.issue({.names = {"alice"}});
  const auto certificate = certified({.names = {"a.example.org"}});
  const auto keys = tls::TicketKeys::random().value();
  const auto made = [&](const std::string& ca, const std::string& crl) {
    return context_of({.certificates = {certificate},
                       .client_auth = asked_for(ca, crl, tls::ClientAuthMode::require),
                       .tickets = keys});
  };
  const auto before = made(clients.certificate(), "");
  const auto revoking = made(clients.certificate(), clients.revoke({good.certificate}));
  const auto other = made(test::TestAuthority("others").certificate(), "");
  for (const int most : {0x0303, 0x0304}) {
    const test::TlsWishes wishes{.most = most, .certificate = good.certificate, .key = good.key};
    const test::TlsOutcome begun = meet(*before, wishes);
    REQUIRE(begun.session != nullptr);
    test::TlsWishes again = wishes;
    again.session = begun.session.get();
    CHECK(meet(*before, again).resumed);
    for (const auto& context : {revoking, other}) {
      const test::TlsOutcome out = meet(*context, again);
      CHECK_FALSE(out.server_error.empty());
    }
  }
}

TEST_CASE("mTLS: who resumes a session is let in no longer than what it was begun with is good",
          "[tls][context][mtls][tickets]") {
  const test::TestAuthority clients("clients");
  const auto certificate = certified({.names = {"a.example.org"}});
  const auto keys = tls::TicketKeys::random().value();
  struct Row {
    int most;
    bool revokes;  // what ends is the list of revoked certificates, and not the client's own
    test::MadePair client{};
    std::shared_ptr<const tls::ServerContext> context{};
    test::TlsOutcome begun{};
    std::int64_t noted = 0;
  };
  // When the certificate's proof was noted to be.
  const auto meet_again = [](const Row& row, ssl_session_st* session, std::int64_t& noted) {
    const tls::SslHandle server = row.context->new_session();
    test::TlsOutcome out = test::shake_hands(
        *server, {.most = row.most, .certificate = row.client.certificate, .key = row.client.key, .session = session});
    void* note = nullptr;
    std::size_t size = 0;
    if (SSL_SESSION_get0_ticket_appdata(SSL_get_session(server.get()), &note, &size) == 1 && size == sizeof noted)
      std::memcpy(&noted, note, size);
    return out;
  };
  // Where a handshake takes longer than what it was begun with is good, more of it is given.
  for (std::int64_t life = 2;; life *= 2) {
    REQUIRE(life < 600);
    std::vector<Row> rows;
    for (const int most : {0x0303, 0x0304})
      for (const bool revokes : {false, true}) rows.push_back({most, revokes});
    bool in_time = true;
    for (Row& row : rows) {
      row.client = clients.issue({.names = {"alice"}, .until = row.revokes ? 86'400 : life});
      row.context = context_of(
          {.certificates = {certificate},
           .client_auth = asked_for(clients.certificate(), row.revokes ? clients.revoke({}, life) : std::string(),
                                    tls::ClientAuthMode::require),
           .tickets = keys});
      row.begun = meet_again(row, nullptr, row.noted);
      in_time = in_time && row.begun.session != nullptr;
    }
    const std::int64_t end = std::time(nullptr) + life;
    if (!in_time) continue;
    const std::int64_t other_second = std::time(nullptr) + 1;
    while (std::time(nullptr) < other_second) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    keys->rotate();  // who resumes by an older one is given a new ticket
    for (Row& row : rows) {
      std::int64_t noted = 0;
      test::TlsOutcome again = meet_again(row, row.begun.session.get(), noted);
      in_time = in_time && again.resumed;
      if (again.resumed && row.most == 0x0304) {
        CHECK(noted == row.noted);  // and not when it was resumed
        row.begun.session = std::move(again.session);
        in_time = in_time && row.begun.session != nullptr;
      }
    }
    if (!in_time) continue;
    while (std::time(nullptr) <= end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (const Row& row : rows) {
      INFO(row.most << (row.revokes ? ": the list" : ": the certificate"));
      std::int64_t noted = 0;
      const test::TlsOutcome late = meet_again(row, row.begun.session.get(), noted);
      CHECK_FALSE(late.resumed);
      CHECK_FALSE(late.server_error.empty());
    }
    break;
  }
}

TEST_CASE("what is wrong with the files of mTLS is named", "[tls][mtls]") {
  const test::TestAuthority clients("clients");
  const test::TemporaryDirectory files;
  const std::string ca = files.write("ca.pem", clients.certificate());
  const auto why = [&](const std::string& ca_file, const std::string& crl_file) {
    std::string text;
    bool of_crl = false;
    const auto made = tls::ClientAuth::load({ca_file, crl_file}, tls::ClientAuthMode::require, text, of_crl);
    CHECK(!made);
    CHECK(of_crl == !crl_file.empty());
    return text;
  };
  CHECK_THAT(why(files.path() + "/none", ""), Contains("/none: "));
  CHECK_THAT(why(files.write("empty.pem", ""), ""), Contains("has no certificate in PEM"));
  CHECK_THAT(why(files.write("cut.pem", clients.certificate().substr(0, 200)), ""), Contains("is damaged"));
  CHECK_THAT(why(ca, files.write("empty.crl", "")), Contains("has no list of revoked certificates"));
  CHECK_THAT(why(ca, files.path() + "/none.crl"), Contains("/none.crl: "));
}

TEST_CASE("a context outlives nobody who needs it", "[tls][context]") {
  auto context = context_of(
      {.certificates = {certified({.names = {"first.example.org"}}), certified({.names = {"a.example.org"}})},
       .alpn = {"http/1.1"},
       .tickets = tls::TicketKeys::random().value()});
  const tls::SslHandle session = context->new_session();
  std::string why;
  const auto next = context->with_certificates({certified({.names = {"b.example.org"}})}, why).value();
  context.reset();
  CHECK(test::shake_hands(*session, {.server_name = "a.example.org", .alpn = {"http/1.1"}}).names == "a.example.org");
  CHECK(meet(*next, {.server_name = "a.example.org", .alpn = {"http/1.1"}}).names == "b.example.org");
  CHECK(!tls::ServerContext::make(tls::ServerOptions{}, why));
  CHECK(why == "there is no certificate");
}
