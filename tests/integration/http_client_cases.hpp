#pragma once
// What the tests of the client have in common: answers of an upstream, bodies that it is sent, and one that looks at
// what it gets.
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/http/client/client.hpp"
#include "tests/support/hostile_upstream.hpp"

namespace fiberd::test {

inline const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
inline const std::string kSecond = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";

/// Some pieces, then an end or an error.
class Pieces final : public http::BodySource {
 public:
  explicit Pieces(std::vector<std::string> pieces, std::error_code error = {})
      : pieces_(std::move(pieces)), error_(error) {}
  Result<std::string_view> read(const context::Context& /*ctx*/) override {
    if (next_ == pieces_.size()) {
      if (error_) return fail(error_);
      return std::string_view();
    }
    return pieces_[next_++];
  }

 private:
  const std::vector<std::string> pieces_;
  const std::error_code error_;
  std::size_t next_ = 0;
};

inline std::string repeat(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

/// Head and body of the last request, whatever it is.
struct Seen {
  std::string head;
  std::string body;
};
inline HostileUpstream::Script notes(Seen& seen, std::string answer = kOk) {
  return [&seen, answer = std::move(answer)](UpstreamPeer& peer) {
    while (const auto head = peer.read_head()) {
      seen.head = *head;
      const auto body = peer.read_body(*head);
      if (!body) return;
      seen.body = *body;
      peer.send(answer);
    }
  };
}

}  // namespace fiberd::test
