#include "daemon/acme/store.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/tls/made_certificate.hpp"
#include "daemon/acme/challenges.hpp"

using namespace fiberd;
using namespace fiberd::daemon::acme;

namespace {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fiberd-acme-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

unsigned mode_of(const std::string& path) {
  struct stat is {};
  REQUIRE(::stat(path.c_str(), &is) == 0);
  return is.st_mode & 07777U;
}

const std::vector<std::string> kNames{"www.example.org", "example.org"};
const std::string kAuthority = "https://ca.example/dir";

}  // namespace

TEST_CASE("a store keeps keys, certificates and failures, for this user alone", "[acme]") {
  const Folder folder;
  const std::string path = folder.path + "/new/state";
  const Store store(path, kAuthority);
  REQUIRE(store.open());
  CHECK(mode_of(path) == 0700);
  CHECK(store.account().url.empty());
  CHECK_FALSE(store.certificate(kNames));
  CHECK(store.attempts(kNames) == Attempts{});

  const auto key = store.account_key();
  REQUIRE(key);
  CHECK(store.account_key()->public_point().value() == key->public_point().value());
  REQUIRE(store.keep(Account{"https://ca.example/acct/1"}));
  CHECK(store.account().url == "https://ca.example/acct/1");

  const auto chain = tls::make_self_signed(*key, {kNames, 0, 1, {}});
  REQUIRE(chain);
  REQUIRE(store.keep(kNames, Issued{*chain, key->to_pem().value()}));
  CHECK(mode_of(store.path_of(kNames)) == 0600);
  const auto again = Store(path, kAuthority).certificate({"example.org", "www.example.org"});
  // Another order of the names is another first name, and another file; the same names are the same.
  CHECK_FALSE(again);
  const auto there = Store(path, kAuthority).certificate(kNames);
  REQUIRE(there);
  CHECK(there->chain == *chain);
  CHECK(there->key == key->to_pem().value());
  CHECK_FALSE(Store(path, "https://other.example/dir").certificate(kNames));

  const Attempts failed{3, 1'800'000'000, "answered 429: too many"};
  REQUIRE(store.keep(kNames, failed));
  CHECK(store.attempts(kNames) == failed);
  REQUIRE(store.keep(kNames, Attempts{}));
  CHECK(store.attempts(kNames) == Attempts{});

  // Nothing is left beside the files, and nobody else reads them.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    CHECK((mode_of(entry.path()) & 077U) == 0);
    const std::string name = entry.path().filename();
    CHECK((entry.is_directory() || name.ends_with(".pem") || name.ends_with(".url") || name.ends_with(".state")));
  }

  REQUIRE(store.forget_account(1000));
  CHECK(store.account().url.empty());
  CHECK(store.account_key()->public_point().value() != key->public_point().value());
}

TEST_CASE("one of several processes has a store's lock", "[acme]") {
  const Folder folder;
  const Store store(folder.path, kAuthority);
  REQUIRE(store.open());
  auto first = store.try_lock();
  REQUIRE(first);
  CHECK(*first);
  auto second = store.try_lock();
  REQUIRE(second);
  CHECK_FALSE(*second);
  *first = StoreLock();
  CHECK_FALSE(*first);
  second = store.try_lock();
  REQUIRE(second);
  CHECK(*second);
}

TEST_CASE("a store that others can look into, and a key that is none, are refused by name", "[acme]") {
  const Folder folder;
  const std::string path = folder.path + "/state";
  REQUIRE(::mkdir(path.c_str(), 0755) == 0);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  const Store store(path, kAuthority);
  const auto opened = store.open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().what.find(path) != std::string::npos);
  CHECK(opened.error().what.find("chmod 700") != std::string::npos);
  REQUIRE(::chmod(path.c_str(), 0700) == 0);
  REQUIRE(store.open());
  const std::filesystem::path account = std::filesystem::path(store.path_of(kNames)).parent_path() / "account.pem";
  std::ofstream(account) << "garbage";
  const auto key = store.account_key();
  REQUIRE_FALSE(key);
  CHECK(key.error().what.find(account.string()) != std::string::npos);
  std::ofstream(store.path_of(kNames)) << "garbage";
  CHECK_FALSE(store.certificate(kNames));
  const Store nowhere("/proc/none/state", kAuthority);
  CHECK_FALSE(nowhere.open());
}

TEST_CASE("a certificate that is not the one asked for is named", "[acme]") {
  const auto key = tls::PrivateKey::make();
  const auto other = tls::PrivateKey::make();
  REQUIRE(key);
  REQUIRE(other);
  static constexpr std::int64_t kNow = 1'800'000'000;
  const auto made = [&](const tls::PrivateKey& of, const std::vector<std::string>& names, std::int64_t from,
                        std::int64_t to) {
    return tls::make_self_signed(of, {names, from, to, {}}).value();
  };
  CHECK(why_not(made(*key, kNames, kNow - 10, kNow + 10), *key, kNames, kNow).empty());
  CHECK(why_not("", *key, kNames, kNow) == "it cannot be read");
  CHECK(why_not(made(*other, kNames, kNow - 10, kNow + 10), *key, kNames, kNow) == "it is for another key");
  CHECK(why_not(made(*key, {"example.org"}, kNow - 10, kNow + 10), *key, kNames, kNow) ==
        "it is not for www.example.org");
  CHECK(why_not(made(*key, kNames, kNow - 10, kNow), *key, kNames, kNow) == "it has expired already");
  CHECK(why_not(made(*key, kNames, kNow + 7200, kNow + 9000), *key, kNames, kNow).find("clock") != std::string::npos);
}

TEST_CASE("challenges are shown as long as their order runs, and are bounded", "[acme]") {
  Challenges board;
  OwnProver prover(board, {true, false, {}});
  const auto& ctx = context::background();
  CHECK_FALSE(board.any_http());
  REQUIRE(prover.present(ctx, "http-01", "a.example", "token", "token.print"));
  CHECK(board.http("token") == "token.print");
  CHECK_FALSE(board.http("toke"));
  prover.retract("http-01", "a.example", "token", "token.print");
  CHECK_FALSE(board.any_http());
  REQUIRE(prover.present(ctx, "tls-alpn-01", "a.example", "token", "token.print"));
  CHECK(board.tls("a.example"));
  prover.retract("tls-alpn-01", "a.example", "token", "token.print");
  CHECK_FALSE(board.tls("a.example"));
  for (std::size_t i = 0; i < Challenges::kMost; ++i) CHECK(board.put_http(std::to_string(i), "x"));
  CHECK_FALSE(prover.present(ctx, "http-01", "a.example", "token", "x"));

  Authorization offered;
  for (const char* const type : {"dns-01", "http-01", "tls-alpn-01"})
    offered.challenges.push_back({type, "https://a/1", "t", Status::pending, {}});
  CHECK(prover.choose(offered) == "http-01");
  CHECK(OwnProver(board, {true, true, {}}).choose(offered) == "tls-alpn-01");
  CHECK(OwnProver(board, {false, false, "/bin/true"}).choose(offered) == "dns-01");
  CHECK(OwnProver(board, {}).choose(offered).empty());
}
