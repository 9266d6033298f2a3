#pragma once
// Whether text is UTF-8 that every reader takes.
#include <string_view>

namespace fiberd {

/// RFC 3629: shortest form, no surrogates, at most U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view s) noexcept;

}  // namespace fiberd
