#pragma once
// Conditional requests (RFC 9110 section 13): whether the client's preconditions hold for what would be sent.
#include <cstdint>
#include <ctime>
#include <string_view>

#include "core/http/message.hpp"

namespace fiberd::http {

/// What the selected representation is known by (RFC 9110 section 8.8).
struct Validators {
  std::string_view etag{};         ///< as the ETag field has it, `"x"` or `W/"x"`; empty: it has none
  std::time_t last_modified = -1;  ///< seconds since 1970; negative: it has none
};

enum class Precondition : std::uint8_t {
  proceed,
  not_modified,  ///< answer 304
  failed         ///< answer 412
};

/// If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, in the order of RFC 9110 section 13.2.2, for a
/// representation that exists. `now` is the wall clock in seconds. A list of entity tags that is malformed matches
/// nothing, so If-Match fails and If-None-Match proceeds; a malformed or repeated date is ignored. Never parks.
[[nodiscard]] Precondition evaluate_preconditions(const Request& request, const Validators& validators,
                                                  std::time_t now) noexcept;

/// Whether Range may be applied: true without If-Range, else only when its validator is strong and the same (RFC 9110
/// section 13.1.5). A date counts as strong when it is more than a second in the past.
[[nodiscard]] bool if_range_holds(const HeaderView& headers, const Validators& validators, std::time_t now) noexcept;

/// Whether `text` is one entity-tag (RFC 9110 section 8.8.3).
[[nodiscard]] bool is_entity_tag(std::string_view text) noexcept;

}  // namespace fiberd::http
