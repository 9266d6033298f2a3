#pragma once
// The one place where a request's path is decoded. Router and file handler see only its result.
//
// Decisions
//  - Percent-decoding happens exactly once: "%252e" becomes "%2e" and stays so.
//  - Dot segments are removed after decoding ("%2e%2e" is ".."; RFC 3986 sections 2.3 and 5.2.4); ".." at the root
//  stays
//    at the root. So the result never climbs.
//  - An encoded slash ("%2F") is refused with 400. Decoded it would be told apart from a real separator by nobody
//    behind us; kept encoded it could not be told from "%252F".
//  - Empty segments stay ("/a//b" is not "/a/b"): RFC 3986 tells them apart, and merging would let one resource answer
//    under names that a prefix rule does not cover.
//  - Other bytes, controls and invalid UTF-8 too, pass; NUL is refused. Whoever prints a path escapes it.
#include <cstddef>
#include <span>
#include <string_view>

#include "core/http/reject.hpp"

namespace fiberd::http {

struct NormalisedPath {
  Reject reason = Reject::none;  ///< bad_escape, nul_in_path, encoded_slash, path_too_long
  std::string_view path;         ///< begins with '/'; the input itself when nothing had to change, else in `scratch`
};

/// `raw` is Request::path of an origin or absolute form and begins with '/'. `scratch` needs raw.size() bytes and is
/// touched only when the path holds '%' or "/.". O(n), no allocation.
[[nodiscard]] NormalisedPath normalise_path(std::string_view raw, std::span<char> scratch) noexcept;

}  // namespace fiberd::http
