// The framing table against the codec alone: the answers a server built on it would give, for every way of splitting.
#include <catch2/catch.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "core/http/h1/body_decoder.hpp"
#include "core/http/h1/parser.hpp"
#include "core/http/path.hpp"
#include "core/http/site/router.hpp"
#include "tests/protocol/framing_cases.hpp"

using namespace fiberd;
using namespace fiberd::http;

namespace {

struct Outcome {
  unsigned status = 0;
  bool close = false;
  unsigned answers = 0;
  std::string content;
  std::size_t consumed = 0;  // of the whole stream, up to the end of the last message or the byte refused
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

const Router& router() {
  static const Router r = *Router::make({{.path = "/"}, {.path = "/echo"}});
  return r;
}

/// The smallest connection there is. It moves its buffer at each feed, as a server may.
class Connection {
 public:
  void feed(std::string_view bytes) {
    if (out_.close) return;
    std::string moved = buffer_ + std::string(bytes);
    buffer_.swap(moved);
    while (!out_.close && step()) {
    }
  }
  [[nodiscard]] const Outcome& outcome() const { return out_; }

 private:
  bool step() {
    if (!in_body_) {
      const Verdict v = parser_.parse(buffer_.data(), buffer_.size());
      if (v == Verdict::need_more) return false;
      if (v == Verdict::refused) return refuse(parser_.reason(), parser_.consumed());
      const WireRequest r = parser_.request(buffer_.data());
      keep_alive_ = r.keep_alive;
      std::string scratch(r.path.size(), '\0');
      std::string_view path = r.path;
      if (r.form == TargetForm::origin || r.form == TargetForm::absolute) {
        const NormalisedPath n = normalise_path(r.path, scratch);
        if (n.reason != Reject::none) return refuse(n.reason, parser_.consumed());
        path = n.path;
      }
      using Kind = RouteMatch::Kind;
      const Kind kind = router().match(r.method, r.host, path).kind;
      status_ = kind == Kind::not_implemented ? 501 : kind == Kind::not_found ? 404 : 200;
      if (kind == Kind::method_not_allowed) status_ = 405;
      keep_alive_ = keep_alive_ && status_ != 501;
      const bool fits = body_.start(r.framing, r.content_length.value_or(0));
      consume(parser_.consumed());
      if (!fits) return refuse(body_.reason(), 0);
      in_body_ = true;
    }
    for (;;) {
      const BodyDecoder::Step s = body_.decode(buffer_.data(), buffer_.size());
      out_.content += s.data;
      const BodyDecoder::Status status = s.status;
      if (status == BodyDecoder::Status::refused) return refuse(body_.reason(), s.consumed);
      consume(s.consumed);
      if (status == BodyDecoder::Status::need_more) return false;
      if (status == BodyDecoder::Status::done) break;
    }
    in_body_ = false;
    parser_.reset();
    ++out_.answers;
    out_.status = status_;
    out_.close = !keep_alive_;
    return true;
  }
  void consume(std::size_t n) {
    buffer_.erase(0, n);
    out_.consumed += n;
  }
  bool refuse(Reject reason, std::size_t at) {
    REQUIRE(status_of(reason) != 0);
    // The second opinion may only ever repeat the guard's.
    REQUIRE(reason != Reject::parser_disagrees);
    out_.consumed += at;
    ++out_.answers;
    out_.status = status_of(reason);
    out_.close = true;
    return false;
  }

  RequestParser parser_;
  BodyDecoder body_;
  std::string buffer_;
  bool in_body_ = false;
  bool keep_alive_ = true;
  unsigned status_ = 0;
  Outcome out_;
};

Outcome run_split(const std::string& bytes, std::size_t piece) {
  Connection c;
  for (std::size_t i = 0; i < bytes.size(); i += piece) c.feed(std::string_view(bytes).substr(i, piece));
  return c.outcome();
}

Outcome run_random(const std::string& bytes, std::uint64_t seed) {
  Random random(seed);
  // Small pieces for small messages, and some of them empty.
  const auto most = static_cast<std::uint32_t>(bytes.size() < 400 ? 12 : bytes.size() / 8);
  Connection c;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t n = random.below(most);
    c.feed(std::string_view(bytes).substr(i, n));
    i += n;
  }
  return c.outcome();
}

}  // namespace

TEST_CASE("framing cases: the right answer, however the bytes are split", "[protocol]") {
  const auto cases = protocol::framing_cases();
  REQUIRE(cases.size() >= 390);
  for (const auto& row : cases) {
    INFO(row.name << " (" << row.rfc << ")");
    const Outcome whole = run_split(row.bytes, row.bytes.size() + 1);
    // A pipeline's earlier answers stand; `wait` rows have none.
    CHECK(whole.status == row.status);
    CHECK(whole.close == row.close);
    CHECK(whole.answers == row.answers);
    // Heads of 16 KiB byte by byte move the buffer too often to be worth it: seven bytes hit every phase too.
    const bool bytewise = run_split(row.bytes, row.bytes.size() < 2000 ? 1 : 7) == whole;
    CHECK(bytewise);
    const std::uint64_t rounds = row.bytes.size() < 2000 ? 200 : 20;
    std::uint64_t failing_seed = 0;
    for (std::uint64_t seed = 1; seed <= rounds && failing_seed == 0; ++seed) {
      if (!(run_random(row.bytes, seed) == whole)) failing_seed = seed;
    }
    CHECK(failing_seed == 0);
  }
}

TEST_CASE("mutated requests: one verdict for all splits", "[protocol]") {
  const auto cases = protocol::framing_cases();
  Random random(20261123);
  std::string failing;
  for (int round = 0; round < 5000 && failing.empty(); ++round) {
    std::string bytes = cases[random.below(static_cast<std::uint32_t>(cases.size()))].bytes;
    if (bytes.empty() || bytes.size() > 1000) continue;
    for (std::uint32_t edits = 1 + random.below(3); edits > 0 && !bytes.empty(); --edits) {
      const std::size_t at = random.below(static_cast<std::uint32_t>(bytes.size()));
      constexpr std::string_view interesting(
          "\r\n\t :;,\0\x7f\xff"
          "0aZ%=\"/\\",
          18);
      const char c = interesting[random.below(18)];
      switch (random.below(3)) {
        case 0: bytes[at] = c; break;
        case 1: bytes.insert(at, 1, c); break;
        default: bytes.erase(at, 1); break;
      }
    }
    const Outcome whole = run_split(bytes, bytes.size() + 1);
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      if (!(run_random(bytes, seed) == whole)) failing = bytes;
    }
    if (!(run_split(bytes, 1) == whole)) failing = bytes;
  }
  CHECK(failing.empty());
}
