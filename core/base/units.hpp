#pragma once
// Durations, byte sizes and rates as people write them.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiberd {

/// "10s", "500ms", "250us", "1m", "1h", "1d", "1.5s"; "1m30s", "1d12h": parts from the greatest unit down, each whole
/// and less than one of the unit before it. "0" alone needs no unit. nullopt: no such form, or beyond 292 years.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) noexcept;
/// "16KiB", "1MiB", "2GiB", "512", "512B": binary units only, so that nobody has to guess. nullopt: no such form, or
/// more than 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept;
/// "12000/s", "100/m", "5/h": whole numbers, as so many an hour. nullopt: no such form, or more than 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_rate(std::string_view text) noexcept;
/// The shortest exact form that parse_* reads back.
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);
[[nodiscard]] std::string format_rate(std::uint64_t per_hour);

}  // namespace fiberd
