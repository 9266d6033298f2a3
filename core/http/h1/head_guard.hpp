#pragma once
// HeadGuard: the byte-wise guard that every request head passes before llhttp sees it.
//
// llhttp, even strict, lets through what request smuggling is made of: folded lines, a bare LF, two spaces, empty
// names, two Host fields, `Transfer-Encoding: gzip, chunked`, HTTP/0.9 and 2.0. The guard accepts one spelling of each
// thing and refuses the rest, so that no two readers of an accepted head can differ about where it ends.
//
// Invariants
//  - A state machine over bytes: the verdict and the number of bytes consumed depend on the bytes alone, never on how
//    they were split into calls. Every decision is taken at a byte, and limits are checked before the byte that
//    follows.
//  - The message lies contiguous in a buffer of the caller. The guard keeps offsets, so the buffer may move between
//    calls, and looks back only inside its own message.
//  - Memory is bounded: a fixed array of fields, nothing allocated.
//
// Decisions
//  - One empty line (CRLF) before the request line is skipped (RFC 9112 section 2.2); a second is refused.
//  - Targets: visible ASCII without '"', '#', '<', '>'. The other characters that RFC 3986 excludes ("[]^`{|}") are
//    accepted because browsers send them bare in queries, and no reader frames by them. So is '\', but only behind the
//    '?': in a path some readers take it for a slash.
//  - A transfer coding that is not `chunked` is not understood: 501 (RFC 9112 section 6.1), whether `chunked` ends the
//    list, so that the message's end is certain, or is not in it. All else that is not exactly `chunked` is 400: a list
//    that goes on behind it (section 6.3), what is no list of tokens, and both with Content-Length.
//  - Rejected: a guard that works line by line. It would keep a garbage byte waiting until its line ends, that is until
//    the header time-out.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/http/h1/field_section.hpp"
#include "core/http/h1/framing_fields.hpp"
#include "core/http/h1/wire_request.hpp"
#include "core/http/message.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http {

/// The inline array's size: no configuration may ask for more fields.
inline constexpr std::size_t kMaxHeaderFields = 256;
/// Longer method tokens are 501 (RFC 9112 section 3).
inline constexpr std::size_t kMaxMethodSize = 32;

struct HeadLimits {
  std::uint32_t header_size = 16 * 1024;  ///< bytes of a whole head, request line and last CRLF included
  std::uint32_t header_fields = 100;      ///< field lines, at most kMaxHeaderFields
  std::uint32_t target_size = 8 * 1024;   ///< bytes of the request-target
  friend bool operator==(const HeadLimits&, const HeadLimits&) noexcept = default;
};

enum class Verdict : std::uint8_t { need_more, complete, refused };

/// Not thread-safe; reusable after reset().
class HeadGuard {
 public:
  explicit HeadGuard(const HeadLimits& limits = {}) noexcept;

  /// Forgets the message; O(1). `after_empty_line`: the one that may stand before a request has been there already.
  void reset(bool after_empty_line = false) noexcept;
  /// reset(), for a message that came over a connection that is secured: its target may be an https URI (RFC 9112
  /// section 3.2.2, RFC 9110 section 7.4).
  void reset_secured(bool after_empty_line) noexcept {
    reset(after_empty_line);
    secured_ = true;
  }
  /// Goes on from where the last call ended. `message` holds the message from its first byte, all bytes seen so far and
  /// any more that arrived; bytes behind the head are not looked at. After `refused` or `complete` it returns the same
  /// until reset().
  Verdict advance(const char* message, std::size_t size) noexcept;

  /// Bytes of the head when complete, else bytes looked at.
  [[nodiscard]] std::size_t consumed() const noexcept { return pos_; }
  [[nodiscard]] Reject reason() const noexcept { return reason_; }
  /// Whether the first byte of a request line has been seen: idle time ends here and header time begins.
  [[nodiscard]] bool started() const noexcept { return state_ != State::start && state_ != State::start_lf; }

  // What a complete head says. Offsets are from the first byte of the message.
  struct Head : FramingFields {
    std::uint32_t method_begin = 0;
    std::uint32_t method_size = 0;
    std::uint32_t target_begin = 0;
    std::uint32_t target_size = 0;
    std::uint32_t authority_begin = 0;  ///< of an absolute-form or authority-form target, else of Host
    std::uint32_t authority_size = 0;
    std::uint32_t path_begin = 0;  ///< where the path of the target starts; at its end when it has none
    std::uint32_t field_count = 0;
    Method method = Method::unknown;
    TargetForm form = TargetForm::origin;
    Version version = Version::http11;
    bool has_host = false;
    bool expect_continue = false;
    bool has_traceparent = false;
    bool early_data = false;
    bool blank_after_framing = false;  ///< behind the value of Content-Length or Transfer-Encoding
  };
  [[nodiscard]] const Head& head() const noexcept { return head_; }
  [[nodiscard]] const FieldSpan* fields() const noexcept { return fields_.data(); }

 private:
  enum class State : std::uint8_t {
    start,
    start_lf,
    method,
    target,
    version,
    request_line_lf,
    fields,
    complete,
    refused
  };

  Verdict refuse(Reject reason, std::size_t at) noexcept;
  [[nodiscard]] Reject check_target(const char* message) noexcept;
  [[nodiscard]] Reject check_field(const char* message, const FieldSpan& field) noexcept;
  [[nodiscard]] Reject check_expect(std::string_view value) noexcept;
  [[nodiscard]] Reject check_end() noexcept;
  [[nodiscard]] bool is_good_host(std::string_view authority) noexcept;

  HeadLimits limits_;
  FieldSection section_;
  std::size_t pos_ = 0;
  std::uint32_t mark_ = 0;  // first byte of the token being read
  State state_ = State::start;
  bool empty_line_ = false;  // one was skipped
  bool secured_ = false;
  Reject reason_ = Reject::none;
  char major_ = 0;
  char minor_ = 0;
  Head head_;
  // The last Host that was found valid, whoever sent it: clients say the same in each request, and to compare it costs
  // a fifth of reading it. What is valid depends on its bytes alone.
  std::array<char, 48> known_host_{};
  std::uint8_t known_host_size_ = 0;                // 0: none
  std::array<FieldSpan, kMaxHeaderFields> fields_;  // the first field_count are set
};

}  // namespace fiberd::http
