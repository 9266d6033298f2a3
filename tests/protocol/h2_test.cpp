// The HTTP/2 suite: rows of frames against a running server, over plain connections (prior knowledge).
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "core/tls/acceptor.hpp"
#include "core/tls/server_context.hpp"
#include "tests/protocol/h2_field_cases.hpp"
#include "tests/protocol/h2_frame_cases.hpp"
#include "tests/protocol/raw_site.hpp"
#include "tests/protocol/semantics_cases.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/secure_server.hpp"
#include "tests/support/tls_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using protocol::H2Outcome;

namespace {

/// Empty when the server did what the row says.
std::string run_row(std::unique_ptr<AnswerReader> connection, const protocol::H2Case& row, std::size_t step,
                    bool secured = false) {
  static constexpr std::uint32_t kSentinel = 9001;
  if (secured && row.rfc == "9110 7.4") return {};  // https is what it should be
  http2::Client client(std::move(connection), row.with_preface ? http2::settings() : std::string());
  const bool goes_on = row.outcome != H2Outcome::connection_error;
  std::string bytes = row.bytes;
  if (goes_on) bytes += http2::get(kSentinel, "/sentinel");
  for (std::size_t at = 0; at < bytes.size(); at += step)
    if (!client.send(std::string_view(bytes).substr(at, step))) break;
  if (!goes_on) {
    if (!client.until_closed()) return "the connection goes on";
    if (!client.goaway()) return "ended without GOAWAY";
    return *client.goaway() == row.code ? "" : "GOAWAY says " + std::to_string(*client.goaway());
  }
  if (row.outcome != H2Outcome::ignored) {
    const http2::Reply& reply = client.reply(1);
    if (row.outcome == H2Outcome::answer && (reply.status != row.code || !reply.ended))
      return "answered " + std::to_string(reply.status) +
             (reply.reset ? ", reset " + std::to_string(*reply.reset) : std::string());
    if (row.outcome == H2Outcome::stream_error && (!reply.reset || *reply.reset != row.code))
      return reply.reset ? "reset with " + std::to_string(*reply.reset) : "answered " + std::to_string(reply.status);
  }
  const http2::Reply& sentinel = client.reply(kSentinel);
  if (sentinel.status != 200)
    return "the connection does not go on" +
           (client.goaway() ? ": GOAWAY " + std::to_string(*client.goaway()) : std::string());
  return {};
}

std::unique_ptr<AnswerReader> plain(std::uint16_t port) {
  return std::make_unique<HttpClient>(port, 0, std::chrono::seconds(20));
}

}  // namespace

TEST_CASE("HTTP/2 over TLS: the same rows, and who gets it", "[protocol][h2][tls]") {
  const TemporaryDirectory site;
  protocol::make_site(site.path());
  SecureServer server(protocol::raw_site(site.path()));
  const auto offers = [&](std::string_view protocol) { return std::make_unique<TlsClient>(server.port(), protocol); };
  CHECK(offers("h2")->protocol() == "h2");
  CHECK(offers("http/1.1")->ask(get("/"))->status == 200);
  CHECK(offers("")->ask(get("/"))->status == 200);
  // Who has agreed on HTTP/1.1 is not served by a preface.
  {
    const auto client = offers("http/1.1");
    CHECK(client->ask(std::string(http2::kPreface) + http2::settings())->status == 505);
  }
  http2::Client https(offers("h2"));
  http2::Fields fields = http2::get_fields();
  fields[1].second = "https";
  REQUIRE(https.send(http2::headers(1, fields)));
  CHECK(https.reply(1).status == 200);
  std::vector<protocol::H2Case> rows = protocol::h2_frame_cases();
  for (protocol::H2Case& row : protocol::h2_field_cases()) rows.push_back(std::move(row));
  for (const auto& row : rows) {
    INFO(row.name << " (" << row.rfc << ")");
    CHECK(run_row(offers("h2"), row, SIZE_MAX / 2, true) == "");
  }
}

TEST_CASE("HTTP/2: frames and fields by section", "[protocol][h2]") {
  const TemporaryDirectory site;
  protocol::make_site(site.path());
  HttpServer server(protocol::raw_site(site.path()), http2::h2c_options());
  std::vector<protocol::H2Case> rows = protocol::h2_frame_cases();
  for (protocol::H2Case& row : protocol::h2_field_cases()) rows.push_back(std::move(row));
  REQUIRE(rows.size() >= 300);
  Random random(20261201);
  for (const auto& row : rows) {
    INFO(row.name << " (" << row.rfc << ")");
    CHECK(run_row(plain(server.port()), row, SIZE_MAX / 2) == "");
    if (row.bytes.size() < 600 && !row.in_one_piece)
      CHECK(run_row(plain(server.port()), row, 1 + random.below(20)) == "");
  }
}
