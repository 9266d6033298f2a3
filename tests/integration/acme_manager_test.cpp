// When the manager asks, when it leaves it to others, and what it does not forget.
#include <atomic>
#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/tls/certificate_facts.hpp"
#include "tests/support/acme_rig.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/pebble.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kDays = 86'400;

/// Puts one into the site's store, as if it had been issued.
void plant(const acme::Site& site, std::int64_t from, std::int64_t until) {
  static const TestAuthority root;
  const MadePair pair = root.issue({.names = site.names, .from = from, .until = until});
  const acme::Store store(site.storage, site.directory);
  REQUIRE(store.open());
  REQUIRE(store.keep(site.names, acme::Issued{pair.certificate, pair.key}));
}

/// An authority that takes its time: it answers 503 once it is let go.
class SlowAuthority {
 public:
  SlowAuthority()
      : upstream_({[this](UpstreamPeer& peer) {
          while (peer.read_request()) {
            ++asked_;
            for (int i = 0; i < 6000 && !go_; ++i) std::this_thread::sleep_for(10ms);
            if (!peer.send(http_answer("503 Unavailable", "", "later"))) return;
          }
        }}) {}
  ~SlowAuthority() { go_ = true; }
  [[nodiscard]] std::string directory() const { return upstream_.url("/dir"); }
  [[nodiscard]] bool asked() const { return asked_ != 0; }
  void let_go() { go_ = true; }

 private:
  std::atomic<bool> go_{false};
  std::atomic<unsigned> asked_{0};
  HostileUpstream upstream_;
};

}  // namespace

TEST_CASE("acme: what is asked for while another process asks is done behind it", "[integration][acme]") {
  const KeptLog log;
  const FalseAuthority authority(FalseAuthority::plain());
  const TemporaryDirectory folder;
  const acme::Site site = site_of(authority.directory(), folder.path() + "/state");
  const acme::Store store(site.storage, site.directory);
  plant(site, -10 * kDays, 80 * kDays);
  Managed m;
  m.manager->use({site});
  REQUIRE(eventually([&] { return !m.manager->shown().empty(); }));
  CHECK(authority.requests() == 0);  // it is good for long
  {
    auto lock = store.try_lock();
    REQUIRE((lock && *lock));
    CHECK(m.manager->renew() == 1);
    REQUIRE(eventually([] { return KeptLog::holds("another process asks an authority"); }));
    CHECK(authority.requests() == 0);
  }
  CHECK(eventually([&] { return authority.requests() != 0; }, 60s));

  // What the other one has had meanwhile is what was wanted.
  REQUIRE(eventually([&] { return m.manager->shown().front().attempts.failures == 1; }));
  const unsigned asked = authority.requests();
  {
    auto lock = store.try_lock();
    REQUIRE((lock && *lock));
    m.manager->renew();
    REQUIRE(eventually([] {
      const std::string all = KeptLog::text();
      const std::size_t first = all.find("another process asks an authority");
      return all.find("another process asks an authority", first + 1) != std::string::npos;
    }));
    plant(site, -1 * kDays, 89 * kDays);
  }
  CHECK(eventually([] { return KeptLog::holds("another process has had a certificate meanwhile"); }, 60s));
  CHECK(authority.requests() == asked);
}

TEST_CASE("acme: what was ordered by a configuration before is nothing that fails in this one", "[integration][acme]") {
  SlowAuthority slow;
  const FalseAuthority other(FalseAuthority::plain());
  const TemporaryDirectory folder;
  const acme::Site before = site_of(slow.directory(), folder.path() + "/before");
  const acme::Site after = site_of(other.directory(), folder.path() + "/after");
  plant(after, -10 * kDays, 80 * kDays);
  Managed m;
  m.manager->use({before});
  REQUIRE(eventually([&] { return slow.asked(); }));
  m.manager->use({after});
  slow.let_go();
  REQUIRE(eventually([&] { return m.metrics.failures[static_cast<std::size_t>(acme::Reason::busy)]->value() == 1; }));
  REQUIRE(eventually([&] {
    const auto shown = m.manager->shown();
    return std::any_of(shown.begin(), shown.end(), [](const auto& one) { return one.not_after != 0; });
  }));
  CHECK(m.manager->shown().size() == 1);
  CHECK(m.metrics.failing->value() == 0);
}

