#pragma once
// ASCII text: case, control characters, how far two words are apart. Character by character: characters.hpp.
#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd {

namespace ascii {

[[nodiscard]] std::string lower(std::string_view text);

/// Holds a control character that no field of HTTP may hold; tabs may be there.
[[nodiscard]] bool has_control(std::string_view text) noexcept;

}  // namespace ascii

/// Levenshtein's distance, in time and memory that grow with a.size() × b.size(): for names.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace fiberd
