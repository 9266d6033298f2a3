#include "core/net/proxy_protocol.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

using namespace fiberd;
using net::ProxyHeader;
using net::ProxyRefusal;
using State = ProxyHeader::State;

namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string v2(unsigned command, unsigned family, const std::string& body, int claimed = -1) {
  const auto size = static_cast<unsigned>(claimed < 0 ? static_cast<int>(body.size()) : claimed);
  return kSignature +
         std::string{static_cast<char>(command), static_cast<char>(family), static_cast<char>(size >> 8U),
                     static_cast<char>(size & 255U)} +
         body;
}

const std::string kV4Body("\x0a\x01\x02\x03\xc0\x00\x02\x01\x30\x39\x01\xbb", 12);
const std::string kV6Body = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x01" +
                            std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x02" + "\x30\x39\x01\xbb";

struct Outcome {
  State state;
  std::size_t used;
  ProxyRefusal why;
  bool local;
  std::string source;
  std::string destination;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

std::string text(const net::Endpoint& e) { return e.family() == AF_UNSPEC ? "none" : e.to_string(); }

Outcome read(std::string_view bytes, std::size_t piece) {
  ProxyHeader header;
  std::size_t total = 0;
  while (total < bytes.size()) {
    std::size_t used = 0;
    const std::string_view next = bytes.substr(total, piece);
    (void)header.feed(next, used);
    total += used;
    if (used != next.size() || header.state() != State::more) break;
  }
  return {header.state(), total, header.why(), header.local(), text(header.source()), text(header.destination())};
}

/// However it is cut into pieces.
Outcome read(std::string_view bytes) {
  const Outcome whole = read(bytes, bytes.size() + 1);
  for (const std::size_t piece : {1U, 2U, 3U, 5U, 7U, 11U, 16U, 28U, 106U})
    if (const Outcome cut = read(bytes, piece); !(cut == whole)) FAIL("in pieces of " << piece << " it is another");
  return whole;
}

Outcome refused(ProxyRefusal why, std::size_t used) { return {State::refused, used, why, true, "none", "none"}; }

}  // namespace

