#pragma once
// Serialising answers. Everything is written into memory of the caller, so that the answers to a pipeline end up side
// by side in one buffer and leave in one send.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/http/date.hpp"
#include "core/http/h1/wire_request.hpp"

namespace fiberd::http {

enum class BodyKind : std::uint8_t {
  length,      ///< content_length bytes follow (none, when the request was HEAD)
  chunked,     ///< of unknown length; to a 1.0 client it becomes until_close
  until_close  ///< of unknown length, ended by closing the connection
};

/// Fields that are checked and laid out once, for answers that carry them every time. Immutable: any number of threads
/// may use it at once.
class FieldBlock {
 public:
  FieldBlock() = default;
  /// Error: invalid_argument, as write_head.
  [[nodiscard]] static Result<FieldBlock> make(std::span<const Field> fields);
  [[nodiscard]] std::string_view text() const noexcept { return text_; }

 private:
  std::string text_;
};

/// What a handler says of the head of its answer. To HEAD, describe the answer that GET would get: the head is the
/// same.
struct ResponseHead {
  unsigned status = 200;  ///< 200..599
  /// Bytes that will be written; nothing: as many as come until end(). A 304 has it only where that of the 200 is known
  /// (RFC 9110 section 8.6).
  std::optional<std::uint64_t> content_length{};
  std::string_view content_type{};    ///< empty: no Content-Type
  std::span<const Field> fields{};    ///< any others; not Date, Connection, Content-Length, Transfer-Encoding
  const FieldBlock* block = nullptr;  ///< more of them, written before `fields`
};

/// The head of an answer as HTTP/1 writes it.
struct WireHead {
  unsigned status = 200;  ///< 100..599
  BodyKind body = BodyKind::length;
  std::uint64_t content_length = 0;
  /// False leaves Content-Length out of a 304: it would have to be that of the 200 (RFC 9110 section 8.6), which is not
  /// known where no body is given.
  bool send_content_length = true;
  Version version = Version::http11;  ///< of the request
  bool keep_alive = true;             ///< false asks for Connection: close
  std::string_view server{};          ///< empty: no Server field
  std::string_view content_type{};    ///< empty: no Content-Type
  std::span<const Field> fields{};    ///< any others; not those that are written from the members above
  const FieldBlock* block = nullptr;  ///< more of them, written before `fields`
  std::string_view lines{};           ///< of write_fields(), instead of all from `server` on
};

struct HeadWritten {
  std::size_t size;  ///< bytes
  bool keep_alive;   ///< what was promised to the client: false when the body ends with the connection
  BodyKind body;     ///< what was announced, after the change for 1.0
};

/// Writes status line, Date, the fields and the empty line. `date` is DateCache::text(). 1xx, 204 and 304 never get a
/// Transfer-Encoding, 1xx and 204 no Content-Length (RFC 9110 section 8.6), whatever is asked for.
/// Errors: invalid_argument when a name is no token, a value holds NUL, CR, LF or another control, a field would frame
/// the message, or the status is out of range (nothing is ever split); no_buffer_space when `out` is too small.
/// Writes into `out` even when it fails. Never allocates, never parks.
[[nodiscard]] Result<HeadWritten> write_head(std::span<char> out, const WireHead& head, std::string_view date) noexcept;

/// Writes fields alone, each behind its CRLF, as FieldBlock::text() has them: Server and Content-Type unless empty,
/// then `block` and `fields` of `head`. Returns the size. Errors as write_head.
[[nodiscard]] Result<std::size_t> write_fields(std::span<char> out, std::string_view server,
                                               const ResponseHead& head) noexcept;
/// Whether write_head() takes the field.
[[nodiscard]] bool is_writable(const Field& field) noexcept;

/// "HTTP/1.1 100 Continue", complete.
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Chunks: head, data, kChunkEnd, …, kLastChunk. An empty chunk would end the body: never frame one.
inline constexpr std::size_t kChunkHeadMax = 18;
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
/// Writes "1a2b\r\n" for a chunk of `size` > 0 bytes; returns its length, at most kChunkHeadMax.
std::size_t write_chunk_head(char* out, std::uint64_t size) noexcept;

/// An answer that is the same each time but for its date: one memcpy for head and body, one for the date.
/// Immutable after make(): any number of threads may write it out at once.
class PreparedResponse {
 public:
  /// A 304 without a body has no Content-Length. Errors as write_head.
  [[nodiscard]] static Result<PreparedResponse> make(const WireHead& head, std::string_view body);

  /// Bytes that write() needs.
  [[nodiscard]] std::size_t size(Version version, bool keep_alive, bool with_body) const noexcept {
    const Form& f = form(version, keep_alive);
    return with_body ? f.text.size() : f.head_size;
  }
  /// Writes size() bytes. `with_body` is false for HEAD.
  void write(char* out, Version version, bool keep_alive, bool with_body, std::string_view date) const noexcept;
  [[nodiscard]] unsigned status() const noexcept { return status_; }
  /// Server, Content-Type and the other fields, each behind its CRLF: for an answer that somebody wants to change.
  [[nodiscard]] std::string_view fields() const noexcept {
    return {forms_[0].text.data() + fields_begin_, fields_end_ - fields_begin_};
  }
  [[nodiscard]] std::string_view body() const noexcept {
    return std::string_view(forms_[0].text).substr(forms_[0].head_size);
  }
  [[nodiscard]] std::size_t body_size() const noexcept { return body_size_; }

 private:
  struct Form {
    std::string text;  // head and body
    std::size_t head_size = 0;
  };
  PreparedResponse() = default;
  [[nodiscard]] const Form& form(Version version, bool keep_alive) const noexcept {
    return forms_[!keep_alive ? 0U : version == Version::http11 ? 1U : 2U];
  }
  std::array<Form, 3> forms_;  // close, 1.1 kept, 1.0 kept
  std::size_t date_offset_ = 0;
  std::size_t fields_begin_ = 0;  // in forms_[0].text
  std::size_t fields_end_ = 0;
  std::size_t body_size_ = 0;
  unsigned status_ = 0;
};

}  // namespace fiberd::http
