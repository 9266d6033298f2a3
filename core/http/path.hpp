#pragma once
// The one place where a request's path is decoded and brought to its normal form. Router, files and handlers see
// nothing but its result (Exchange::path()), so what a rule was matched against is what is opened.
//
// Decisions
//  - Percent-decoding happens exactly once: "%252e" becomes "%2e" and stays so.
//  - Dot segments are removed after decoding ("%2e%2e" is ".."; RFC 3986 sections 2.3 and 5.2.4); ".." at the root
//  stays
//    at the root. So the result never climbs.
//  - Empty segments are removed ("//a///b" is "/a/b", as nginx's merge_slashes and Go's ServeMux have it), and so
//  before
//    ".." is looked at ("/a//.." is "/", not "/a/"). RFC 3986 tells "/a//b" from "/a/b", but the kernel does not: a
//    rule for "/a/b" that "/a//b" comes past, to the same file, is none.
//  - An encoded slash ("%2F") is refused with 400. Decoded it would be told apart from a real separator by nobody
//    behind us; kept encoded it could not be told from "%252F".
//  - What else some servers take for syntax is a byte like any other, here and for the kernel: ";", a backslash, a dot
//  or blank
//    at a segment's end. Letters' case counts. "/a" and "/a/" are two paths; router.hpp says what is made of that.
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
/// touched only when the path holds '%', "/." or "//". O(n), no allocation.
[[nodiscard]] NormalisedPath normalise_path(std::string_view raw, std::span<char> scratch) noexcept;

}  // namespace fiberd::http
