#pragma once
// RequestHead: the fields of one request as HPACK decodes them, in one piece of memory, and the rules that nghttp2 does
// not know: how much may be kept, what a target and an authority are for this server.
//
// nghttp2 has checked by then (RFC 9113 sections 8.2, 8.3): names in lower case and of token characters, values without
// controls and blanks around them, pseudo-fields that are there once, known, and before all others, no connection
// fields, TE, Content-Length once. What breaks those rules is a stream error. What is refused here has been understood,
// and is answered, by the same names and statuses as on HTTP/1.1.
//
// Bounded: each field counts as its bytes and 32 (RFC 9113 section 6.5.2), each crumb of a Cookie as a field. What is
// over the limit is not kept, whatever HPACK's references make of a byte; far over it the connection ends.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/h1/head_guard.hpp"
#include "core/http/message.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http::h2 {

/// Not thread-safe; reusable after reset().
class RequestHead {
 public:
  void reset() noexcept;
  /// In the order they come. Never throws: without memory the request is refused.
  void add(std::string_view name, std::string_view value, const HeadLimits& limits) noexcept;
  /// The field that says that it came before TLS's handshake was over (RFC 8470 section 5.1); whatever the limits are.
  void add_early_data() noexcept;
  /// All have come. `ended`: so has the request. `secured`: the connection is. Not none: why it is refused; the request
  /// says as much as was understood. Views hold until reset().
  [[nodiscard]] Reject finish(Request& request, bool ended, bool secured, const HeadLimits& limits) noexcept;
  /// Far more than is kept: whoever sends it means no request.
  [[nodiscard]] bool is_bomb(const HeadLimits& limits) const noexcept {
    return size_ > std::uint64_t{4} * limits.header_size + 64 * 1024;
  }
  /// Of an extended CONNECT (RFC 8441): what the client wants to speak; else empty.
  [[nodiscard]] std::string_view protocol() const noexcept { return text_of(protocol_); }
  /// Room for the path's normal form.
  [[nodiscard]] std::string& path_room() noexcept { return path_room_; }

 private:
  struct Piece {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
    bool there = false;
  };
  [[nodiscard]] std::string_view text_of(const Piece& piece) const noexcept {
    return std::string_view(text_).substr(piece.begin, piece.size);
  }
  void add_or_throw(std::string_view name, std::string_view value, const HeadLimits& limits);
  [[nodiscard]] Piece keep(std::string_view text);
  [[nodiscard]] Reject check_field(std::string_view name, std::string_view value) noexcept;
  [[nodiscard]] Reject check_target(Request& request, bool secured, const HeadLimits& limits) noexcept;
  void join_cookies();

  std::string text_;
  std::string path_room_;
  std::vector<FieldSpan> fields_;
  std::uint64_t size_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t cookies_ = 0;
  Piece method_;
  Piece scheme_;
  Piece authority_;
  Piece path_;
  Piece protocol_;
  Piece host_;
  FramingFields framing_;
  Reject reason_ = Reject::none;
  bool two_hosts_ = false;
  bool expect_continue_ = false;
  bool has_traceparent_ = false;
  bool early_data_ = false;
};

/// The fields behind a request's body.
class TrailerFields {
 public:
  void reset() noexcept;
  /// False: one that may not stand there.
  [[nodiscard]] bool add(std::string_view name, std::string_view value) noexcept;
  [[nodiscard]] HeaderView view() const noexcept { return {text_.data(), fields_.data(), fields_.size()}; }

 private:
  std::string text_;
  std::vector<FieldSpan> fields_;
  std::size_t size_ = 0;
};

}  // namespace fiberd::http::h2
