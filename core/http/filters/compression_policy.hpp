#pragma once
// Whether an answer is compressed, and what must be said with it: a pure function of a few facts of both sides.
//
// Decisions
//  - Never: answers without content (1xx, 204, 304), parts (206, Content-Range), what is encoded already, what says
//    no-transform (RFC 9111 section 5.2.2.6), what carries a digest of its bytes (RFC 9530, Content-MD5), what is
//    shorter than min_size, and media types that are not in the list: images, video and archives are compressed
//    already.
//  - An answer that would be compressed for another client says Vary: Accept-Encoding to this one too; so does a part
//  of
//    one, which must have the field that the whole has (RFC 9110 section 15.3.7).
//  - A compressed answer has other bytes than the plain one, so a strong ETag becomes weak (RFC 9110 section 8.8.1),
//  and
//    its ranges are off: Accept-Ranges goes. A client that names the weak tag in If-Match or If-Range gets what these
//    are for: no match.
//  - A 304 says Vary and the weak tag as the 200 would have (RFC 9110 section 15.4.5).
//  - HEAD gets the fields that GET would, without a length.
//
// What this cannot know: pages that show a secret beside text that a client chose leak the secret through their
// compressed length over TLS (BREACH). Routes with such pages are for their owner to leave out.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/field_lines.hpp"
#include "core/http/selected_representation.hpp"

namespace fiberd::http {

/// What of an answer's head decides.
struct AnswerFacts {
  unsigned status = 200;
  std::string_view content_type{};
  std::string_view cache_control{};
  bool encoded = false;     ///< has a Content-Encoding
  bool has_range = false;   ///< has a Content-Range
  bool has_digest = false;  ///< Content-Digest, Repr-Digest, Digest or Content-MD5
  std::optional<std::uint64_t> content_length{};
  const SelectedRepresentation* selected = nullptr;  ///< of a 304 or 206, if its handler has said
};

enum class CompressionVerdict : std::uint8_t {
  leave,         ///< it is none of ours
  vary,          ///< a part of what would be compressed: says Vary
  compress,      ///< if the client likes a coding of ours; says Vary either way
  not_modified,  ///< a 304 for what would be compressed: says Vary and, if the client likes a coding, the weak tag
};

class CompressionPolicy {
 public:
  /// `types`: "text/html", "text/*", in lower case.
  CompressionPolicy(std::vector<std::string> types, std::uint64_t min_size)
      : types_(std::move(types)), min_size_(min_size) {}

  /// Text, JSON, XML, JavaScript, WebAssembly, fonts that are not compressed, SVG, and event streams.
  [[nodiscard]] static std::vector<std::string> usual_types();

  [[nodiscard]] CompressionVerdict judge(const AnswerFacts& facts) const noexcept;
  [[nodiscard]] bool has_type(std::string_view content_type) const noexcept;

 private:
  std::vector<std::string> types_;
  std::uint64_t min_size_;
};

/// Of "text/html; charset=utf-8" the part before the parameters.
[[nodiscard]] std::string_view bare_media_type(std::string_view content_type) noexcept;
/// Whether `type`, without parameters and in any case, is `pattern` in lower case: "text/html" or "text/*".
[[nodiscard]] bool media_type_is(std::string_view type, std::string_view pattern) noexcept;
/// W/"x" for "x"; nothing when it is weak already, or none.
[[nodiscard]] std::optional<std::string> weak_etag(std::string_view etag);
/// The one Vary field that those of `fields` become with `name` (an answer and each filter around it may have added a
/// line); nothing when they hold it, or "*", already.
[[nodiscard]] std::optional<std::string> vary_with(const FieldLines& fields, std::string_view name);

}  // namespace fiberd::http
