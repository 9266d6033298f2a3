// The framing table against a running server over real sockets: the codec, the connection's loop, the answers' framing
// and the close together. No test here waits for silence. To a message after which the connection must live a request
// is appended and its answer expected; where it must end, the end of the stream is; where the server must wait, the
// client half-closes and expects the end, with a 400 where a body was begun and else without an answer.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/random.hpp"
#include "tests/protocol/framing_cases.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

/// Reads the whole body before it answers, so that every refusal can still be told by its status.
std::error_code collect(http::Exchange& ex) {
  std::string body;
  for (;;) {
    const Result<std::string_view> piece = ex.read_body();
    if (!piece) return piece.error();
    if (piece->empty()) return ex.respond(200, "application/octet-stream", body);
    body += *piece;
  }
}

/// Empty when the server did what the row says.
std::string run(const HttpServer& server, const protocol::FramingCase& row, const std::vector<std::size_t>& pieces) {
  HttpClient client(server.port());
  std::string bytes = row.bytes;
  const bool waits = row.answers == 0;
  if (!waits && !row.close) bytes += "GET /sentinel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  std::string_view rest = bytes;
  for (const std::size_t n : pieces) {
    if (!client.send(rest.substr(0, n))) break;
    rest.remove_prefix(std::min(n, rest.size()));
  }
  (void)client.send(rest);
  if (waits) {
    client.finish_sending();
    // A head that was complete is answered: its body can no longer be.
    if (row.bytes.find("\r\n\r\n") != std::string::npos) {
      const std::optional<Answer> answer = client.receive();
      if (!answer || answer->status != 400) return "no 400 to a body that was cut";
    }
    if (!client.wait_end()) return "answered or cut an incomplete message: " + client.rest();
    return {};
  }
  for (unsigned i = 1; i <= row.answers; ++i) {
    const bool to_head = i == 1 && row.bytes.starts_with("HEAD ");
    const std::optional<Answer> answer = client.receive(to_head);
    if (!answer) return "answer " + std::to_string(i) + " is missing; errno " + std::to_string(client.error());
    const unsigned expected = i == row.answers ? row.status : 200;
    // OPTIONS * has no content.
    const unsigned got = answer->status == 204 ? 200 : answer->status;
    if (got != expected) return "status " + std::to_string(got) + " instead of " + std::to_string(expected);
    if (answer->field("Date").empty()) return "no Date";
    const bool closes = answer->field("Connection") == "close";
    if (i == row.answers && row.close != closes) return row.close ? "no Connection: close" : "Connection: close";
  }
  if (!row.close) {
    const std::optional<Answer> answer = client.receive();
    if (!answer || answer->status != 200 || answer->body != "sentinel")
      return "the connection was not usable afterwards";
  }
  if (!client.wait_end()) return "no orderly end; errno " + std::to_string(client.error()) + ", rest: " + client.rest();
  return {};
}

}  // namespace

TEST_CASE("framing cases over a socket: whole, byte by byte, split at random", "[protocol][socket]") {
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()},
                     {.spec = {.path = "/sentinel"},
                      .handler = *http::make_respond_handler({.content_type = "text/plain", .body = "sentinel"})},
                     {.spec = {.path = "/echo"}, .handler = handler(collect)}});
  Random random(20261123);
  for (const auto& row : protocol::framing_cases()) {
    INFO(row.name << " (" << row.rfc << ")");
    CHECK(run(server, row, {}) == "");
    const std::size_t step = row.bytes.size() < 2000 ? 1 : 61;
    CHECK(run(server, row, std::vector<std::size_t>(row.bytes.size() / step + 1, step)) == "");
    for (int round = 0; round < 5; ++round) {
      std::vector<std::size_t> pieces;
      const auto most = static_cast<std::uint32_t>(row.bytes.size() < 400 ? 12 : row.bytes.size() / 8);
      for (std::size_t sent = 0; sent < row.bytes.size(); sent += pieces.back())
        pieces.push_back(1 + random.below(most));
      CHECK(run(server, row, pieces) == "");
    }
  }
}
