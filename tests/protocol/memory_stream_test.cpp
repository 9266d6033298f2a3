// The raw-socket suite over memory, in simulations: another carrier than sockets under the same server, and by seeds
// every way in which a network may hand over bytes, on every order in which fibers may run.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "core/metric/registry.hpp"
#include "tests/protocol/framing_cases.hpp"
#include "tests/protocol/raw_site.hpp"
#include "tests/protocol/run_case.hpp"
#include "tests/protocol/semantics_cases.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/memory_stream.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace fiberd::test;
using protocol::RawCase;

namespace {

MemoryFaults faults_of(Random& random) {
  MemoryFaults f;
  f.most_read = random.below(3) == 0 ? 1U << 20U : 1 + random.below(random.below(2) == 0 ? 3 : 4000);
  f.most_write = random.below(3) == 0 ? 1U << 20U : 1 + random.below(random.below(2) == 0 ? 7 : 4000);
  f.room = random.below(3) == 0 ? std::size_t{64} * 1024 : 1 + random.below(2000);
  f.would_block = random.below(2) == 0 ? 0 : random.below(60);
  return f;
}

std::vector<std::size_t> pieces_of(const RawCase& row, Random& random) {
  std::vector<std::size_t> pieces;
  if (random.below(3) == 0) return pieces;
  const auto most = static_cast<std::uint32_t>(row.bytes.size() < 400 ? 12 : row.bytes.size() / 8);
  for (std::size_t sent = 0; sent < row.bytes.size(); sent += pieces.back()) pieces.push_back(1 + random.below(most));
  return pieces;
}

/// Four of the rows on a server of its own, which must then be able to stop with nobody left.
void serve_rows(std::uint64_t seed, const std::string& root, const std::vector<RawCase>& rows, bool resets) {
  Random random(seed);
  auto made = http::Server::make({}, protocol::raw_site(root));
  invariant(made.has_value(), "no server");
  http::Server& server = **made;
  for (std::uint64_t i = 0; i < 4; ++i) {
    const RawCase& row = rows[(seed * 4 + i) % rows.size()];
    MemoryFaults faults = faults_of(random);
    if (resets) faults.reset_after = 1 + random.below(static_cast<std::uint32_t>(row.bytes.size()) + 400);
    const auto link = std::make_shared<MemoryStream::Link>(faults, random.next());
    server.serve(std::make_unique<MemoryStream>(link));
    MemoryClient client(link);
    std::string wrong;
    try {
      wrong = protocol::run_strictly(client, row, pieces_of(row, random));
    } catch (const std::runtime_error& e) {  // an answer that was cut
      wrong = e.what();
    }
    invariant(resets || wrong.empty(), row.name + ": " + wrong);
  }
  const std::atomic<std::int64_t> until{Deadline::in(std::chrono::minutes(5)).ns()};
  invariant(server.stop(until) == 0, "a connection had to be cut");
  invariant(server.connections() == 0, "a connection is left");
}

std::vector<RawCase> all_rows() {
  std::vector<RawCase> rows = protocol::framing_cases();
  for (RawCase& row : protocol::semantics_cases()) rows.push_back(std::move(row));
  return rows;
}

void serve_seeds(bool resets) {
  const TemporaryDirectory site;
  protocol::make_site(site.path());
  const std::vector<RawCase> rows = all_rows();
  REQUIRE(rows.size() >= 480);
  for_each_simulation(10'000, [&](std::uint64_t seed) { serve_rows(seed, site.path(), rows, resets); });
}

}  // namespace

TEST_CASE("the suite over memory: pieces, short writes, little room, any order of fibers", "[protocol][simulation]") {
  serve_seeds(false);
}

TEST_CASE("the suite over memory: broken off behind any byte", "[protocol][simulation]") { serve_seeds(true); }

TEST_CASE("a connection that epoll takes no more is closed and counted, whether or not it has asked for something",
          "[protocol][memory]") {
  for_each_simulation(8, [&](std::uint64_t seed) {
    metric::Registry registry;
    metric::Counter& refused = registry.counter(registry.family({.name = "refused_total", .help = "h"}));
    http::ServerOptions options;
    options.metrics.epoll_refused = &refused;
    auto made = http::Server::make(std::move(options), protocol::raw_site("/"));
    invariant(made.has_value(), "no server");
    http::Server& server = **made;
    const auto link = std::make_shared<MemoryStream::Link>(MemoryFaults{.never_idle = true}, seed);
    server.serve(std::make_unique<MemoryStream>(link));
    MemoryClient client(link);
    if (seed % 2 == 1) client.send("GET /nobody HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int turns = 0; server.connections() != 0 && turns < 10'000; ++turns) runtime::yield();
    invariant(server.connections() == 0, "it is there still");
    invariant(refused.value() == 1, "it was not counted");
    const std::atomic<std::int64_t> until{Deadline::in(std::chrono::seconds(1)).ns()};
    invariant(server.stop(until) == 0, "a connection had to be cut");
  });
}
