#include "daemon/acme/kept.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <string>

#include "core/tls/made_certificate.hpp"
#include "daemon/acme/challenges.hpp"
#include "daemon/acme/shared_challenges.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::daemon::acme;
using fiberd::test::TestAuthority;

namespace {

const std::vector<std::string> kWanted{"one.test"};

struct KeptStore {
  test::TemporaryDirectory folder;
  Store store{folder.path() + "/state", "https://ca.example/dir"};
  KeptStore() { REQUIRE(store.open()); }
};

}  // namespace

TEST_CASE("what a store has is judged as those judge it who show it", "[acme]") {
  const KeptStore k;
  const std::int64_t now = std::time(nullptr);
  CHECK(look_at_kept(k.store, kWanted, now).not_after == 0);
  const TestAuthority root;
  const auto between = root.below("between", 5 * 86'400);
  const auto other = root.below("other");
  const test::MadePair pair = between->issue({.names = kWanted});
  const test::MadePair another = between->issue({.names = kWanted});

  REQUIRE(k.store.keep(kWanted, Issued{pair.certificate, pair.key}));
  const Kept good = look_at_kept(k.store, kWanted, now);
  CHECK(good.flaw.empty());
  REQUIRE(good.certificate);
  // The leaf has ninety days, but nobody believes it for longer than its issuer.
  CHECK(good.not_after < now + 6 * 86'400);
  CHECK_FALSE(good.serial.empty());

  REQUIRE(k.store.keep(kWanted, Issued{pair.certificate, another.key}));
  const Kept wrong = look_at_kept(k.store, kWanted, now);
  CHECK(wrong.not_after == 0);
  CHECK(wrong.flaw.find("is the key of another certificate") != std::string::npos);

  REQUIRE(k.store.keep(kWanted, Issued{pair.certificate + other->certificate(), pair.key}));
  CHECK(look_at_kept(k.store, kWanted, now).flaw.find("put the chain in order") != std::string::npos);

  // One that has ended is no damage: it is due.
  REQUIRE(k.store.keep(kWanted, Issued{pair.certificate, pair.key}));
  const Kept over = look_at_kept(k.store, kWanted, now + 200 * 86'400);
  CHECK(over.flaw.empty());
  CHECK_FALSE(over.certificate);
  CHECK(over.not_after != 0);
}

TEST_CASE("a certificate whose chain would be shown to nobody is not the one asked for", "[acme]") {
  const TestAuthority root;
  const auto other = root.below("other");
  const test::MadePair pair = root.issue({.names = kWanted});
  const auto key = tls::PrivateKey::from_pem(pair.key);
  REQUIRE(key);
  CHECK(why_not(pair.certificate, *key, kWanted, std::time(nullptr)).empty());
  const std::string said =
      why_not(pair.certificate + other->certificate() + pair.certificate + root.certificate() + other->certificate(),
              *key, kWanted, std::time(nullptr));
  CHECK(said.find("it could not be shown: its chain: ") == 0);
}

TEST_CASE("one process answers for the order of another that shares its state directory", "[acme]") {
  const KeptStore k;
  Challenges asks;
  Challenges answers;
  answers.share(k.store.directory());
  answers.share(k.store.directory());
  OwnProver prover(asks, {true, true, {}}, k.store.directory());
  const auto& ctx = context::background();
  CHECK_FALSE(answers.shared_http("token"));
  REQUIRE(prover.present(ctx, "http-01", "one.test", "token", "token.print"));
  CHECK(answers.shared_http("token") == "token.print");
  CHECK_FALSE(answers.shared_http("toke"));
  CHECK_FALSE(answers.shared_http("../lock"));
  CHECK_FALSE(answers.http("token"));  // nobody's memory but the other's
  REQUIRE(prover.present(ctx, "tls-alpn-01", "one.test", "token", "token.print"));
  CHECK(answers.challenge("one.test") != nullptr);
  CHECK(answers.challenge("two.test") == nullptr);
  // Of those that others show, hostile names among them, so many are looked for in a second and no more.
  bool all = true;
  for (int i = 0; i < 100'000 && all; ++i) all = answers.challenge("one.test") != nullptr;
  CHECK_FALSE(all);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(k.store.directory() + "/challenges"))
    CHECK((entry.status().permissions() & std::filesystem::perms(077)) == std::filesystem::perms::none);
  prover.retract("tls-alpn-01", "one.test", "token", "token.print");
  CHECK(answers.shared_http("token"));
  prover.retract("http-01", "one.test", "token", "token.print");
  CHECK_FALSE(answers.shared_http("token"));
  CHECK_FALSE(std::filesystem::exists(k.store.directory() + "/challenges"));

  // What a process leaves that dies is taken away by the next who asks.
  REQUIRE(prover.present(ctx, "http-01", "one.test", "token", "token.print"));
  SharedChallenges(k.store.directory()).clear();
  CHECK_FALSE(answers.shared_http("token"));
}
