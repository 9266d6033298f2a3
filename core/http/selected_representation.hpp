#pragma once
// SelectedRepresentation: what a 304 or a 206 is about (RFC 9110 section 3.2), a slot of its exchange. Such an answer
// says less of it than a filter must know whose fields are to be those of the 200: that has a media type, and a length.
#include <cstdint>
#include <string_view>

namespace fiberd::http {

/// Left by who answers, before the head is committed.
struct SelectedRepresentation {
  std::string_view media_type;  ///< lives as long as the request
  std::uint64_t length = 0;     ///< of all of it, bytes
};

}  // namespace fiberd::http
