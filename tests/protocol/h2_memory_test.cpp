// The HTTP/2 suite's bytes over memory, in simulations: by seeds every way in which a network may hand over bytes and
// break off, on every order in which fibers may run. What is answered the suite over sockets knows; here every
// connection must end, and leave nobody.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "tests/protocol/h2_field_cases.hpp"
#include "tests/protocol/h2_frame_cases.hpp"
#include "tests/protocol/raw_site.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/memory_stream.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

std::string row_bytes(const std::vector<protocol::H2Case>& rows, Random& random) {
  const protocol::H2Case& row = rows[random.below(static_cast<std::uint32_t>(rows.size()))];
  std::string bytes;
  if (row.with_preface) bytes = std::string(http2::kPreface) + http2::settings();
  bytes += row.bytes;
  const auto requests = random.below(30);
  for (std::uint32_t id = 9001; id < 9001 + 2 * requests; id += 2) {
    bytes += random.below(2) == 0 ? http2::get(id, "/sentinel") : http2::post(id, "some body");
    if (random.below(4) == 0) bytes += http2::rst(id, http2::kCancel);
  }
  return bytes;
}

void serve_seed(std::uint64_t seed, const std::vector<protocol::H2Case>& rows) {
  Random random(seed);
  auto made = http::Server::make(http2::h2c_options(), protocol::raw_site("/"));
  invariant(made.has_value(), "no server");
  http::Server& server = **made;
  const std::string bytes = row_bytes(rows, random);
  MemoryFaults faults;
  faults.most_read = random.below(3) == 0 ? 1U << 20U : 1 + random.below(random.below(2) == 0 ? 9 : 4000);
  faults.most_write = random.below(3) == 0 ? 1U << 20U : 1 + random.below(random.below(2) == 0 ? 20 : 4000);
  faults.room = random.below(3) == 0 ? std::size_t{64} * 1024 : 1 + random.below(2000);
  faults.would_block = random.below(2) == 0 ? 0 : random.below(60);
  if (random.below(2) == 0) faults.reset_after = 1 + random.below(static_cast<std::uint32_t>(bytes.size()) + 2000);
  const auto link = std::make_shared<MemoryStream::Link>(faults, random.next());
  server.serve(std::make_unique<MemoryStream>(link));
  MemoryClient client(link);
  (void)client.send(bytes);
  if (random.below(2) == 0) client.finish_sending();
  while (client.more()) {
  }
  const std::atomic<std::int64_t> until{Deadline::in(std::chrono::minutes(5)).ns()};
  (void)server.stop(until);
  invariant(server.connections() == 0, "a connection is left");
}

}  // namespace

TEST_CASE("h2 over memory: pieces, short writes, little room, broken off behind any byte", "[h2][simulation]") {
  std::vector<protocol::H2Case> rows = protocol::h2_frame_cases();
  for (protocol::H2Case& row : protocol::h2_field_cases()) rows.push_back(std::move(row));
  for_each_simulation(2'000, [&](std::uint64_t seed) { serve_seed(seed, rows); });
}
