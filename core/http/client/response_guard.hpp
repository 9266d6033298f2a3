#pragma once
// ResponseGuard: the byte-wise guard that the head of every answer passes. A server that the client trusts may stand
// behind one that it should not, or have been fed by somebody: an answer with two ends is how one user is given what
// was meant for another. So the guard is as strict as the one for requests (../head_guard.hpp), built of the same parts
// (../field_section.hpp, ../framing_fields.hpp), and keeps the same invariants: a state machine over bytes whose
// verdict does not depend on how they were split; offsets, no pointers; fixed memory.
//
// Decisions
//  - The status line is "HTTP/1.", 0 or 1, SP, three digits of 100 … 599, SP, a reason that may be empty, CRLF. The
//    second SP must be there (RFC 9112 section 4), though many clients do without.
//  - No empty line may stand before it. That is granted to requests for old clients' sake (RFC 9112 section 2.2);
//    before an answer it is a byte that nobody asked for.
//  - A Transfer-Encoding that is not exactly `chunked` is refused: the client never asked for another (it sends no TE).
//    So is any in an HTTP/1.0 answer, and one beside Content-Length (RFC 9112 section 6.3 would let a client go on by
//    believing the former).
//  - 1xx and 204 must not announce content (RFC 9112 section 6.1); of 204 a `Content-Length: 0` is let through, which
//    is wrong and harmless. 304 may say what the 200 would have.
//  - 101 is refused: the client offers no Upgrade.
//  - Rejected: llhttp as a second opinion, as requests have it. It accepts more than the guard in every place that was
//    looked at; the fuzzer holds the two against each other instead.
#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "core/http/h1/field_section.hpp"
#include "core/http/h1/framing_fields.hpp"
#include "core/http/h1/head_guard.hpp"
#include "core/http/h1/wire_request.hpp"

namespace fiberd::http {

/// Not thread-safe; reusable after reset(). Never allocates. About 4.2 KiB.
class ResponseGuard {
 public:
  /// Of `limits` target_size is not used.
  explicit ResponseGuard(const HeadLimits& limits = {}) noexcept;

  /// Forgets the answer; O(1).
  void reset() noexcept;
  /// As HeadGuard::advance(): goes on from where the last call ended; `message` holds the answer from its first byte.
  Verdict advance(const char* message, std::size_t size) noexcept;

  /// Bytes of the head when complete, else bytes looked at.
  [[nodiscard]] std::size_t consumed() const noexcept { return pos_; }
  /// After `refused`: refused_answer() or a client_errc.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  struct Head : FramingFields {
    std::uint32_t reason_size = 0;  ///< bytes of the reason phrase, which begins at kReasonBegin
    std::uint32_t field_count = 0;
    std::uint16_t status = 0;
    Version version = Version::http11;
  };
  static constexpr std::uint32_t kReasonBegin = 13;
  [[nodiscard]] const Head& head() const noexcept { return head_; }
  [[nodiscard]] const FieldSpan* fields() const noexcept { return fields_.data(); }

 private:
  enum class State : std::uint8_t { status_line, reason, status_line_lf, fields, complete, refused };
  Verdict refuse(std::error_code error, std::size_t at) noexcept;
  [[nodiscard]] std::error_code status_line_byte(char c, std::size_t i) noexcept;
  [[nodiscard]] Reject check_field(const char* message, const FieldSpan& field) noexcept;
  [[nodiscard]] std::error_code check_end() const noexcept;

  HeadLimits limits_;
  FieldSection section_;
  std::size_t pos_ = 0;
  State state_ = State::status_line;
  std::error_code error_;
  Head head_;
  std::array<FieldSpan, kMaxHeaderFields> fields_;  // the first field_count are set
};

}  // namespace fiberd::http
