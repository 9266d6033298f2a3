// PROXY headers: however the bytes are cut into pieces, the same is read, and no more bytes are taken than the header
// has. An address that version 1 tells, written anew, is the line that was read.
#include <algorithm>
#include <string>

#include "core/net/proxy_protocol.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using net::ProxyHeader;
using State = ProxyHeader::State;

namespace {

std::string text(const net::Endpoint& e) { return e.family() == AF_UNSPEC ? "" : e.to_string(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  std::uint64_t cuts = fuzz::take(input, 2);

  ProxyHeader whole;
  std::size_t used = 0;
  (void)whole.feed(input, used);
  FUZZ_CHECK(used <= input.size() && used <= ProxyHeader::kMaxV2);
  FUZZ_CHECK(whole.state() != State::more || used == input.size());
  FUZZ_CHECK((whole.state() == State::refused) == (whole.why() != net::ProxyRefusal::none));
  FUZZ_CHECK(!whole.local() || whole.state() != State::done || whole.source().family() == AF_UNSPEC);

  ProxyHeader cut;
  std::size_t total = 0;
  while (cut.state() == State::more && total < input.size()) {
    cuts = cuts * 6364136223846793005U + 1442695040888963407U;
    const std::string_view piece = input.substr(total, 1 + (cuts >> 60U));
    std::size_t part = 0;
    (void)cut.feed(piece, part);
    FUZZ_CHECK(part <= piece.size() && (part == piece.size() || cut.state() != State::more));
    total += part;
  }
  FUZZ_CHECK(total == used && cut.state() == whole.state() && cut.why() == whole.why());
  FUZZ_CHECK(text(cut.source()) == text(whole.source()) && text(cut.destination()) == text(whole.destination()));

  if (whole.state() == State::done && input.starts_with('P') && !whole.local()) {
    const std::string_view line = input.substr(0, used);
    FUZZ_CHECK(used <= ProxyHeader::kMaxV1 && line.ends_with("\r\n") && std::count(line.begin(), line.end(), ' ') == 5);
    const std::string ports =
        " " + std::to_string(whole.source().port()) + " " + std::to_string(whole.destination().port()) + "\r\n";
    FUZZ_CHECK(line.ends_with(ports));
    if (line.starts_with("PROXY TCP4 "))
      FUZZ_CHECK(line == "PROXY TCP4 " + whole.source().host() + " " + whole.destination().host() + ports);
  }
  return 0;
}
