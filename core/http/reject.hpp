#pragma once
// Why a request was refused: one name per rule, with the status that answers it. The name is also the `reason` label of
// the refusal counters, so the set is closed and small.
#include <cstdint>
#include <string_view>

namespace fiberd::http {

enum class Reject : std::uint8_t {
  none,
  // request line
  bad_request_line,
  bad_method,
  method_too_long,
  bad_target,
  target_too_long,
  http09,
  bad_version,
  unsupported_version,
  bad_line_end,
  // fields
  obs_fold,
  bad_field_name,
  space_before_colon,
  bad_field_value,
  too_many_fields,
  head_too_large,
  // routing and framing fields
  missing_host,
  duplicate_host,
  bad_host,
  misdirected,
  unknown_method,
  method_not_allowed,
  length_required,
  too_early,
  bad_connection,
  bad_content_length,
  duplicate_content_length,
  bad_transfer_encoding,
  unknown_transfer_coding,
  duplicate_transfer_encoding,
  transfer_encoding_in_http10,
  length_and_chunked,
  bad_expectation,
  // body
  bad_chunk_size,
  bad_chunk_extension,
  chunk_extension_too_long,
  bad_chunk_end,
  bad_trailer,
  forbidden_trailer,
  trailers_too_large,
  body_too_large,
  // path
  bad_escape,
  nul_in_path,
  encoded_slash,
  path_too_long,
  // the server's own need
  memory,
  // the second opinion disagreed with the guard
  parser_disagrees,
  count_
};

/// The status code that answers this refusal: 400, 405, 411, 413, 414, 417, 421, 425, 431, 501, 503 or 505; 0 for
/// `none`.
[[nodiscard]] std::uint16_t status_of(Reject reason) noexcept;
/// A stable snake_case token; static storage.
[[nodiscard]] std::string_view token_of(Reject reason) noexcept;

}  // namespace fiberd::http
