// The client against servers that play foul: every answer of the table, sent whole and byte by byte, and whether the
// connection is used again behind it.
#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "tests/support/answer_cases.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;

namespace {

const std::string kNext = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

void run_case(const AnswerCase& row, bool slowly) {
  INFO(row.section << " " << row.name << (slowly ? ", byte by byte" : ""));
  std::atomic<bool> first{true};
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    while (peer.read_request()) {
      if (!first.exchange(false)) {
        peer.send(kNext);
        continue;
      }
      slowly ? peer.send_slowly(row.bytes) : peer.send(row.bytes);
      if (row.ends) peer.end();
    }
  }});
  ClientFixture rig({.pool = {.trust = 0ns}});
  Fetched got = rig.fetch({.method = row.method, .url = upstream.url("/first")});
  CHECK(got.error == row.error);
  if (!row.error) {
    CHECK(got.status == row.status);
    CHECK(got.body == row.body);
  }
  // Nothing of it is ever taken for the answer to another request.
  got = rig.get(upstream.url("/second"));
  CHECK_FALSE(got.error);
  CHECK(got.body == "next");
  if (row.kept) {
    CHECK(got.reused);
    CHECK(upstream.connections() == 1);
  } else {
    CHECK_FALSE(got.reused);
    CHECK(upstream.connections() == 2);
  }
  CHECK(upstream.requests() == 2);
  CHECK(rig.metrics.retried->value() == 0);
}

}  // namespace

TEST_CASE("client: every answer of the table, and what becomes of its connection", "[integration][client]") {
  std::vector<AnswerCase> rows = head_cases();
  for (AnswerCase& row : body_cases()) rows.push_back(std::move(row));
  std::set<std::string> names;
  for (const AnswerCase& row : rows) {
    names.insert(row.name);
    run_case(row, false);
    if (row.bytes.size() < 1'000) run_case(row, true);
  }
  CHECK(names.size() == rows.size());
  CHECK(rows.size() >= 120);
}
