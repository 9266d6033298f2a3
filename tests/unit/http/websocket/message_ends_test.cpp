#include "core/http/websocket/message_ends.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

using fiberd::http::MessageEnds;

namespace {

/// What goes on of `wire` that comes in pieces of `piece` bytes; "|" stands for an end that was put in.
std::string passed(std::string wire, std::size_t piece) {
  MessageEnds ends;
  std::string out;
  std::size_t at = 0;
  while (at < wire.size()) {
    const std::size_t n = std::min(piece, wire.size() - at);
    const auto part = std::as_writable_bytes(std::span(wire).subspan(at, n));
    const std::size_t on = ends.pass(part);
    CHECK((on == n || ends.owed()));
    out += wire.substr(at, on);
    at += on;
    if (!ends.owed()) continue;
    out += '|';
    ends.put_in();
  }
  return out;
}

/// A masked frame whose key is zero.
std::string masked(unsigned first, const std::string& payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80U | payload.size());
  } else if (payload.size() < 65'536) {
    out += static_cast<char>(0x80U | 126U);
    for (const unsigned shift : {8U, 0U}) out += static_cast<char>(payload.size() >> shift);
  } else {
    out += static_cast<char>(0x80U | 127U);
    for (unsigned shift = 64; shift != 0; shift -= 8)
      out += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> (shift - 8));
  }
  return out + std::string(4, '\0') + payload;
}

constexpr unsigned kFin = 0x80;
constexpr unsigned kRsv1 = 0x40;

}  // namespace

TEST_CASE("message ends: of compressed messages alone, in whatever pieces they come", "[http][websocket]") {
  const std::string medium(300, 'm');
  const std::string large(70'000, 'l');
  std::string wire;
  std::string expected;
  const auto add = [&](unsigned first, const std::string& payload, bool ends) {
    wire += masked(first, payload);
    expected += masked(ends ? first & ~kFin : first, payload);
    if (ends) expected += '|';
  };
  add(kFin | 1U, "plain", false);
  add(kFin | kRsv1 | 1U, "packed", true);
  add(kFin | kRsv1 | 2U, "", true);
  add(kFin | kRsv1 | 2U, medium, true);
  add(kFin | kRsv1 | 2U, large, true);
  add(kRsv1 | 1U, "first of three", false);
  add(kFin | 9U, "a ping between them", false);
  add(0U, medium, false);
  add(kFin | 0U, "last", true);
  add(1U, "plain, first of two", false);
  add(kFin | 0U, large, false);
  add(kFin | kRsv1 | 1U, "x", true);
  add(kFin | 8U, "\x03\xe8", false);
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 64U, 1536U, 1'000'000U}) {
    INFO(piece);
    CHECK((passed(wire, piece) == expected));
  }
}

TEST_CASE("message ends: what may not be is left as it is", "[http][websocket]") {
  for (const std::string& wire : {masked(kFin | kRsv1 | 9U, "a ping"), masked(kFin | 0U, "continues nothing"),
                                  std::string("\x81\x03"
                                              "abc"),
                                  std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x", 15)})
    CHECK((passed(wire, 4) == wire));
}
