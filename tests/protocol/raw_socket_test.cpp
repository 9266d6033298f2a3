// The raw-socket suite against a running server: the codec, the connection's loop, handlers, the answers' framing and
// the close together.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "tests/protocol/framing_cases.hpp"
#include "tests/protocol/raw_site.hpp"
#include "tests/protocol/run_case.hpp"
#include "tests/protocol/semantics_cases.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/secure_server.hpp"
#include "tests/support/tls_client.hpp"

using namespace fiberd;
using namespace fiberd::test;

TEST_CASE("raw sockets: whole, byte by byte, split at random", "[protocol][socket]") {
  const TemporaryDirectory site;
  protocol::make_site(site.path());
  HttpServer server(protocol::raw_site(site.path()));
  std::vector<protocol::RawCase> rows = protocol::framing_cases();
  for (protocol::RawCase& row : protocol::semantics_cases()) rows.push_back(std::move(row));
  REQUIRE(rows.size() >= 480);
  Random random(20261123);
  for (const auto& row : rows) {
    INFO(row.name << " (" << row.rfc << ")");
    CHECK(run_strictly(server.port(), row, {}) == "");
    const std::size_t step = row.bytes.size() < 2000 ? 1 : 61;
    CHECK(run_strictly(server.port(), row, std::vector<std::size_t>(row.bytes.size() / step + 1, step)) == "");
    for (int round = 0; round < 5; ++round) {
      std::vector<std::size_t> pieces;
      const auto most = static_cast<std::uint32_t>(row.bytes.size() < 400 ? 12 : row.bytes.size() / 8);
      for (std::size_t sent = 0; sent < row.bytes.size(); sent += pieces.back())
        pieces.push_back(1 + random.below(most));
      CHECK(run_strictly(server.port(), row, pieces) == "");
    }
  }
}

TEST_CASE("raw sockets: the same rows over TLS", "[protocol][socket][tls]") {
  const TemporaryDirectory site;
  protocol::make_site(site.path());
  SecureServer server(protocol::raw_site(site.path()));
  std::vector<protocol::RawCase> rows = protocol::framing_cases();
  for (protocol::RawCase& row : protocol::semantics_cases()) rows.push_back(std::move(row));
  Random random(20261130);
  std::size_t https = 0;
  for (auto& row : rows) {
    INFO(row.name << " (" << row.rfc << ")");
    // The one thing that is different: an https target is for whoever is secured (RFC 9110 section 7.4).
    if (row.status == 421 && row.bytes.find(" https://") != std::string::npos) {
      ++https;
      row.status = 200;
      row.close = false;
    }
    std::vector<std::size_t> pieces;
    const auto most = static_cast<std::uint32_t>(row.bytes.size() / 3 + 2);
    for (std::size_t sent = 0; sent < row.bytes.size(); sent += pieces.back()) pieces.push_back(1 + random.below(most));
    for (const std::vector<std::size_t>& split : {std::vector<std::size_t>(), pieces}) {
      TlsClient client(server.port(), "http/1.1");
      CHECK(run_strictly(client, row, split) == "");
    }
  }
  CHECK(https != 0);
}
