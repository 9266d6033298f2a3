#pragma once
// RequestParser: one HTTP/1 head out of a buffer, zero-copy. The guard decides; llhttp (strict) reads every accepted
// head that has content a second time and must come to the same framing, else the request is refused. What has none is
// held to llhttp by the fuzzers alone (docs/adr/0011-second-opinion-on-framing.md).
//
// The buffer belongs to the caller and holds the message from its first byte. With pipelining the next message begins
// at `message + consumed() + its body`: reset() and parse from there.
#include <cstddef>
#include <cstdint>

#include "core/http/h1/head_guard.hpp"
#include "core/http/h1/wire_request.hpp"

namespace fiberd::http {

/// Not thread-safe. Never allocates. About 4.2 KiB, of which a request touches 16 bytes per field.
class RequestParser {
 public:
  explicit RequestParser(const HeadLimits& limits = {}) noexcept : guard_(limits) {}

  /// Ready for the next message; O(1). `after_empty_line`: what came before it was the one empty line that may.
  void reset(bool after_empty_line = false) noexcept {
    guard_.reset(after_empty_line);
    verdict_ = Verdict::need_more;
    disagreed_ = false;
  }
  /// As HeadGuard::reset_secured().
  void reset_secured(bool after_empty_line = false) noexcept {
    guard_.reset_secured(after_empty_line);
    verdict_ = Verdict::need_more;
    disagreed_ = false;
  }
  /// `message` points at the first byte of the message and `size` counts what is there now; it may have moved and must
  /// have grown or stayed since the last call. Bytes behind the head are not touched.
  Verdict parse(const char* message, std::size_t size) noexcept;

  /// Bytes of the head, valid after `complete`: the body starts here.
  [[nodiscard]] std::size_t consumed() const noexcept { return guard_.consumed(); }
  /// Why, after `refused`. The connection can not be used again: nobody knows where the next message begins.
  [[nodiscard]] Reject reason() const noexcept { return disagreed_ ? Reject::parser_disagrees : guard_.reason(); }
  /// Whether a request has begun; until then the connection is idle.
  [[nodiscard]] bool started() const noexcept { return guard_.started(); }
  /// Whether nothing but an empty line has come.
  [[nodiscard]] bool only_empty_line() const noexcept { return !guard_.started() && guard_.consumed() == 2; }
  /// The request, after `complete`. Views into `message`, and into this parser for the fields.
  [[nodiscard]] WireRequest request(const char* message) const noexcept;
  /// As much of the request as was understood, at any time: method, target, version and fields.
  [[nodiscard]] WireRequest partial_request(const char* message) const noexcept;
  /// The fields anew when the buffer has moved.
  [[nodiscard]] HeaderView headers(const char* message) const noexcept {
    return {message, guard_.fields(), guard_.head().field_count};
  }

 private:
  HeadGuard guard_;
  Verdict verdict_ = Verdict::need_more;
  bool disagreed_ = false;
};

}  // namespace fiberd::http
