#include "core/runtime/poll_word.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::runtime;
using Begin = PollWord::Begin;

static constexpr Ticket kFirst{(std::uint64_t{1} << 32U) | 1U};
static constexpr Ticket kSecond{(std::uint64_t{2} << 32U) | 9U};

TEST_CASE("an edge is kept until it is used", "[poll_word]") {
  PollWord w;
  CHECK_FALSE(w.notify().ticket);
  CHECK_FALSE(w.notify().start_idle);
  CHECK(w.begin_wait(kFirst) == Begin::ready);
  CHECK(w.begin_wait(kFirst) == Begin::waiting);
  CHECK(w.begin_wait(kSecond) == Begin::busy);
  CHECK(w.notify().ticket == kFirst);
  CHECK(w.end_ready());
  CHECK(w.begin_wait(kSecond) == Begin::waiting);
}

TEST_CASE("who timed out leaves the edge to the next", "[poll_word]") {
  PollWord w;
  REQUIRE(w.begin_wait(kFirst) == Begin::waiting);
  SECTION("no edge came") {
    w.withdraw(kFirst);
    CHECK(w.begin_wait(kSecond) == Begin::waiting);
    w.withdraw(kFirst);  // not its ticket
    CHECK(w.notify().ticket == kSecond);
  }
  SECTION("an edge came at that moment") {
    CHECK(w.notify().ticket == kFirst);
    w.withdraw(kFirst);
    CHECK(w.begin_wait(kSecond) == Begin::ready);
  }
}

TEST_CASE("an edge whose bytes are read can be forgotten", "[poll_word]") {
  PollWord w;
  (void)w.notify();
  w.clear_ready();
  CHECK(w.begin_wait(kFirst) == Begin::waiting);
  w.clear_ready();  // touches no ticket
  CHECK(w.notify().ticket == kFirst);
}

TEST_CASE("closed is final and hands out the ticket once", "[poll_word]") {
  PollWord w;
  REQUIRE(w.begin_wait(kFirst) == Begin::waiting);
  CHECK(w.close() == kFirst);
  CHECK(w.closed());
  CHECK_FALSE(w.close());
  CHECK_FALSE(w.notify().ticket);
  CHECK_FALSE(w.end_ready());
  CHECK(w.begin_wait(kSecond) == Begin::closed);
  CHECK_FALSE(w.go_idle(1));
  w.reset();
  CHECK_FALSE(w.closed());
  CHECK(w.begin_wait(kSecond) == Begin::waiting);
}

TEST_CASE("an idle period has one owner, by its generation", "[poll_word]") {
  PollWord w;
  CHECK(w.idle_generation() == 0);
  REQUIRE(w.go_idle(7));
  CHECK(w.idle_generation() == 7);
  CHECK(w.begin_wait(kFirst) == Begin::busy);
  CHECK_FALSE(w.claim_idle(6));
  SECTION("claimed") {
    CHECK(w.claim_idle(7));
    CHECK_FALSE(w.claim_idle(7));
    CHECK_FALSE(w.notify().start_idle);
  }
  SECTION("started by an edge") {
    CHECK(w.notify().start_idle);
    CHECK_FALSE(w.claim_idle(7));
    CHECK(w.idle_generation() == 0);
  }
  SECTION("closed") {
    CHECK_FALSE(w.close());
    CHECK_FALSE(w.claim_idle(7));
  }
}

TEST_CASE("an edge that is there keeps a connection from going idle", "[poll_word]") {
  PollWord w;
  (void)w.notify();
  CHECK_FALSE(w.go_idle(1));
  CHECK(w.go_idle(2));  // it was used up: the caller has read
}

TEST_CASE("the largest generation is no ticket", "[poll_word]") {
  PollWord w;
  REQUIRE(w.go_idle(0xfff'ffff));
  CHECK(w.idle_generation() == 0xfff'ffff);
  CHECK_FALSE(w.close());
}
