#pragma once
// Proactive negotiation (RFC 9110 section 12.5): which of what the server has does the client like best.
#include <cstddef>
#include <span>
#include <string_view>

#include "core/http/message.hpp"

namespace fiberd::http {

inline constexpr std::size_t kIdentity = static_cast<std::size_t>(-1);

/// Index into `available` (content codings in lower case, best first) of the one that Accept-Encoding likes best, or
/// kIdentity. Quality values decide; between equals the order of `available`. Identity wins against a coding only when
/// the client names it with a higher quality. Without the field, and when nothing is acceptable: kIdentity. "gzip" also
/// stands for its alias "x-gzip". Never allocates.
[[nodiscard]] std::size_t choose_encoding(const HeaderView& headers,
                                          std::span<const std::string_view> available) noexcept;

/// Index into `available` (media types in lower case without parameters, preferred first) of the one that Accept likes
/// best; the more specific range decides a type's quality. `application/json` also accepts a type that ends in `+json`.
/// 0 without the field, and when nothing is acceptable: an error must say something. Never allocates.
[[nodiscard]] std::size_t choose_media_type(const HeaderView& headers,
                                            std::span<const std::string_view> available) noexcept;

/// RFC 9110 section 12.4.2 in thousandths: "0.8" is 800; negative when malformed.
[[nodiscard]] int parse_quality(std::string_view text) noexcept;

}  // namespace fiberd::http
