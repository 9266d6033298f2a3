#include "tests/bench/attack/mutations.hpp"

#include <algorithm>
#include <iterator>
#include <random>
#include <string_view>

namespace attack {

using namespace std::string_view_literals;

// Well-formed ones first, so that a flipped byte lands in what is nearly served; then some that are hostile as they
// are.
static constexpr std::string_view kTemplates[] = {
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n",
    "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /files/small.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"
    "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /files/small.bin HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-99,200-299,-100\r\n"
    "If-Range: \"abc\"\r\nIf-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n12345",
    "GET /files/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\nX: \x00\x7f\xff\r\n\r\n"sv,  // its length counts: it holds a
                                                                                       // NUL
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nx\r\n",
};
static constexpr std::string_view kTokens[] = {
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    ":",
    " ",
    "\t",
    "%00",
    "%2e%2e/",
    "0\r\n",
    ";",
    "HTTP/1.1",
    "Host",
    "chunked",
    "\"",
    "-1",
    "99999999",
    "Connection: close\r\n",
    "\xff",
    ",",
    "bytes=",
    "=",
    "\\",
    "//",
    "Content-Length: 1\r\n",
};

std::string mutated_request(std::uint64_t seed, std::uint64_t index) {
  std::mt19937_64 random(seed * 0x9e37'79b9'7f4a'7c15U + index);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::string text(kTemplates[below(std::size(kTemplates))]);
  for (std::size_t left = 1 + below(6); left != 0; --left) {
    if (text.empty()) text = "G";
    const std::size_t at = below(text.size());
    const std::size_t length = std::min<std::size_t>(1 + below(16), text.size() - at);
    switch (below(8)) {
      case 0: text[at] = static_cast<char>(static_cast<unsigned char>(text[at]) ^ (1U << below(8))); break;
      case 1: text[at] = static_cast<char>(below(256)); break;
      case 2: text.insert(at, 1 + below(4), static_cast<char>(below(256))); break;
      case 3: text.insert(at, kTokens[below(std::size(kTokens))]); break;
      case 4: text.erase(at, length); break;
      case 5: text.insert(below(text.size()), text.substr(at, length)); break;
      case 6: text.append(text.substr(at)); break;
      default:
        if (below(4) == 0) text.resize(at);
        break;
    }
  }
  return text;
}

}  // namespace attack
