#pragma once
// Sends a row to a server and tells what the server did wrong. No wait here is for silence: to a message after which
// the connection must live a request is appended and its answer expected; where it must end, the end of the stream is;
// where the server must wait, the client half-closes and expects the end, with a 400 where a body was begun and else
// without an answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/protocol/raw_case.hpp"
#include "tests/support/http_fixture.hpp"

namespace fiberd::protocol {

inline const std::string kSentinel = "GET /sentinel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

inline bool send_pieces(test::AnswerReader& client, std::string_view bytes, const std::vector<std::size_t>& pieces) {
  for (const std::size_t n : pieces) {
    if (!client.send(bytes.substr(0, n))) return false;
    bytes.remove_prefix(std::min(n, bytes.size()));
  }
  return client.send(bytes);
}

inline bool to_head(const RawCase& row, unsigned answer) { return answer == 1 && row.bytes.starts_with("HEAD "); }

/// A 204 says the same as an empty 200.
inline unsigned plain(unsigned status) { return status == 204 ? 200 : status; }

inline std::string missing_field(const RawCase& row, const test::Answer& answer) {
  if (row.field.empty()) return {};
  const std::string value = answer.field(row.field);
  if (!value.empty() && value.find(row.value) != std::string::npos) return {};
  return row.field + " is \"" + value + "\" and not \"" + row.value + "\"";
}

/// Empty when the server did to the letter what the row says, house rules included.
inline std::string run_strictly(test::AnswerReader& client, const RawCase& row,
                                const std::vector<std::size_t>& pieces) {
  const bool waits = row.answers == 0;
  (void)send_pieces(client, !waits && !row.close ? row.bytes + kSentinel : row.bytes, pieces);
  if (waits) {
    client.finish_sending();
    // A head that was complete is answered: its body can no longer be.
    if (row.bytes.find("\r\n\r\n") != std::string::npos) {
      const std::optional<test::Answer> answer = client.receive();
      if (!answer || answer->status != 400) return "no 400 to a body that was cut";
    }
    if (!client.wait_end()) return "answered or cut an incomplete message: " + client.rest();
    return {};
  }
  const bool may_be_reset = row.behind_close && !pieces.empty();
  for (unsigned i = 1; i <= row.answers; ++i) {
    const bool is_last = i == row.answers;
    const std::optional<test::Answer> answer = client.receive(to_head(row, i));
    if (!answer && may_be_reset && client.error() == ECONNRESET) return {};
    if (!answer) return "answer " + std::to_string(i) + " is missing; errno " + std::to_string(client.error());
    const unsigned expected = is_last ? row.status : 200;
    if (plain(answer->status) != plain(expected))
      return "status " + std::to_string(answer->status) + " instead of " + std::to_string(expected);
    if (!answer->head.starts_with("HTTP/1.1 ")) return "another version: " + answer->head;
    if (answer->field("Date").empty()) return "no Date";
    if (is_last && row.close != (answer->field("Connection") == "close"))
      return row.close ? "no Connection: close" : "Connection: close";
    if (is_last)
      if (std::string wrong = missing_field(row, *answer); !wrong.empty()) return wrong;
  }
  if (!row.close) {
    const std::optional<test::Answer> answer = client.receive();
    if (!answer || answer->status != 200 || answer->body != "sentinel")
      return "the connection was not usable afterwards";
  }
  if (!client.wait_end() && !(may_be_reset && client.error() == ECONNRESET && client.rest().empty()))
    return "no orderly end; errno " + std::to_string(client.error()) + ", rest: " + client.rest();
  return {};
}

inline std::string run_strictly(std::uint16_t port, const RawCase& row, const std::vector<std::size_t>& pieces) {
  test::HttpClient client(port);
  return run_strictly(client, row, pieces);
}

/// Empty when the server did something that the RFC allows. What is malformed may be refused with any error, or the
/// connection closed without a word; but it may not be served, nor anything behind it. What is fine must be served as
/// often as asked for; whether the connection lives on is the server's choice.
inline std::string run_leniently(std::uint16_t port, const RawCase& row, std::chrono::milliseconds patience) {
  const bool refusal = row.close && row.status >= 400;
  test::HttpClient client(port, 0, patience);
  const bool waits = row.answers == 0;
  (void)send_pieces(client, waits ? row.bytes : row.bytes + kSentinel, {});
  if (waits) client.finish_sending();
  const unsigned expected = row.answers;
  for (unsigned i = 1; i <= std::max(expected, 1U); ++i) {
    std::optional<test::Answer> answer;
    try {
      answer = client.receive(to_head(row, i));
    } catch (const std::runtime_error&) {
      return "an answer without a head";
    }
    if (!answer) {
      if (waits || (refusal && i == expected)) return client.error() == EAGAIN ? "no answer and no end" : "";
      return "answer " + std::to_string(i) + " is missing";
    }
    const unsigned status = answer->status;
    if (waits) return status >= 400 ? "" : "an incomplete message is answered with " + std::to_string(status);
    if (i < expected) {
      if (plain(status) != 200) return "status " + std::to_string(status) + " instead of 200";
      continue;
    }
    const bool allowed = plain(status) == plain(row.status) ||
                         std::find(row.also.begin(), row.also.end(), plain(status)) != row.also.end();
    if (!allowed && !(refusal && status >= 400))
      return "status " + std::to_string(status) + " instead of " + std::to_string(row.status);
    if (plain(status) == plain(row.status))
      if (std::string wrong = missing_field(row, *answer); !wrong.empty()) return wrong;
  }
  if (row.close) {
    const std::optional<test::Answer> more = client.receive();
    if (more) return "goes on after what must end the connection";
    if (client.error() == EAGAIN) return "does not close";
  }
  return {};
}

}  // namespace fiberd::protocol
