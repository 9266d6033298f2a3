// What proxies tell of the client: whatever stands before it, the address that the last proxy wrote is the client's, in
// X-Forwarded-For and in Forwarded; nothing is believed of a peer that is not trusted; and an address that comes out is
// one that stands there.
#include <string>
#include <vector>

#include "core/http/forwarded.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using http::ForwardedField;

namespace {

/// A head of one field.
struct Head {
  Head(std::string_view name, std::string_view value) : text(std::string(name) + ": " + std::string(value)) {
    span = {0, static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(name.size() + 2),
            static_cast<std::uint32_t>(value.size())};
  }
  [[nodiscard]] http::HeaderView view() const { return {text.data(), &span, 1}; }
  std::string text;
  http::FieldSpan span;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const net::AddressRanges trusted =
      *net::AddressRanges::make(std::vector<std::string>{"10.0.0.0/8", "fd00::/8"});
  static const net::Endpoint proxy = net::Endpoint::v4(0x0a000001, 80);
  static const net::Endpoint stranger = net::Endpoint::v4(0xcb007101, 80);
  const std::string text(fuzz::text(data, size));
  for (const ForwardedField field : {ForwardedField::x_forwarded_for, ForwardedField::forwarded}) {
    const bool standard = field == ForwardedField::forwarded;
    const char* const name = standard ? "Forwarded" : "X-Forwarded-For";
    const Head head(name, text);
    const net::Endpoint told = http::client_address(proxy, head.view(), trusted, field);
    FUZZ_CHECK(told.family() == AF_INET || told.family() == AF_INET6);
    FUZZ_CHECK(http::client_address(stranger, head.view(), trusted, field).to_string() == stranger.to_string());
    (void)http::client_scheme(proxy, head.view(), trusted, field);
    // As a proxy appends.
    const Head appended(name, text + (standard ? ", for=\"203.0.113.9:7\"" : ", 203.0.113.9:7"));
    FUZZ_CHECK(http::client_address(proxy, appended.view(), trusted, field).to_string() == "203.0.113.9:7");
    const Head twice(name, text + (standard ? ",for=203.0.113.9;proto=http,for=10.9.9.9" : ",203.0.113.9 , 10.9.9.9"));
    FUZZ_CHECK(http::client_address(proxy, twice.view(), trusted, field).to_string() == "203.0.113.9:0");
  }
  const net::Endpoint node = http::parse_node(text);
  if (node.family() != AF_UNSPEC) FUZZ_CHECK(http::parse_node(node.to_string()).to_string() == node.to_string());
  return 0;
}
