#include "core/net/sessions.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

namespace {
struct Session : ListHook {
  explicit Session(char n) : name(n) {}
  const char name;
};

std::string names(net::Sessions<Session>& sessions) {
  std::string all;
  sessions.each([&](Session& s) { all += s.name; });
  return all;
}
}  // namespace

TEST_CASE("sessions are listed in order, and count until they are gone", "[sessions]") {
  net::Sessions<Session> sessions;
  Session a('a');
  Session b('b');
  Session c('c');
  for (Session* s : {&a, &b, &c}) sessions.add(*s);
  CHECK(names(sessions) == "abc");
  sessions.unlist(b);
  CHECK(names(sessions) == "ac");
  CHECK(sessions.size() == 3);
  for (int i = 0; i < 2; ++i) sessions.gone();
  CHECK_FALSE(sessions.empty());
  sessions.gone();
  CHECK(sessions.empty());
  for (Session* s : {&a, &c}) sessions.unlist(*s);
}

TEST_CASE("a visit of sessions ends when it says so, may take them, and they come back", "[sessions]") {
  net::Sessions<Session> sessions;
  Session a('a');
  Session b('b');
  Session c('c');
  for (Session* s : {&a, &b, &c}) sessions.add(*s);
  std::string seen;
  sessions.each([&](Session& s) {
    seen += s.name;
    return s.name != 'b';
  });
  CHECK(seen == "ab");
  List<Session> taken;
  sessions.each([&](Session& s) {
    List<Session>::remove(s);
    taken.push_back(s);
  });
  CHECK(names(sessions).empty());
  CHECK(sessions.size() == 3);
  sessions.relist(*taken.front());
  CHECK(names(sessions) == "a");
  sessions.relist(*taken.back());
  CHECK(names(sessions) == "ac");
  for (Session* s : {&a, &b, &c}) sessions.unlist(*s);
}
