// Authorities that are away, lie, or have had enough; and the manager, which must not make it worse.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <ctime>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "core/tls/certificate_facts.hpp"
#include "daemon/acme/manager.hpp"
#include "tests/support/acme_rig.hpp"
#include "tests/support/pebble.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace fiberd::daemon;
using namespace std::chrono_literals;

namespace {

acme::Outcome<acme::Issued> order_from(const std::string& directory, const std::string& replaces = {}) {
  ClientFixture fixture;
  acme::Outcome<acme::Issued> issued;
  fixture.run([&] {
    acme::Challenges board;
    acme::OwnProver prover(board, {.http = true, .tls_alpn = false, .dns_program = {}});
    acme::Authority authority(fixture.client(), directory, *tls::PrivateKey::make());
    const context::Context& ctx = context::background();
    const auto account = authority.enter(ctx, {}, "");
    issued = account ? acme::obtain(ctx, authority, {{"one.test"}, "", replaces}, prover, 5ms)
                     : acme::Outcome<acme::Issued>(acme::give_up(account.error()));
  });
  return issued;
}

}  // namespace

TEST_CASE("acme: what an authority does wrong is told apart", "[integration][acme]") {
  struct Row {
    std::string path;
    std::string answer;
    acme::Reason reason;
    std::string what;
  };
  const std::string nonce = "Replay-Nonce: abc\r\n";
  const std::string problem = R"({"type":"urn:ietf:params:acme:error:)";
  for (const Row& row : {
           Row{"dir", http_answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""), acme::Reason::nonsense,
               "redirects are not followed"},
           Row{"dir", http_answer("503 Unavailable", "", "later"), acme::Reason::busy, "answered 503"},
           Row{"dir", http_answer("200 OK", "", "<html>"), acme::Reason::nonsense, "is no ACME directory"},
           Row{"dir",
               http_answer("200 OK", "", R"({"newNonce":"https://a/","newAccount":"ftp://a/","newOrder":"/order"})"),
               acme::Reason::nonsense, "is no ACME directory"},
           Row{"dir", http_answer("200 OK", "", std::string(1'000'000, ' ')), acme::Reason::nonsense, "too large"},
           Row{"dir", "SSH-2.0-x\r\n\r\n", acme::Reason::nonsense, "not HTTP"},
           Row{"nonce", http_answer("200 OK", "", ""), acme::Reason::nonsense, "gave no nonce"},
           Row{"account", http_answer("429 Too Many", nonce, problem + R"(rateLimited","detail":"tomorrow"})"),
               acme::Reason::rate_limited, "rateLimited: tomorrow"},
           Row{"account", http_answer("201 Created", nonce, "{}"), acme::Reason::nonsense, "where the account is"},
           Row{"order", http_answer("201 Created", nonce + "Location: BASE/order-1\r\n", "[]"), acme::Reason::nonsense,
               "an order that is none"},
           Row{"order", http_answer("403 Forbidden", nonce, problem + R"(rejectedIdentifier","detail":"no\nway"})"),
               acme::Reason::refused, "rejectedIdentifier: no\\x0away"},
           Row{"finalize", http_answer("403 Forbidden", nonce, problem + R"(badCSR"})"), acme::Reason::refused,
               "badCSR"},
           Row{"certificate", http_answer("200 OK", nonce, kTestCertificate), acme::Reason::nonsense,
               "not the one asked for: it is for another key"},
           Row{"certificate", http_answer("200 OK", nonce, "garbage"), acme::Reason::nonsense, "it cannot be read"},
       }) {
    const FalseAuthority authority(FalseAuthority::with(row.path, row.answer));
    const auto issued = order_from(authority.directory());
    INFO(row.path << ": " << row.what);
    REQUIRE_FALSE(issued);
    INFO(issued.error().what);
    CHECK(issued.error().reason == row.reason);
    CHECK(issued.error().what.find(row.what) != std::string::npos);
  }
  const auto away = order_from("http://127.0.0.1:" + std::to_string(free_port()) + "/dir");
  REQUIRE_FALSE(away);
  CHECK(away.error().reason == acme::Reason::unreachable);
}

