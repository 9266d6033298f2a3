// The guard and the request parser: the verdict does not depend on how the bytes arrive, and what a complete head says
// lies within it.
#include <array>
#include <string>

#include "core/base/random.hpp"
#include "core/http/h1/parser.hpp"
#include "core/http/path.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

namespace {

struct Seen {
  http::Verdict verdict;
  http::Reject reason;
  std::size_t consumed;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen seen(const http::RequestParser& parser, http::Verdict verdict) {
  return {verdict, verdict == http::Verdict::refused ? parser.reason() : http::Reject::none,
          verdict == http::Verdict::complete ? parser.consumed() : 0};
}

bool within(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view message = fuzz::text(data, size);
  Random random(fuzz::take(message, 2));
  http::HeadLimits limits;
  limits.header_size = 2048;
  limits.target_size = 512;
  limits.header_fields = 20;

  http::RequestParser whole(limits);
  const http::Verdict verdict = whole.parse(message.data(), message.size());
  const Seen expected = seen(whole, verdict);

  // The buffer moves and grows between the calls, as a connection's does.
  http::RequestParser pieces(limits);
  http::Verdict last = http::Verdict::need_more;
  std::string buffer;
  while (last == http::Verdict::need_more && buffer.size() < message.size()) {
    const std::size_t n = 1 + random.below(random.below(4) == 0 ? 64 : 3);
    buffer = std::string(message.substr(0, buffer.size() + n));
    last = pieces.parse(buffer.data(), buffer.size());
  }
  FUZZ_CHECK(seen(pieces, last) == expected);
  FUZZ_CHECK(verdict != http::Verdict::refused || http::status_of(whole.reason()) >= 400);
  if (verdict != http::Verdict::complete) return 0;

  FUZZ_CHECK(whole.consumed() <= message.size() && whole.consumed() <= limits.header_size);
  const std::string_view head = message.substr(0, whole.consumed());
  FUZZ_CHECK(head.ends_with("\r\n\r\n"));
  const http::WireRequest r = whole.request(message.data());
  for (const std::string_view part : {r.method_text, r.target, r.host, r.query}) FUZZ_CHECK(within(part, head));
  FUZZ_CHECK(r.path == "/" || within(r.path, head));
  FUZZ_CHECK(http::is_token(r.method_text));
  FUZZ_CHECK(r.headers.size() <= limits.header_fields);
  for (std::size_t i = 0; i < r.headers.size(); ++i) {
    FUZZ_CHECK(within(r.headers[i].name, head) && within(r.headers[i].value, head));
    FUZZ_CHECK(http::is_token(r.headers[i].name) && http::is_field_value(r.headers[i].value));
  }
  if (r.framing == http::Framing::chunked) {
    FUZZ_CHECK(!r.headers.has("content-length") && r.version == http::Version::http11);
  }
  std::array<char, 512> scratch;
  (void)http::normalise_path(r.path, scratch);
  return 0;
}
