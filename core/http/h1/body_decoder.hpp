#pragma once
// BodyDecoder: finds the content of a request body in the bytes that follow its head, zero-copy.
//
// Chunked framing (RFC 9112 section 7.1) is read by a state machine of ours alone: llhttp lets endless zeros in a chunk
// size and framing fields in trailers pass, and the guard would have to read every byte of it anyway.
//
// Invariants: the sequence of content bytes, the verdict and the bytes consumed do not depend on how the input was
// split; nothing is remembered by pointer between calls, so the buffer may be reused at once; memory is constant.
//
// Decisions: sizes are 1 to 16 hex digits, leading zeros counted. Blanks are taken only around ';' and '=' of an
// extension (the "bad whitespace" of section 7.1.1), never between a size and its CRLF. Extensions are checked and
// dropped, trailers too; a trailer that would frame, route or authorise is refused.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/http/h1/wire_request.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http {

struct BodyLimits {
  std::uint64_t body_size = 1024 * 1024;  ///< bytes of content; more is 413
  std::uint32_t extension_size = 256;     ///< bytes of the extensions of one chunk
  std::uint32_t extensions_total =
      16 * 1024;                          ///< bytes of the extensions of one body: tiny chunks cost work for nothing
  std::uint32_t trailer_size = 8 * 1024;  ///< bytes of the trailer section
  std::uint32_t trailer_fields = 32;
};

/// Whether a field may not stand behind a body: it frames, routes, authenticates, or says how to read the content (RFC
/// 9110 section 6.5.1). Any case.
[[nodiscard]] bool is_forbidden_trailer(std::string_view name) noexcept;

/// Not thread-safe; reusable by start(). Never allocates.
class BodyDecoder {
 public:
  enum class Status : std::uint8_t {
    data,       ///< `data` holds content; call again with what is left
    need_more,  ///< all input was consumed
    done,       ///< the body has ended; what is left belongs to the next message
    refused     ///< see reason(); the connection can not be used again
  };
  struct Step {
    Status status;
    std::size_t consumed;   ///< bytes of this call's input, of which `data` is a part
    std::string_view data;  ///< into the input
  };

  /// Begins a body. False, with reason() body_too_large, when its announced length is over the limit: answer 413 before
  /// 100-continue is sent.
  bool start(Framing framing, std::uint64_t content_length, const BodyLimits& limits = {}) noexcept;
  /// Takes what comes next of the body. Returns after each piece of content, so call until it is not `data`.
  Step decode(const char* input, std::size_t size) noexcept;

  [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
  [[nodiscard]] Reject reason() const noexcept { return reason_; }
  /// Content bytes handed out so far.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  /// Content bytes known to be still missing: of the body (length) or of this chunk (chunked). For draining decisions.
  [[nodiscard]] std::uint64_t remaining() const noexcept { return remaining_; }
  /// Field lines of the trailer section that have begun, and bytes of it so far, its last CRLF included.
  [[nodiscard]] std::uint32_t trailer_fields() const noexcept { return trailer_count_; }
  [[nodiscard]] std::uint32_t trailer_bytes() const noexcept { return trailer_size_; }

 private:
  enum class State : std::uint8_t {
    fixed,
    size,
    ext_space,       // blanks before ';' (or before '=' after a name)
    ext_name_start,  // after ';'
    ext_name,
    ext_value_start,  // after '='
    ext_value,
    ext_quoted,
    ext_escaped,
    ext_after_quoted,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_name,
    trailer_value,
    trailer_lf,
    last_lf,
    done,
    refused
  };
  [[nodiscard]] Reject byte(char c) noexcept;
  [[nodiscard]] Reject extension_byte(char c) noexcept;
  [[nodiscard]] Reject trailer_byte(char c) noexcept;
  [[nodiscard]] Reject end_of_size() noexcept;

  BodyLimits limits_;
  std::uint64_t remaining_ = 0;
  std::uint64_t received_ = 0;
  std::uint32_t extension_size_ = 0;
  std::uint32_t extensions_total_ = 0;
  std::uint32_t trailer_size_ = 0;
  std::uint32_t trailer_count_ = 0;
  State state_ = State::done;
  Reject reason_ = Reject::none;
  bool after_name_ = false;  // in ext_space: an extension name precedes, so '=' may follow
  std::uint8_t digits_ = 0;
  std::uint8_t name_size_ = 0;  // saturates above the longest forbidden name
  char name_[24];               // lower-cased start of a trailer's name: the input may be gone by its colon
};

}  // namespace fiberd::http
