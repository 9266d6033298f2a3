#pragma once
// What the fields of a head say about where its message ends and whether the connection goes on, and the checks that
// they pass. The same for requests (head_guard.hpp) and answers (client/response_guard.hpp): whoever reads one of them
// more leniently than the other can be talked into two messages where there is one.
#include <cstdint>
#include <string_view>

#include "core/http/h1/wire_request.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http {

struct FramingFields {
  std::uint64_t content_length = 0;
  bool has_content_length = false;
  bool chunked = false;
  bool connection_close = false;
  bool connection_keep_alive = false;
};

/// One field, of at most 20 digits, not beside Transfer-Encoding, and no more than off_t counts.
[[nodiscard]] Reject check_content_length(FramingFields& said, std::string_view value) noexcept;
/// Exactly `chunked`, once, in 1.1, not beside Content-Length.
[[nodiscard]] Reject check_transfer_encoding(FramingFields& said, Version version, std::string_view value) noexcept;
/// A list of tokens.
[[nodiscard]] Reject check_connection(FramingFields& said, std::string_view value) noexcept;

}  // namespace fiberd::http
