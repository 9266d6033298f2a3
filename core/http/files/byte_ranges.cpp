#include "core/http/files/byte_ranges.hpp"

#include <algorithm>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

/// Digits only; saturates, since beyond the end is beyond the end.
bool read_number(std::string_view text, std::uint64_t& n) noexcept {
  if (text.empty()) return false;
  n = 0;
  for (const char c : text) {
    if (!is_class(c, chars::kDigit)) return false;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
  }
  return true;
}

constexpr bool touch(const ByteRange& a, const ByteRange& b) noexcept {
  // Ends lie below the size, so + 1 cannot wrap.
  return a.first <= b.last + 1 && b.first <= a.last + 1;
}

void merge_in(std::vector<ByteRange>& ranges, ByteRange r) {
  std::size_t place = ranges.size();
  for (std::size_t i = 0; i < ranges.size();) {
    if (!touch(ranges[i], r)) {
      ++i;
      continue;
    }
    // It grows, and may now touch one that it did not before.
    r = {std::min(r.first, ranges[i].first), std::max(r.last, ranges[i].last)};
    place = std::min(place, i);
    ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(i));
    i = 0;
  }
  ranges.insert(ranges.begin() + static_cast<std::ptrdiff_t>(std::min(place, ranges.size())), r);
}

}  // namespace

RangeVerdict parse_byte_ranges(std::string_view value, std::uint64_t size, std::size_t most,
                               std::vector<ByteRange>& out) {
  out.clear();
  const std::size_t equals = value.find('=');
  if (size == 0 || equals == std::string_view::npos || !equals_lower(value.substr(0, equals), "bytes"))
    return RangeVerdict::whole;
  std::string_view rest = value.substr(equals + 1);
  std::size_t count = 0;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view spec = trim(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (spec.empty()) continue;  // empty elements of a list (RFC 9110 section 5.6.1.2)
    if (++count > most) return RangeVerdict::whole;
    const std::size_t dash = spec.find('-');
    if (dash == std::string_view::npos) return RangeVerdict::whole;
    std::uint64_t first = 0;
    std::uint64_t last = size - 1;
    if (dash == 0) {
      std::uint64_t suffix = 0;
      if (!read_number(spec.substr(1), suffix)) return RangeVerdict::whole;
      if (suffix == 0) continue;
      first = suffix >= size ? 0 : size - suffix;
    } else {
      if (!read_number(spec.substr(0, dash), first)) return RangeVerdict::whole;
      if (dash + 1 != spec.size()) {
        std::uint64_t asked = 0;
        if (!read_number(spec.substr(dash + 1), asked) || asked < first) return RangeVerdict::whole;
        last = std::min(last, asked);
      }
      if (first >= size) continue;
    }
    merge_in(out, {first, last});
  }
  if (count == 0) return RangeVerdict::whole;
  return out.empty() ? RangeVerdict::unsatisfiable : RangeVerdict::parts;
}

}  // namespace fiberd::http
