#include "core/base/units.hpp"

#include <array>
#include <charconv>

namespace fiberd {

namespace {
struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 7> kDurations{{{"d", 86'400'000'000'000},
                                          {"h", 3'600'000'000'000},
                                          {"m", 60'000'000'000},
                                          {"s", 1'000'000'000},
                                          {"ms", 1'000'000},
                                          {"us", 1'000},
                                          {"ns", 1}}};
constexpr std::array<Unit, 5> kSizes{
    {{"TiB", 1ULL << 40U}, {"GiB", 1ULL << 30U}, {"MiB", 1ULL << 20U}, {"KiB", 1ULL << 10U}, {"B", 1}}};

constexpr std::array<Unit, 3> kRates{{{"/s", 3600}, {"/m", 60}, {"/h", 1}}};

template <std::size_t N>
const Unit* find(const std::array<Unit, N>& units, std::string_view name) noexcept {
  for (const Unit& unit : units)
    if (unit.name == name) return &unit;
  return nullptr;
}

template <std::size_t N>
std::string format(const std::array<Unit, N>& units, std::uint64_t value) {
  for (const Unit& unit : units)
    if (value != 0 && value % unit.factor == 0) return std::to_string(value / unit.factor).append(unit.name);
  return "0";
}
}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) noexcept {
  if (text == "0") return std::chrono::nanoseconds(0);
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  std::uint64_t sum = 0;
  const Unit* before = nullptr;  // of the part before this one
  do {
    std::uint64_t whole = 0;
    const char* const begin = at;
    const auto parsed = std::from_chars(at, end, whole);
    if (parsed.ec != std::errc{}) return std::nullopt;
    at = parsed.ptr;
    std::uint64_t fraction = 0;
    std::uint64_t scale = 1;
    const bool has_fraction = at != end && *at == '.';
    if (has_fraction) {
      const char* const digits = at + 1;
      for (at = digits; at != end && *at >= '0' && *at <= '9'; ++at) {
        if (at - digits >= 9) return std::nullopt;
        fraction = fraction * 10 + static_cast<std::uint64_t>(*at - '0');
        scale *= 10;
      }
      if (at == digits) return std::nullopt;
    }
    const char* const name = at;
    while (at != end && *at >= 'a' && *at <= 'z') ++at;
    const Unit* const unit = find(kDurations, std::string_view(name, static_cast<std::size_t>(at - name)));
    if (unit == nullptr) return std::nullopt;
    // One way to write what has several parts: each below the one before it, without leading zeros, whole.
    const bool several = before != nullptr || at != end;
    if (several && (has_fraction || (name - begin > 1 && *begin == '0'))) return std::nullopt;
    std::uint64_t ns = 0;
    // fraction < 10^9; beyond 2^34 ns a unit is a multiple of 10^9, so dividing first loses nothing there.
    const std::uint64_t part = unit->factor > 1'000'000'000
                                   ? fraction * (unit->factor / 1'000'000'000) * (1'000'000'000 / scale)
                                   : fraction * unit->factor / scale;
    if (__builtin_mul_overflow(whole, unit->factor, &ns) || __builtin_add_overflow(ns, part, &ns)) return std::nullopt;
    if (before != nullptr && (unit->factor >= before->factor || ns >= before->factor)) return std::nullopt;
    if (__builtin_add_overflow(sum, ns, &sum) || sum > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    before = unit;
  } while (at != end);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(sum));
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  const auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc{}) return std::nullopt;
  if (at == end) return whole;
  const Unit* const unit = find(kSizes, std::string_view(at, static_cast<std::size_t>(end - at)));
  std::uint64_t bytes = 0;
  if (unit == nullptr || __builtin_mul_overflow(whole, unit->factor, &bytes)) return std::nullopt;
  return bytes;
}

std::optional<std::uint64_t> parse_rate(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  const auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc{}) return std::nullopt;
  const Unit* const unit = find(kRates, std::string_view(at, static_cast<std::size_t>(end - at)));
  std::uint64_t per_hour = 0;
  if (unit == nullptr || __builtin_mul_overflow(whole, unit->factor, &per_hour)) return std::nullopt;
  return per_hour;
}

std::string format_duration(std::chrono::nanoseconds d) {
  return d.count() == 0 ? "0s" : format(kDurations, static_cast<std::uint64_t>(d.count()));
}

std::string format_bytes(std::uint64_t bytes) { return format(kSizes, bytes); }

std::string format_rate(std::uint64_t per_hour) { return per_hour == 0 ? "0/s" : format(kRates, per_hour); }

}  // namespace fiberd
