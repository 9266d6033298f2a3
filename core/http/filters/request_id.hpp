#pragma once
// Request ids: a name for each request, which logs, upstreams and answers share.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fiberd::http {

/// The slot (Exchange::find_slot<RequestId>) in which the request's id stands; empty: none was given.
struct RequestId {
  std::string text{};
};

inline constexpr std::size_t kMaxRequestId = 128;

/// 32 hexadecimal digits in lower case, as a trace id of W3C Trace Context is: it can be one.
[[nodiscard]] std::array<char, 32> format_request_id(std::uint64_t high, std::uint64_t low) noexcept;

/// Whether an id that somebody else gave may be taken over: 8 to kMaxRequestId letters, digits and "-_.:/+=@", which
/// need no escape in logs, URIs, JSON or fields. (Shorter ones name nothing.)
[[nodiscard]] bool is_request_id(std::string_view text) noexcept;

}  // namespace fiberd::http