TEST_CASE("acme: that it asks is written down before it does", "[integration][acme]") {
  SlowAuthority slow;
  const TemporaryDirectory folder;
  const acme::Site site = site_of(slow.directory(), folder.path() + "/state");
  const acme::Store store(site.storage, site.directory);
  {
    Managed m;
    m.manager->use({site});
    REQUIRE(eventually([&] { return slow.asked(); }));
    // Were it to die now, the next one would not ask at once.
    const acme::Attempts begun = store.attempts(site.names);
    CHECK(begun.failures == 1);
    CHECK_FALSE(begun.failed());
    CHECK(begun.not_before > std::time(nullptr) - 60);
    CHECK(m.metrics.failing->value() == 0);
  }
  // But it was told to stop, and nothing has failed.
  CHECK(store.attempts(site.names) == acme::Attempts{});

  REQUIRE(store.keep(site.names, acme::Attempts{3, std::time(nullptr) + 3600, std::string(acme::Attempts::kBegun)}));
  const FalseAuthority authority(FalseAuthority::plain());
  Managed m;
  acme::Site again = site;
  again.directory = authority.directory();
  const acme::Store there(again.storage, again.directory);
  REQUIRE(there.open());
  REQUIRE(there.keep(site.names, acme::Attempts{3, std::time(nullptr) + 3600, std::string(acme::Attempts::kBegun)}));
  m.manager->use({again});
  REQUIRE(eventually([&] { return !m.manager->shown().empty(); }));
  CHECK(m.manager->shown().front().attempts.failures == 3);
  CHECK(authority.requests() == 0);
}

TEST_CASE("acme: an account is not given up since the authority does not want a name", "[integration][acme]") {
  const std::string nonce = "Replay-Nonce: abc\r\n";
  auto answers = FalseAuthority::with(
      "order", http_answer("403 Forbidden", nonce, R"({"type":"urn:ietf:params:acme:error:unauthorized"})"));
  for (const bool valid : {true, false}) {
    answers["1"] = http_answer("200 OK", nonce, valid ? R"({"status":"valid"})" : R"({"status":"deactivated"})");
    const FalseAuthority authority(answers);
    const TemporaryDirectory folder;
    const acme::Site site = site_of(authority.directory(), folder.path() + "/state");
    const acme::Store store(site.storage, site.directory);
    Managed m;
    const auto fails = [&](unsigned times) {
      m.manager->renew();
      return eventually([&] {
        const auto shown = m.manager->shown();
        return !shown.empty() && shown.front().attempts.failures == times;
      });
    };
    m.manager->use({site});
    REQUIRE(eventually([&] {
      const auto shown = m.manager->shown();
      return !shown.empty() && shown.front().attempts.failures == 1;
    }));
    const std::string first = store.account_key()->public_point().value();
    REQUIRE(fails(2));
    const std::string second = store.account_key()->public_point().value();
    CHECK((first == second) == valid);
    CHECK((store.account().replaced == 0) == valid);
    // And not each time anew: whoever counts accounts would have had enough.
    REQUIRE(fails(3));
    CHECK(store.account_key()->public_point().value() == second);
  }
}

TEST_CASE("acme: what is there and cannot be shown is asked for, what is good for long is not", "[integration][acme]") {
  const FalseAuthority authority(FalseAuthority::plain());
  const TemporaryDirectory folder;
  const acme::Site site = site_of(authority.directory(), folder.path() + "/state");
  const acme::Store store(site.storage, site.directory);
  plant(site, -10 * kDays, 80 * kDays);
  {
    Managed m;
    m.manager->use({site});
    REQUIRE(eventually([&] { return !m.manager->shown().empty(); }));
    CHECK(authority.requests() == 0);
  }
  const auto there = store.certificate(site.names);
  REQUIRE(there);
  REQUIRE(store.keep(site.names, acme::Issued{there->chain, tls::PrivateKey::make()->to_pem().value()}));
  const KeptLog log;
  Managed m;
  m.manager->use({site});
  CHECK(eventually([&] { return authority.requests() != 0; }));
  CHECK(KeptLog::holds("is the key of another certificate"));
}

TEST_CASE("acme: what ends soon is renewed by itself, and what has hardly begun rests", "[integration][acme]") {
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
  // Its certificates are over before they are there.
  const Pebble pebble({.http_port = shown.endpoint().port(), .life = 3});
  REQUIRE(pebble.ready());
  const TemporaryDirectory folder;
  const acme::Site site = site_of(pebble.directory(), folder.path() + "/state");
  plant(site, -80 * kDays, 10 * kDays);
  const std::int64_t before = std::time(nullptr);
  m.manager->use({site});
  REQUIRE(eventually([&] { return m.metrics.issued->value() == 1; }, 60s));
  REQUIRE(eventually([&] { return m.manager->shown().front().not_after < before + 10 * kDays - 60; }));
  CHECK(m.manager->shown().front().next >= before + 60);
}
