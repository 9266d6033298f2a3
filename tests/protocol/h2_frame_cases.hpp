#pragma once
// Rows about frames: RFC 9113 sections 3 to 6, and RFC 7541.
#include <string>
#include <vector>

#include "tests/protocol/h2_case.hpp"

namespace fiberd::protocol {

inline std::vector<H2Case> h2_frame_cases() {
  using namespace test::http2;
  std::vector<H2Case> rows;
  const auto add = [&](std::string name, std::string rfc, std::string bytes, H2Outcome outcome,
                       std::uint32_t code = 0) {
    rows.push_back({std::move(name), std::move(rfc), std::move(bytes), outcome, code});
  };
  const auto broken = [&](std::string name, std::string rfc, std::string bytes, std::uint32_t code) {
    add(std::move(name), std::move(rfc), std::move(bytes), H2Outcome::connection_error, code);
  };
  const auto fine = [&](std::string name, std::string rfc, std::string bytes) {
    add(std::move(name), std::move(rfc), std::move(bytes), H2Outcome::ignored);
  };
  const std::string zeros(20'000, '\0');
  const auto some = [&](std::size_t size) { return zeros.substr(0, size); };

  // ---- 3.4: the preface
  const auto preface = [&](std::string name, std::string bytes) {
    rows.push_back({std::move(name), "9113 3.4", std::string(kPreface) + bytes, H2Outcome::connection_error,
                    kProtocolError, false});
  };
  preface("HEADERS before SETTINGS", get(1));
  preface("PING before SETTINGS", frame(kPing, 0, 0, some(8)));
  preface("WINDOW_UPDATE before SETTINGS", window_update(0, 1));
  preface("SETTINGS with ACK as the first", settings_ack());
  preface("GOAWAY before SETTINGS", frame(kGoaway, 0, 0, some(8)));
  preface("an unknown frame before SETTINGS", frame(0x77, 0, 0, "x"));

  // ---- 4.1: unknown types and flags, the reserved bit
  for (const unsigned type : {0x0bU, 0x0dU, 0x0eU, 0x20U, 0x7fU, 0x80U, 0xfeU, 0xffU})
    for (const std::uint32_t stream : {0U, 1U, 2U})
      fine("type " + std::to_string(type) + " on stream " + std::to_string(stream), "9113 4.1",
           frame(type, 0xff, stream, "whatever it is"));
  fine("PING with undefined flags", "9113 4.1", frame(kPing, 0xf0, 0, some(8)));
  fine("SETTINGS with undefined flags", "9113 4.1", frame(kSettings, 0xf0, 0));
  fine("WINDOW_UPDATE with all flags", "9113 4.1", frame(kWindowUpdate, 0xff, 0, number(1, 4)));
  add("HEADERS with undefined flags", "9113 4.1",
      frame(kHeaders, 0xd2 | kEndStream | kEndHeaders, 1, block(get_fields())), H2Outcome::answer, 200);
  add("RST_STREAM with all flags", "9113 4.1", get(1) + frame(kRstStream, 0xff, 1, number(8, 4)), H2Outcome::ignored);
  add("the reserved bit of a stream's id", "9113 4.1",
      frame(kHeaders, kEndStream | kEndHeaders, 0x80000001U, block(get_fields())), H2Outcome::answer, 200);
  fine("the reserved bit of the connection's id", "9113 4.1", frame(kPing, 0, 0x80000000U, some(8)));
  fine("the reserved bit of an increment", "9113 6.9", frame(kWindowUpdate, 0, 0, number(0x80000001U, 4)));

  // ---- 4.2: sizes
  for (const unsigned type : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 0x55U})
    for (const std::size_t size : {16'385U, 20'000U})
      broken("type " + std::to_string(type) + " of " + std::to_string(size) + " bytes", "9113 4.2",
             frame(type, kEndHeaders, type == 4 || type == 6 || type == 7 ? 0 : 1, some(size)), kFrameSizeError);
  broken("a frame that says 16 MiB", "9113 4.2", frame_of_length(0xffffff, kData, 0, 1, "x"), kFrameSizeError);
  broken("a CONTINUATION of 16,385 bytes", "9113 4.2",
         frame(kHeaders, 0, 1, block(get_fields())) + frame(kContinuation, kEndHeaders, 1, some(16'385)),
         kFrameSizeError);
  for (const std::size_t size : {0U, 1U, 7U, 9U, 16U})
    broken("PING of " + std::to_string(size) + " bytes", "9113 6.7", frame(kPing, 0, 0, some(size)), kFrameSizeError);
  for (const std::size_t size : {0U, 3U, 5U, 8U})
    broken("RST_STREAM of " + std::to_string(size) + " bytes", "9113 6.4", get(1) + frame(kRstStream, 0, 1, some(size)),
           kFrameSizeError);
  for (const std::size_t size : {0U, 4U, 6U})
    broken("PRIORITY of " + std::to_string(size) + " bytes", "9113 6.3 house", frame(kPriority, 0, 1, some(size)),
           kFrameSizeError);
  for (const std::size_t size : {1U, 5U, 7U, 11U})
    broken("SETTINGS of " + std::to_string(size) + " bytes", "9113 6.5", frame(kSettings, 0, 0, some(size)),
           kFrameSizeError);
  broken("SETTINGS with ACK and a payload", "9113 6.5", frame(kSettings, kAck, 0, setting(3, 1)), kFrameSizeError);
  for (const std::size_t size : {0U, 3U, 5U, 8U})
    broken("WINDOW_UPDATE of " + std::to_string(size) + " bytes", "9113 6.9", frame(kWindowUpdate, 0, 0, some(size)),
           kFrameSizeError);
  for (const std::size_t size : {0U, 7U})
    broken("GOAWAY of " + std::to_string(size) + " bytes", "9113 6.8", frame(kGoaway, 0, 0, some(size)),
           kFrameSizeError);
  add("DATA of 16,384 bytes", "9113 4.2", headers(1, post_fields(), false) + data(1, some(16'384)), H2Outcome::answer,
      200);
  add("DATA of no bytes at the end", "9113 6.1", headers(1, post_fields(), false) + data(1, ""), H2Outcome::answer,
      200);

  // ---- RFC 7541: what cannot be decoded
  const auto compressed = [&](std::string name, std::string rfc, std::string bytes) {
    broken(std::move(name), std::move(rfc), frame(kHeaders, kEndStream | kEndHeaders, 1, bytes), kCompressionError);
  };
  compressed("index 0", "7541 6.1", "\x80");
  compressed("an index behind an empty dynamic table", "7541 2.3.3", "\xbe");
  compressed("an index far behind the tables", "7541 2.3.3", integer(7, 0x80, 100'000));
  compressed("an integer without end", "7541 5.1", "\xff" + std::string(12, '\xff'));
  compressed("an integer of 2^62", "7541 5.1", integer(7, 0x80, std::uint64_t{1} << 62U));
  compressed("a table larger than was allowed", "7541 4.2", integer(5, 0x20, 4097) + block(get_fields()));
  compressed("a table size behind a field", "7541 4.2", block(get_fields()) + integer(5, 0x20, 0));
  compressed("a literal that is cut", "7541 5.2",
             block(get_fields()) +
                 "\x10\x05"
                 "ab");
  compressed("a name without a value", "7541 6.2",
             block(get_fields()) + std::string("\x10\x01"
                                               "a",
                                               3));
  compressed("a string longer than its block", "7541 5.2", "\x10" + integer(7, 0, 70'000) + "a");
  compressed("Huffman code of EOS", "7541 5.2",
             block(get_fields()) +
                 "\x10\x01"
                 "a"
                 "\x84\xff\xff\xff\xff");
  compressed("Huffman padding of zeros", "7541 5.2",
             block(get_fields()) + std::string("\x10\x01"
                                               "a"
                                               "\x81\x18",
                                               5));
  compressed("Huffman padding of 8 bits", "7541 5.2",
             block(get_fields()) +
                 "\x10\x01"
                 "a"
                 "\x82\x1f\xff");
  add("a table size of 0 in front", "7541 4.2",
      frame(kHeaders, kEndStream | kEndHeaders, 1, integer(5, 0x20, 0) + block(get_fields())), H2Outcome::answer, 200);
  add("indexed fields of the static table", "7541 6.1",
      frame(kHeaders, kEndStream | kEndHeaders, 1, "\x82\x86\x84" + field(":authority", "a.example")),
      H2Outcome::answer, 200);
  add("a field that is indexed and used again", "7541 6.2.1",
      frame(kHeaders, kEndStream | kEndHeaders, 1,
            "\x82\x86\x84\x41" + literal("a.example") + "\x40" + literal("x-a") + literal("1") + "\xbe"),
      H2Outcome::answer, 200);

  // ---- 5.1: states
  broken("DATA of an idle stream", "9113 5.1", data(1, "x"), kProtocolError);
  broken("RST_STREAM of an idle stream", "9113 5.1", rst(1, kCancel), kProtocolError);
  broken("WINDOW_UPDATE of an idle stream", "9113 5.1", window_update(1, 1), kProtocolError);
  broken("CONTINUATION of an idle stream", "9113 6.10", frame(kContinuation, kEndHeaders, 1, block(get_fields())),
         kProtocolError);
  fine("PRIORITY of an idle stream", "9113 5.1", frame(kPriority, 0, 1, some(4) + "\x10"));
  fine("WINDOW_UPDATE of a closed stream", "9113 5.1", get(1) + rst(1, kCancel) + window_update(1, 1));
  fine("RST_STREAM of a closed stream", "9113 5.1", get(1) + rst(1, kCancel) + rst(1, kCancel));
  fine("PRIORITY of a closed stream", "9113 5.1", get(1) + rst(1, kCancel) + frame(kPriority, 0, 1, some(4) + "\x10"));
  for (const std::uint32_t id : {2U, 4U, 0x7ffffffeU})
    broken("stream " + std::to_string(id) + " from a client", "9113 5.1.1", get(id), kProtocolError);
  // It may be the trailers of a stream that was reset meanwhile.
  fine("a stream's id below the last", "9113 5.1.1 house", get(5) + get(3));
  add("the first stream may have any odd id", "9113 5.1.1", get(1) + get(8001), H2Outcome::answer, 200);

  // ---- 6: which frames are a stream's, and which the connection's
  for (const unsigned type : {kData, kHeaders, kPriority, kRstStream, kContinuation})
    broken("type " + std::to_string(type) + " on stream 0", "9113 6",
           frame(type, kEndStream | kEndHeaders, 0,
                 type == kHeaders ? block(get_fields()) : some(type == kPriority ? 5 : 4)),
           kProtocolError);
  broken("SETTINGS of a stream", "9113 6.5", frame(kSettings, 0, 1), kProtocolError);
  broken("PING of a stream", "9113 6.7", frame(kPing, 0, 1, some(8)), kProtocolError);
  broken("GOAWAY of a stream", "9113 6.8", frame(kGoaway, 0, 1, some(8)), kProtocolError);
  broken("PUSH_PROMISE of a client", "9113 6.6", get(1) + frame(kPushPromise, kEndHeaders, 1, number(2, 4) + "\x82"),
         kProtocolError);

  // ---- padding
  const std::string padded(1, '\x04');
  add("DATA with padding", "9113 6.1",
      headers(1, post_fields(), false) + frame(kData, kEndStream | kPadded, 1, padded + "body" + some(4)),
      H2Outcome::answer, 200);
  add("DATA that is all padding", "9113 6.1",
      headers(1, post_fields(), false) + frame(kData, kEndStream | kPadded, 1, padded + some(4)), H2Outcome::answer,
      200);
  add("HEADERS with padding", "9113 6.2",
      frame(kHeaders, kEndStream | kEndHeaders | kPadded, 1, padded + block(get_fields()) + some(4)), H2Outcome::answer,
      200);
  for (const std::size_t there : {0U, 1U, 3U}) {
    broken("DATA with more padding than payload, " + std::to_string(there), "9113 6.1",
           headers(1, post_fields(), false) + frame(kData, kEndStream | kPadded, 1, padded + some(there)),
           kProtocolError);
    broken("HEADERS with more padding than payload, " + std::to_string(there), "9113 6.2",
           frame(kHeaders, kEndStream | kEndHeaders | kPadded, 1, padded + some(there)), kProtocolError);
  }
  broken("DATA with PADDED and no byte", "9113 6.1", headers(1, post_fields(), false) + frame(kData, kPadded, 1),
         kFrameSizeError);
  broken("HEADERS with PADDED and no byte", "9113 6.2", frame(kHeaders, kPadded | kEndHeaders, 1), kFrameSizeError);
  add("HEADERS with a priority", "9113 6.2",
      frame(kHeaders, kEndStream | kEndHeaders | kWithPriority, 1, some(4) + "\x0f" + block(get_fields())),
      H2Outcome::answer, 200);
  add("HEADERS with a priority and padding", "9113 6.2",
      frame(kHeaders, kEndStream | kEndHeaders | kWithPriority | kPadded, 1,
            padded + some(4) + "\x0f" + block(get_fields()) + some(4)),
      H2Outcome::answer, 200);
  broken("HEADERS with a priority that is cut", "9113 6.2",
         frame(kHeaders, kEndStream | kEndHeaders | kWithPriority, 1, some(4)), kFrameSizeError);

  // ---- 6.5.2: settings
  const auto set = [&](unsigned id, std::uint32_t value) { return settings(setting(id, value)); };
  broken("ENABLE_PUSH of 2", "9113 6.5.2", set(2, 2), kProtocolError);
  broken("INITIAL_WINDOW_SIZE of 2^31", "9113 6.5.2", set(4, 0x80000000U), kFlowControlError);
  broken("INITIAL_WINDOW_SIZE of 2^32 - 1", "9113 6.5.2", set(4, 0xffffffffU), kFlowControlError);
  broken("MAX_FRAME_SIZE of 16,383", "9113 6.5.2", set(5, 16'383), kProtocolError);
  broken("MAX_FRAME_SIZE of 0", "9113 6.5.2", set(5, 0), kProtocolError);
  broken("MAX_FRAME_SIZE of 2^24", "9113 6.5.2", set(5, 1U << 24U), kProtocolError);
  broken("ENABLE_CONNECT_PROTOCOL of 2", "8441 3", set(8, 2), kProtocolError);
  broken("NO_RFC7540_PRIORITIES of 2", "9218 2.1", set(9, 2), kProtocolError);
  for (const unsigned id : {0U, 7U, 0x0aU, 0x10U, 0x7fffU, 0xffffU})
    fine("an unknown setting, " + std::to_string(id), "9113 6.5.2", set(id, 0xffffffffU));
  fine("HEADER_TABLE_SIZE of 0", "9113 6.5.2", set(1, 0));
  fine("HEADER_TABLE_SIZE of 2^32 - 1", "9113 6.5.2", set(1, 0xffffffffU));
  fine("ENABLE_PUSH of 0 and of 1", "9113 6.5.2", set(2, 0) + set(2, 1));
  fine("MAX_CONCURRENT_STREAMS of 0", "9113 6.5.2", set(3, 0));
  fine("MAX_FRAME_SIZE of 2^24 - 1", "9113 6.5.2", set(5, (1U << 24U) - 1));
  fine("MAX_HEADER_LIST_SIZE of 0", "9113 6.5.2", set(6, 0));
  fine("the same setting twice in a frame", "9113 6.5.3", settings(setting(4, 0) + setting(4, 70'000)));

  // ---- 6.9: windows
  broken("an increment of 0 for the connection", "9113 6.9", window_update(0, 0), kProtocolError);
  broken("the connection's window above 2^31 - 1", "9113 6.9.1", window_update(0, 0x7fffffff), kFlowControlError);
  broken("a stream's window above 2^31 - 1 by SETTINGS", "9113 6.9.2",
         settings(setting(4, 0)) + get(1, "/echo") + window_update(0, 1) + window_update(0, 0x7ffffffe) +
             window_update(0, 1),
         kFlowControlError);

  // ---- 6.10, 4.3: a block of fields is not interrupted
  const std::string half = frame(kHeaders, kEndStream, 1, block(get_fields()));
  broken("HEADERS inside of a block", "9113 6.10", half + get(3), kProtocolError);
  broken("DATA inside of a block", "9113 6.10", half + data(1, "x"), kProtocolError);
  broken("PRIORITY inside of a block", "9113 6.10", half + frame(kPriority, 0, 1, some(5)), kProtocolError);
  broken("RST_STREAM inside of a block", "9113 6.10", half + rst(1, 8), kProtocolError);
  broken("SETTINGS inside of a block", "9113 6.10", half + settings(), kProtocolError);
  broken("PING inside of a block", "9113 6.10", half + frame(kPing, 0, 0, some(8)), kProtocolError);
  broken("GOAWAY inside of a block", "9113 6.10", half + frame(kGoaway, 0, 0, some(8)), kProtocolError);
  broken("WINDOW_UPDATE inside of a block", "9113 6.10", half + window_update(0, 1), kProtocolError);
  broken("an unknown frame inside of a block", "9113 6.10", half + frame(0x55, 0, 1, "x"), kProtocolError);
  broken("CONTINUATION of another stream", "9113 6.10", half + frame(kContinuation, kEndHeaders, 3, field("a", "b")),
         kProtocolError);
  broken("CONTINUATION behind the end of a block", "9113 6.10",
         get(1) + frame(kContinuation, kEndHeaders, 1, field("a", "b")), kProtocolError);
  const std::string fields = block(get_fields("/", {{"x-a", "1"}}));
  for (std::size_t cut = 0; cut <= fields.size(); cut += 3)
    add("a block cut at byte " + std::to_string(cut), "9113 4.3",
        frame(kHeaders, kEndStream, 1, fields.substr(0, cut)) +
            frame(kContinuation, kEndHeaders, 1, fields.substr(cut)),
        H2Outcome::answer, 200);
  return rows;
}

}  // namespace fiberd::protocol