TEST_CASE("acme: a certificate that the authority does not want replaced is asked for all the same",
          "[integration][acme]") {
  const std::string nonce = "Replay-Nonce: abc\r\n";
  auto answers = FalseAuthority::with(
      "dir", http_answer("200 OK", "",
                         R"({"newNonce":"BASE/nonce","newAccount":"BASE/account","newOrder":"BASE/order",)"
                         R"("renewalInfo":"BASE/renewal"})"));
  answers["order#2"] = answers["order"];
  answers["order"] = http_answer("409 Conflict", nonce, R"({"type":"urn:ietf:params:acme:error:alreadyReplaced"})");
  {
    const FalseAuthority authority(answers);
    const auto issued = order_from(authority.directory(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    REQUIRE_FALSE(issued);
    // It has come as far as to the certificate.
    CHECK(issued.error().what.find("it is for another key") != std::string::npos);
  }
  const FalseAuthority authority(answers);
  const auto issued = order_from(authority.directory());  // replaces nothing: once is enough
  REQUIRE_FALSE(issued);
  CHECK(issued.error().problem == "alreadyReplaced");
}

TEST_CASE("acme: nothing is proved but the names that were asked for", "[integration][acme]") {
  const std::string nonce = "Replay-Nonce: abc\r\n";
  for (const std::string& name : {std::string("other.test"), std::string("$(reboot)"), std::string()}) {
    auto answers = FalseAuthority::with(
        "order", http_answer("201 Created", nonce + "Location: BASE/order-1\r\n",
                             R"({"status":"pending","authorizations":["BASE/name"],"finalize":"BASE/finalize"})"));
    answers["name"] = http_answer("200 OK", nonce,
                                  R"({"status":"pending","identifier":{"type":"dns","value":")" + name +
                                      R"("},"challenges":[{"type":"http-01","url":"BASE/ready","token":"abc"}]})");
    answers["name#2"] = http_answer(
        "200 OK", nonce, R"({"status":"valid","identifier":{"type":"dns","value":"one.test"},"challenges":[]})");
    answers["ready"] = http_answer("200 OK", nonce, "{}");
    const FalseAuthority authority(std::move(answers));
    const auto issued = order_from(authority.directory());
    REQUIRE_FALSE(issued);
    INFO(issued.error().what);
    CHECK(issued.error().reason == acme::Reason::nonsense);
    CHECK(issued.error().what.find("which was not asked for") != std::string::npos);
  }
}

TEST_CASE("acme: a nonce that is refused again and again is not tried for ever", "[integration][acme]") {
  const FalseAuthority authority(FalseAuthority::with(
      "account", http_answer("400 Bad Request", "Replay-Nonce: abc\r\n",
                             R"({"type":"urn:ietf:params:acme:error:badNonce","detail":"again"})")));
  const auto issued = order_from(authority.directory());
  REQUIRE_FALSE(issued);
  CHECK(issued.error().problem == "badNonce");
  // The directory, one nonce (each refusal brings the next), and the message.
  CHECK(authority.requests() == 2 + acme::Authority::kTries);
}

TEST_CASE("acme: an authority that has had enough is left alone, over a restart too", "[integration][acme]") {
  const FalseAuthority authority(FalseAuthority::with(
      "order", http_answer("429 Too Many", "Replay-Nonce: abc\r\nRetry-After: 86400\r\n",
                           R"({"type":"urn:ietf:params:acme:error:rateLimited","detail":"five a week"})")));
  const TemporaryDirectory folder;
  const acme::Site site = site_of(authority.directory(), folder.path() + "/state");
  const std::int64_t before = std::time(nullptr);
  unsigned asked = 0;
  {
    Managed m;
    m.manager->use({site});
    REQUIRE(eventually([&] {
      const auto shown = m.manager->shown();
      return !shown.empty() && shown.front().attempts.failures == 1;
    }));
    const auto shown = m.manager->shown().front();
    CHECK(shown.attempts.not_before >= before + 86'400);
    CHECK(shown.attempts.why.find("five a week") != std::string::npos);
    CHECK(shown.not_after == 0);
    CHECK(m.metrics.failing->value() == 1);
    CHECK(m.metrics.failures[static_cast<std::size_t>(acme::Reason::rate_limited)]->value() == 1);
    asked = authority.requests();
  }
  Managed m;
  m.manager->use({site});
  REQUIRE(eventually([&] { return !m.manager->shown().empty(); }));
  CHECK(m.manager->shown().front().attempts.failures == 1);
  CHECK(authority.requests() == asked);
  // Whoever says so may ask all the same.
  m.manager->renew();
  REQUIRE(eventually([&] { return m.manager->shown().front().attempts.failures == 2; }));
  CHECK(authority.requests() > asked);
}

namespace {
/// No file grows beyond that.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t most) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    old_ = ::signal(SIGXFSZ, SIG_IGN);
    limit(most);
  }
  ~SmallFiles() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, old_);
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;
  void limit(rlim_t most) const {
    const rlimit now{most, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }

 private:
  rlimit before_{};
  void (*old_)(int) = nullptr;
};
}  // namespace

