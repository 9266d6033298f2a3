#include "core/http/reject.hpp"

#include <array>
#include <cstddef>

namespace fiberd::http {
namespace {

struct Row {
  Reject reason;
  std::uint16_t status;
  std::string_view token;
};

constexpr std::array<Row, static_cast<std::size_t>(Reject::count_)> kRows{{
    {Reject::none, 0, "none"},
    {Reject::bad_request_line, 400, "bad_request_line"},
    {Reject::bad_method, 400, "bad_method"},
    {Reject::method_too_long, 501, "method_too_long"},
    {Reject::bad_target, 400, "bad_target"},
    {Reject::target_too_long, 414, "target_too_long"},
    {Reject::http09, 400, "http09"},
    {Reject::bad_version, 400, "bad_version"},
    {Reject::unsupported_version, 505, "unsupported_version"},
    {Reject::bad_line_end, 400, "bad_line_end"},
    {Reject::obs_fold, 400, "obs_fold"},
    {Reject::bad_field_name, 400, "bad_field_name"},
    {Reject::space_before_colon, 400, "space_before_colon"},
    {Reject::bad_field_value, 400, "bad_field_value"},
    {Reject::too_many_fields, 431, "too_many_fields"},
    {Reject::head_too_large, 431, "head_too_large"},
    {Reject::missing_host, 400, "missing_host"},
    {Reject::duplicate_host, 400, "duplicate_host"},
    {Reject::bad_host, 400, "bad_host"},
    {Reject::misdirected, 421, "misdirected"},
    {Reject::unknown_method, 501, "unknown_method"},
    {Reject::method_not_allowed, 405, "method_not_allowed"},
    {Reject::length_required, 411, "length_required"},
    {Reject::too_early, 425, "too_early"},
    {Reject::bad_connection, 400, "bad_connection"},
    {Reject::bad_content_length, 400, "bad_content_length"},
    {Reject::duplicate_content_length, 400, "duplicate_content_length"},
    {Reject::bad_transfer_encoding, 400, "bad_transfer_encoding"},
    {Reject::unknown_transfer_coding, 501, "unknown_transfer_coding"},
    {Reject::duplicate_transfer_encoding, 400, "duplicate_transfer_encoding"},
    {Reject::transfer_encoding_in_http10, 400, "transfer_encoding_in_http10"},
    {Reject::length_and_chunked, 400, "length_and_chunked"},
    {Reject::bad_expectation, 417, "bad_expectation"},
    {Reject::bad_chunk_size, 400, "bad_chunk_size"},
    {Reject::bad_chunk_extension, 400, "bad_chunk_extension"},
    {Reject::chunk_extension_too_long, 400, "chunk_extension_too_long"},
    {Reject::bad_chunk_end, 400, "bad_chunk_end"},
    {Reject::bad_trailer, 400, "bad_trailer"},
    {Reject::forbidden_trailer, 400, "forbidden_trailer"},
    {Reject::trailers_too_large, 431, "trailers_too_large"},
    {Reject::body_too_large, 413, "body_too_large"},
    {Reject::bad_escape, 400, "bad_escape"},
    {Reject::nul_in_path, 400, "nul_in_path"},
    {Reject::encoded_slash, 400, "encoded_slash"},
    {Reject::path_too_long, 414, "path_too_long"},
    {Reject::memory, 503, "memory"},
    {Reject::parser_disagrees, 400, "parser_disagrees"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].reason) != i || kRows[i].token.empty()) return false;
  }
  return true;
}
static_assert(in_order(), "one row per reason, in the order of the enumeration");

const Row& row(Reject reason) noexcept {
  const auto i = static_cast<std::size_t>(reason);
  return kRows[i < kRows.size() ? i : 0];
}

}  // namespace

std::uint16_t status_of(Reject reason) noexcept { return row(reason).status; }
std::string_view token_of(Reject reason) noexcept { return row(reason).token; }

}  // namespace fiberd::http
