#pragma once
// Comparing secrets.
#include <string_view>

namespace fiberd {

/// Whether `given` is `secret`. How long that takes says nothing about the secret but what is known of `given`: its
/// size. Never allocates.
[[nodiscard]] bool equal_in_constant_time(std::string_view given, std::string_view secret) noexcept;

}  // namespace fiberd
