#include "core/tls/ticket_keys.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/daemon.hpp"

using namespace fiberd;

TEST_CASE("a ring of ticket keys opens what the newest and the two before have sealed", "[tls][tickets]") {
  const auto keys = tls::TicketKeys::random().value();
  std::vector<tls::TicketKey> seen;
  for (int i = 0; i < 5; ++i) {
    seen.push_back(keys->newest());
    CHECK(keys->newest().name == seen.back().name);
    keys->rotate();
  }
  seen.push_back(keys->newest());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    tls::TicketKey found;
    const auto verdict = keys->find(seen[i].name.data(), found);
    using Found = tls::TicketKeys::Found;
    CHECK(verdict == (i == 5 ? Found::newest : i >= 3 ? Found::older : Found::no));
    if (verdict != Found::no) {
      CHECK(found.aes == seen[i].aes);
      CHECK(found.hmac == seen[i].hmac);
    }
  }
}

TEST_CASE("ticket keys are read of files, the first is the newest", "[tls][tickets]") {
  const test::TemporaryDirectory files;
  std::vector<std::string> all;
  for (const char c : {'a', 'b', 'c', 'd'})
    all.push_back(files.write(std::string(1, c), std::string(16, c) + std::string(32, '1') + std::string(32, '2')));
  std::string why;
  const auto keys = tls::TicketKeys::read({all[0], all[1], all[2]}, why).value();
  CHECK(keys->shared());
  CHECK(keys->newest().name.front() == 'a');
  CHECK(keys->newest().hmac.front() == '1');
  CHECK(keys->newest().aes.back() == '2');
  const auto next = tls::TicketKeys::read({all[3], all[0]}, why).value();
  CHECK(next->newest().name.front() == 'd');
  CHECK(!keys->same(*next));
  CHECK(next->same(*tls::TicketKeys::read({all[3], all[0]}, why).value()));
  CHECK(!next->same(*tls::TicketKeys::read({all[0], all[3]}, why).value()));
  CHECK(!tls::TicketKeys::read({files.write("short", "x")}, why));
  CHECK_THAT(why, Catch::Contains("short: a ticket key has 80 bytes: openssl rand 80"));
  CHECK(!tls::TicketKeys::read({files.path() + "/none"}, why));
  CHECK_THAT(why, Catch::Contains("/none: "));
}
