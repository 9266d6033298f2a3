#pragma once
// traceparent and tracestate: W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/). Whoever calls us
// writes them, so they are read as strictly as the standard is written: what is not one is none, and the request begins
// a trace of its own.
//
// Decisions
//  - Version 00 has 55 characters and no more. A higher version is read as far as 00 goes, if a '-' follows there; ff
//    is none. What we write is version 00.
//  - Of the flags only `sampled` is known, and only that is passed on: the standard asks for zero in the rest.
//  - Two traceparent fields are none (whoever reads: HeaderView knows).
//  - A tracestate that is wrong anywhere is dropped as a whole, and the traceparent stays. Of two members with one key
//    both stay, for the standard leaves that open and the order is somebody's.
//  - 32 members at most. Of what is longer than kMostState the members over 128 characters go first, from the end, and
//    then the last ones, as the standard wants it.
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/trace/ids.hpp"

namespace fiberd::trace {

inline constexpr std::size_t kTraceparentSize = 55;
inline constexpr std::size_t kMostMembers = 32;
inline constexpr std::size_t kMostState = 2048;  ///< characters of a tracestate that are passed on

/// What the field says: the caller's span, and whether he has sampled it. Blanks and tabs around it are no part of it.
[[nodiscard]] std::optional<SpanContext> parse_traceparent(std::string_view text) noexcept;
[[nodiscard]] std::array<char, kTraceparentSize> write_traceparent(const SpanContext& span) noexcept;

/// Appends the members of one tracestate field to `state`, in their order; empty ones are left out. False: it is none,
/// and `state` is of no use any more. `members`: how many there were before, and then are. Throws std::bad_alloc.
[[nodiscard]] bool append_tracestate(std::string_view text, std::string& state, std::size_t& members);
/// Cuts what was appended to kMostState.
void bound_tracestate(std::string& state);

}  // namespace fiberd::trace
