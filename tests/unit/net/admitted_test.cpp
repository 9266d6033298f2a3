#include "core/net/admitted.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <utility>

using namespace fiberd;
using net::Admitted;
using net::ConnectionCounts;
using net::Endpoint;
using net::Place;

namespace {

Place place_of(ConnectionCounts& counts) {
  REQUIRE(counts.take(10));
  return Place(counts.anybody());
}

int a_socket() { return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a place is given back once, by whoever has it last", "[net][place]") {
  ConnectionCounts counts;
  {
    Place first = place_of(counts);
    Place second = std::move(first);
    CHECK(counts.open() == 1);
    first = place_of(counts);
    CHECK(counts.open() == 2);
    first = std::move(second);  // what it had goes back
    CHECK(counts.open() == 1);
    first.give_back();
    first.give_back();
    CHECK(counts.open() == 0);
    second.give_back();
  }
  CHECK(counts.open() == 0);
}

TEST_CASE("a place becomes one of an address while that has fewer than it may", "[net][place]") {
  ConnectionCounts counts;
  const Endpoint client = Endpoint::v4(0x0a000001, 1);
  {
    Place one = place_of(counts);
    Place two = place_of(counts);
    CHECK(one.count_of(client, 1));
    CHECK_FALSE(two.count_of(client, 1));
    one.give_back();
    CHECK(counts.open() == 1);
    CHECK(two.count_of(client, 1));
  }
  CHECK(counts.open() == 0);
  CHECK(counts.take_of(client, 1) != nullptr);  // nobody's any more
  CHECK(Place().count_of(client, 0));           // where nothing is counted nothing is refused
}

TEST_CASE("who drops what was admitted closes it and counts it off", "[net][admitted]") {
  ConnectionCounts counts;
  const int fd = a_socket();
  REQUIRE(fd >= 0);
  {
    Admitted first(fd, place_of(counts), Endpoint::v4(0x7f000001, 7));
    Admitted second(std::move(first));
    CHECK(second.socket() == fd);
    CHECK(second.client().port() == 7);
    CHECK(is_open(fd));
    CHECK(counts.open() == 1);
  }
  CHECK_FALSE(is_open(fd));
  CHECK(counts.open() == 0);
}

TEST_CASE("socket and place of what was admitted go on by themselves", "[net][admitted]") {
  ConnectionCounts counts;
  Place place;
  int fd = -1;
  {
    Admitted connection(a_socket(), place_of(counts), {});
    fd = connection.take_socket();
    place = connection.take_place();
  }
  CHECK(is_open(fd));
  CHECK(counts.open() == 1);
  ::close(fd);
}
