// Credentials, password files and kept verdicts: what the basic_auth filter stands on.
#include <ctime>

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/http/filters/basic_credentials.hpp"
#include "core/http/filters/htpasswd.hpp"
#include "core/http/filters/verdict_cache.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using http::Htpasswd;
using http::VerdictCache;

namespace {

// Of the published test vectors of crypt_blowfish and SHA-crypt, and one of libxcrypt's.
const std::string kBcrypt = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";  // U*U
const std::string kSha512 =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
const std::string kYescrypt = "$y$j75$xhVRyEVNAQhMIsJ1T5yOc0$.EYcKQiqHwHOsXEQkWJIzWmQu6eC1Pq5T.PPafNQxW1";  // pass word
const std::string kLong = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe";  // 72 times "a"

std::string credentials(std::string_view value) {
  const auto read = http::parse_basic_credentials(value);
  if (!read) return read.error() == std::errc::message_size ? "too long" : "none";
  return read->user + "|" + read->password.text();
}

std::string wrong(const std::string& text) {
  std::string why;
  const auto read = Htpasswd::parse(text, &why);
  return read ? "" : why;
}

/// CPU time of this thread, which knows nothing of what else the machine does.
double seconds_of(const Htpasswd& file, std::string_view user) {
  const auto now = [] {
    timespec t{};
    (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  };
  const double begin = now();
  CHECK_FALSE(*file.verify(user, "wrong"));
  return now() - begin;
}

}  // namespace

TEST_CASE("credentials of RFC 7617", "[http][basic_auth]") {
  CHECK(credentials("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == "Aladdin|open sesame");
  CHECK(credentials("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == "Aladdin|open sesame");
  CHECK(credentials("BASIC dGVzdDoxMjPCow==") == "test|123\xc2\xa3");
  CHECK(credentials("Basic YTpiOmM=") == "a|b:c");
  CHECK(credentials("Basic Og==") == "|");
  CHECK(credentials("Basic YTo=") == "a|");
  for (const char* bad : {"", "Basic", "Basic ", "Bearer YTpi", "Basic YTpi=", "Basic YTp", "Basic YTo",
                          "Basic YTp=", "Basic YQ==", "Basic YT pi", "Basic YTpi,", "Basic Y*pi", "BasicYTpi",
                          "Basic ====", "Basic YQA6Yg==", "Basic YToKYg==", "Basic YTp/"})
    CHECK(credentials(bad) == "none");
  CHECK(credentials("Basic " + std::string(100'000, 'A')) == "too long");
  std::string encoded = "Basic ";  // 257 bytes of user: 0x61 * 258, then ":a"
  for (int i = 0; i < 86; ++i) encoded += "YWFh";
  CHECK(credentials(encoded + "OmFh") == "too long");
}

TEST_CASE("the kinds of hash that are taken", "[http][basic_auth][htpasswd]") {
  std::string why;
  const auto file = Htpasswd::parse(
      "# comment\n\nblow:" + kBcrypt + "\r\nsha:" + kSha512 + ":a note\nyes:" + kYescrypt + "\nlong:" + kLong, &why);
  CAPTURE(why);
  REQUIRE(file);
  const Htpasswd& users = **file;
  CHECK(users.size() == 4);
  CHECK(*users.verify("blow", "U*U"));
  CHECK(*users.verify("sha", "Hello world!"));
  CHECK(*users.verify("yes", "pass word"));
  CHECK(*users.verify("long", std::string(72, 'a')));
  CHECK_FALSE(*users.verify("blow", "U*V"));
  CHECK_FALSE(*users.verify("blow", ""));
  CHECK_FALSE(*users.verify("sha", "U*U"));
  CHECK_FALSE(*users.verify("nobody", "U*U"));
  CHECK_FALSE(*users.verify("", ""));
  CHECK_FALSE(*users.verify("# comment", ""));
  // bcrypt would take these for the same, and crypt(3) ends at a NUL.
  CHECK_FALSE(*users.verify("long", std::string(73, 'a')));
  CHECK_FALSE(*users.verify("blow", std::string("U*U\0x", 5)));
  CHECK_FALSE(*users.verify("sha", std::string(600, 'a')));
  CHECK_FALSE(*(*Htpasswd::parse(""))->verify("a", "b"));
}

TEST_CASE("a password file that protects nothing is refused by name", "[http][basic_auth][htpasswd]") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "MD5"},
      {"a:$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "MD5"},
      {"a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"},
      {"a:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"},
      {"a:rOxYbrT6rS1y2", "DES"},
      {"a:hunter22", "in the clear"},
      {"a:", "in the clear"},
      {"a:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", "not known"},
      {"a:{PLAIN}x", "not known"},
      {"a:" + kBcrypt.substr(0, 59), "not whole"},
      {"a:" + kBcrypt + "x", "not whole"},
      {"a:$2y$99" + kBcrypt.substr(6), "cost"},
      {"a:$2y$03" + kBcrypt.substr(6), "cost"},
      {"a:" + kSha512.substr(0, 60), "not whole"},
      {"a:" + kYescrypt.substr(0, 60), "not whole"},
      {"a", "user:hash"},
      {":" + kBcrypt, "user:hash"},
      {std::string("a:\0", 3), "NUL"}};
  for (const auto& [line, word] : cases) {
    const std::string why = wrong("ok:" + kBcrypt + "\n" + line + "\n");
    CAPTURE(line, why);
    CHECK(why.starts_with("line 2: "));
    CHECK(why.find(word) != std::string::npos);
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && line.size() > colon + 6)
      CHECK(why.find(line.substr(colon + 1)) == std::string::npos);  // nothing of a hash goes into a log
  }
  CHECK(wrong("a:" + kBcrypt + "\na:" + kBcrypt).find("twice") != std::string::npos);
}

TEST_CASE("a password file that cannot be read says why", "[http][basic_auth][htpasswd]") {
  const test::TemporaryDirectory tree;
  (void)tree.write("users", "blow:" + kBcrypt + "\n");
  CHECK(Htpasswd::read(tree.path() + "/users"));
  std::string why;
  CHECK(Htpasswd::read(tree.path() + "/none", &why).error() == std::errc::no_such_file_or_directory);
  CHECK_FALSE(why.empty());
  CHECK(Htpasswd::read(tree.path() + "/.", &why).error() == std::errc::is_a_directory);
}

TEST_CASE("a user that there is not costs what one costs that there is", "[http][basic_auth][htpasswd]") {
  // Cost 9: some 20 ms, a thousand times what a look-up costs.
  const auto file = Htpasswd::parse("blow:$2y$09" + kBcrypt.substr(6));
  REQUIRE(file);
  const double known = seconds_of(**file, "blow");
  for (const char* unknown : {"nobody", "blo", "", "root"}) CHECK(seconds_of(**file, unknown) > known / 4);
}

TEST_CASE("verdicts are kept for a while, by file and by pair", "[http][basic_auth][verdicts]") {
  using namespace std::chrono_literals;
  VerdictCache cache(1024, 60s, 5s);
  const auto key = cache.key("user", "password", 1);
  CHECK_FALSE(cache.find(key, 1000));
  cache.keep(key, true, 1000);
  CHECK(cache.find(key, 1000) == true);
  CHECK(cache.find(key, 1000 + 59'000'000'000) == true);
  CHECK_FALSE(cache.find(key, 1000 + 60'000'000'000));
  for (const auto& other : {cache.key("user", "password", 2), cache.key("user", "Password", 1),
                            cache.key("userp", "assword", 1), cache.key("", "", 1)})
    CHECK_FALSE(cache.find(other, 1000));
  const auto no = cache.key("user", "wrong", 1);
  cache.keep(no, false, 1000);
  CHECK(cache.find(no, 1000) == false);
  CHECK_FALSE(cache.find(no, 1000 + 5'000'000'000));
  // Keys of two tables are different: nothing of the pair can be told from them.
  CHECK_FALSE(VerdictCache(8, 60s, 5s).key("user", "password", 1) == key);
}

TEST_CASE("a crowd of wrong passwords drives out no right one, and the table stays as large as it is",
          "[http][basic_auth][verdicts]") {
  using namespace std::chrono_literals;
  VerdictCache cache(64, 60s, 5s);
  const auto right = cache.key("user", "password", 1);
  cache.keep(right, true, 1);
  for (int i = 0; i < 10'000; ++i) cache.keep(cache.key("user", std::to_string(i), 1), false, 2);
  CHECK(cache.find(right, 3) == true);
  int kept = 0;
  for (int i = 0; i < 10'000; ++i) kept += cache.find(cache.key("user", std::to_string(i), 1), 3) ? 1 : 0;
  CHECK(kept <= 64);
  CHECK(kept > 32);
  VerdictCache none(0, 60s, 5s);
  none.keep(none.key("a", "b", 1), true, 1);
  CHECK_FALSE(none.find(none.key("a", "b", 1), 2));
}
