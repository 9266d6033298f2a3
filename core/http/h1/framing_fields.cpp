#include "core/http/h1/framing_fields.hpp"

namespace fiberd::http {

static constexpr std::uint64_t kMaxContentLength = INT64_MAX;  // a body of more bytes than off_t counts is not meant

Reject check_content_length(FramingFields& said, std::string_view value) noexcept {
  if (said.has_content_length) return Reject::duplicate_content_length;
  // 20 digits hold every accepted number and bound the leading zeros.
  if (value.empty() || value.size() > 20) return Reject::bad_content_length;
  std::uint64_t length = 0;
  for (const char c : value) {
    if (!is_class(c, chars::kDigit)) return Reject::bad_content_length;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (length > (kMaxContentLength - digit) / 10) return Reject::bad_content_length;
    length = length * 10 + digit;
  }
  said.has_content_length = true;
  said.content_length = length;
  return said.chunked ? Reject::length_and_chunked : Reject::none;
}

Reject check_transfer_encoding(FramingFields& said, Version version, std::string_view value) noexcept {
  if (version == Version::http10) return Reject::transfer_encoding_in_http10;
  if (said.chunked) return Reject::duplicate_transfer_encoding;
  if (!equals_lower(value, "chunked")) {
    if (said.has_content_length) return Reject::length_and_chunked;
    // Tokens, of which `chunked` may be the last only.
    std::string_view rest = value;
    for (;;) {
      const std::size_t comma = rest.find(',');
      const std::string_view coding = trim(rest.substr(0, comma));
      const bool last = comma == std::string_view::npos;
      if (!is_token(coding) || (equals_lower(coding, "chunked") && !last)) return Reject::bad_transfer_encoding;
      if (last) return Reject::unknown_transfer_coding;
      rest.remove_prefix(comma + 1);
    }
  }
  said.chunked = true;
  return said.has_content_length ? Reject::length_and_chunked : Reject::none;
}

Reject check_connection(FramingFields& said, std::string_view value) noexcept {
  TokenList list(value);
  std::string_view option;
  while (list.next(option)) {
    if (!is_token(option)) return Reject::bad_connection;
    if (equals_lower(option, "close")) said.connection_close = true;
    if (equals_lower(option, "keep-alive")) said.connection_keep_alive = true;
  }
  return Reject::none;
}

}  // namespace fiberd::http