TEST_CASE("acme: nothing is ordered that could not be kept, and a store that keeps nothing does not forget that",
          "[integration][acme]") {
  const FalseAuthority authority(FalseAuthority::plain());
  const TemporaryDirectory folder;
  Managed m;
  std::int64_t first_pause = 0;
  unsigned failures = 0;
  {
    const SmallFiles full(4096);
    m.manager->use({site_of(authority.directory(), folder.path() + "/state")});
    const auto failed = [&](unsigned times) {
      return eventually([&] {
        const auto shown = m.manager->shown();
        return !shown.empty() && (failures = shown.front().attempts.failures) == times;
      });
    };
    CHECK(failed(1));
    full.limit(0);  // not even how often it failed
    m.manager->renew();
    CHECK(failed(2));
    m.manager->renew();
    CHECK(failed(3));
    first_pause = m.manager->shown().front().attempts.not_before - std::time(nullptr);
  }
  CHECK(failures == 3);
  CHECK(first_pause > 2 * 60);  // the third in a row
  CHECK(authority.requests() == 0);
  CHECK(m.metrics.failures[static_cast<std::size_t>(acme::Reason::storage)]->value() == 3);
  CHECK(m.manager->shown().front().attempts.why.find("no room for a certificate") != std::string::npos);
  // With room again all goes on.
  m.manager->renew();
  CHECK(eventually([&] { return authority.requests() != 0; }));
}

TEST_CASE("acme: the manager has a certificate there, and another one when it is told to", "[integration][acme]") {
  if (!Pebble::is_there()) {
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)");
    return;
  }
  Managed m;
  const HostileUpstream shown({[&](UpstreamPeer& peer) {
    const std::optional<std::string> head = peer.read_head();
    if (!head) return;
    const std::size_t from = head->find(acme::kWellKnown) + acme::kWellKnown.size();
    peer.send(http_answer("200 OK", "Connection: close\r\n",
                          m.board->http(head->substr(from, head->find(' ', from) - from)).value_or("none")));
  }});
  const TemporaryDirectory folder;
  auto pebble = std::make_unique<Pebble>(Pebble::Options{.http_port = shown.endpoint().port(), .bad_nonces = 5});
  REQUIRE(pebble->ready());
  const acme::Site site = site_of(pebble->directory(), folder.path() + "/state");
  const acme::Store store(site.storage, site.directory);
  const auto serial = [&] {
    const auto there = store.certificate(site.names);
    const auto facts = there ? tls::read_certificate_facts(there->chain) : fail(std::errc::bad_message);
    return facts ? facts->serial : std::string();
  };
  // Another process has the lock: it is left to it.
  REQUIRE(store.open());
  auto lock = store.try_lock();
  REQUIRE((lock && *lock));
  m.manager->use({site});
  REQUIRE(eventually([&] { return !m.manager->shown().empty(); }));
  CHECK(serial().empty());
  *lock = acme::StoreLock();
  m.manager->renew();
  REQUIRE(eventually([&] { return m.metrics.issued->value() == 1; }, 60s));
  const std::string first = serial();
  CHECK_FALSE(first.empty());
  REQUIRE(eventually([&] { return m.manager->shown().front().not_after != 0; }));
  CHECK(m.manager->shown().front().next > std::time(nullptr));
  CHECK(m.metrics.failing->value() == 0);
  m.manager->renew();
  REQUIRE(eventually([&] { return m.metrics.issued->value() == 2; }, 60s));
  CHECK(serial() != first);

  // The authority has forgotten everybody: another account is made.
  const std::uint16_t port = pebble->port();
  pebble.reset();
  pebble = std::make_unique<Pebble>(Pebble::Options{.http_port = shown.endpoint().port(), .port = port});
  REQUIRE(pebble->ready());
  m.manager->renew();
  REQUIRE(eventually([&] { return m.metrics.issued->value() == 3; }, 60s));
}