TEST_CASE("PROXY version 1 tells the client's address, and what is behind it is left", "[net][proxy_protocol]") {
  const std::string line = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
  CHECK(read(line + "GET / HTTP/1.1\r\n") ==
        Outcome{State::done, line.size(), ProxyRefusal::none, false, "192.0.2.1:56324", "198.51.100.2:443"});
  const std::string six = "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
  CHECK(read(six + "\r\n") ==
        Outcome{State::done, six.size(), ProxyRefusal::none, false, "[2001:db8::1]:0", "[::1]:65535"});
  for (const std::string unknown :
       {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", "PROXY UNKNOWN what ever\r\n"})
    CHECK(read(unknown + "x") == Outcome{State::done, unknown.size(), ProxyRefusal::none, true, "none", "none"});
  // The longest line there can be.
  const std::string longest = "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n";
  REQUIRE(longest.size() == ProxyHeader::kMaxV1);
  CHECK(read(longest).state == State::done);
}

TEST_CASE("a PROXY line that is none is refused at the first wrong byte", "[net][proxy_protocol]") {
  CHECK(read("GET / HTTP/1.1\r\n\r\n") == refused(ProxyRefusal::signature, 0));
  CHECK(read("POST / HTTP/1.1\r\n\r\n") == refused(ProxyRefusal::signature, 1));
  CHECK(read("PROXX") == refused(ProxyRefusal::signature, 4));
  CHECK(read("PROXY UNKNOWN " + std::string(200, 'x')) == refused(ProxyRefusal::too_long, 106));
  CHECK(read("PROXY UNKNOWN\n") == refused(ProxyRefusal::malformed_line, 13));
  CHECK(read("PROXY UNKNOWN\rx") == refused(ProxyRefusal::malformed_line, 14));
  for (const std::string bad :
       {"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n", "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n", "PROXY TCP4 192.0.2.1 198.51.100.2 056 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP4 a b 1 2\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.2 56324 443\r\n", "PROXY \r\n", "PROXY TCP4\r\n", "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n", "PROXY TCP4\t192.0.2.1 198.51.100.2 56324 443\r\n"}) {
    CAPTURE(bad);
    CHECK(read(bad) == refused(ProxyRefusal::malformed_line, bad.size()));
  }
}

TEST_CASE("PROXY version 2 tells addresses of each family", "[net][proxy_protocol]") {
  CHECK(read(v2(0x21, 0x11, kV4Body) + "GET") ==
        Outcome{State::done, 28, ProxyRefusal::none, false, "10.1.2.3:12345", "192.0.2.1:443"});
  CHECK(read(v2(0x21, 0x21, kV6Body) + "GET") ==
        Outcome{State::done, 52, ProxyRefusal::none, false, "[2001:db8::1]:12345", "[2001:db8::2]:443"});
  const std::string unix_body = "/run/client" + std::string(97, '\0') + "/run/server" + std::string(97, '\0');
  CHECK(read(v2(0x21, 0x31, unix_body) + "GET") ==
        Outcome{State::done, 232, ProxyRefusal::none, false, "unix:/run/client", "none"});
  CHECK(read(v2(0x21, 0x31, std::string(216, 'p'))).source == "unix:" + std::string(107, 'p'));
}

TEST_CASE("PROXY version 2 skips what is not addresses", "[net][proxy_protocol]") {
  const std::string tlvs = std::string("\x04\x00\x03", 3) + "abc" + std::string(500, 't');
  CHECK(read(v2(0x21, 0x11, kV4Body + tlvs) + "GET") ==
        Outcome{State::done, 28 + tlvs.size(), ProxyRefusal::none, false, "10.1.2.3:12345", "192.0.2.1:443"});
  const Outcome local{State::done, 16, ProxyRefusal::none, true, "none", "none"};
  CHECK(read(v2(0x20, 0x00, "") + "GET") == local);
  CHECK(read(v2(0x21, 0x00, "") + "GET") == local);
  CHECK(read(v2(0x20, 0x11, kV4Body)).local);
  CHECK(read(v2(0x20, 0x11, "xy") + "GET").used == 18);
  CHECK(read(v2(0x21, 0x01, std::string(300, 'u')) + "GET").used == 316);
  CHECK(read(v2(0x21, 0x10, kV4Body)).local);
  CHECK(read(v2(0x21, 0x11, kV4Body + std::string(4068, 't')) + "GET").used == ProxyHeader::kMaxV2);
}

TEST_CASE("a PROXY version 2 header that lies is refused", "[net][proxy_protocol]") {
  CHECK(read(kSignature.substr(0, 4) + "GET") == refused(ProxyRefusal::signature, 4));
  CHECK(read("\r\n\r\nGET / HTTP/1.1\r\n") == refused(ProxyRefusal::signature, 4));
  CHECK(read(v2(0x11, 0x11, kV4Body)) == refused(ProxyRefusal::version, 16));
  CHECK(read(v2(0x31, 0x11, kV4Body)) == refused(ProxyRefusal::version, 16));
  CHECK(read(v2(0x22, 0x11, kV4Body)) == refused(ProxyRefusal::command, 16));
  CHECK(read(v2(0x21, 0x41, kV4Body)) == refused(ProxyRefusal::family, 16));
  CHECK(read(v2(0x21, 0x13, kV4Body)) == refused(ProxyRefusal::family, 16));
  CHECK(read(v2(0x21, 0x11, kV4Body, 11)) == refused(ProxyRefusal::too_short, 16));
  CHECK(read(v2(0x21, 0x21, kV4Body)) == refused(ProxyRefusal::too_short, 16));
  CHECK(read(v2(0x21, 0x31, kV6Body)) == refused(ProxyRefusal::too_short, 16));
  CHECK(read(v2(0x21, 0x11, kV4Body, 4081)) == refused(ProxyRefusal::too_long, 16));
  CHECK(read(v2(0x20, 0x00, "", 65535)) == refused(ProxyRefusal::too_long, 16));
}

TEST_CASE("a PROXY header that drips is awaited to its last byte, and nothing beyond is taken",
          "[net][proxy_protocol]") {
  for (const std::string& header : {std::string("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
                                    v2(0x21, 0x21, kV6Body + "tlv"), v2(0x20, 0, "")}) {
    ProxyHeader reader;
    std::size_t used = 0;
    for (std::size_t i = 0; i < header.size(); ++i) {
      REQUIRE(reader.state() == State::more);
      REQUIRE(reader.feed({}, used) == State::more);
      (void)reader.feed(std::string_view(header).substr(i, 1), used);
      REQUIRE(used == 1);
    }
    CHECK(reader.state() == State::done);
    CHECK(reader.feed("GET", used) == State::done);
    CHECK(used == 0);
  }
}

TEST_CASE("what turned out to be no PROXY header is handed back", "[net][proxy_protocol]") {
  for (const std::string& request : std::vector<std::string>{"GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n",
                                                             "PROPFIND / HTTP/1.1\r\n", "\r\n\r\nGET"}) {
    ProxyHeader reader;
    std::string replayed;
    std::size_t at = 0;
    while (reader.state() == State::more) {
      std::size_t used = 0;
      (void)reader.feed(std::string_view(request).substr(at, 1), used);
      at += used;
    }
    replayed = std::string(reader.taken()) + request.substr(at);
    CHECK(replayed == request);
  }
  ProxyHeader v2_reader;
  std::size_t used = 0;
  (void)v2_reader.feed(v2(0x21, 0x11, kV4Body), used);
  CHECK(v2_reader.version() == 2);
  CHECK(v2_reader.taken().empty());
  ProxyHeader v1_reader;
  (void)v1_reader.feed("PROXY UNKNOWN\r\n", used);
  CHECK(v1_reader.version() == 1);
}
