#include "core/http/date.hpp"

#include <algorithm>
#include <cstring>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
constexpr std::int64_t kFirst = -62167219200;  // year 0
constexpr std::int64_t kLast = 253402300799;   // the last second of 9999

// Days since 1970 of a date in the proleptic Gregorian calendar, and back (Howard Hinnant's algorithms).
constexpr std::int64_t days_from_civil(std::int64_t y, unsigned m, unsigned d) noexcept {
  y -= m <= 2;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const auto yoe = static_cast<unsigned>(y - era * 400);
  const unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  const unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<std::int64_t>(doe) - 719468;
}

void put2(char* out, unsigned v) noexcept {
  out[0] = static_cast<char>('0' + v / 10);
  out[1] = static_cast<char>('0' + v % 10);
}

/// A cursor over fixed text; the first mismatch makes it fail for good.
struct Cursor {
  std::string_view rest;
  bool ok = true;

  void expect(std::string_view text) noexcept {
    ok = ok && rest.starts_with(text);
    if (ok) rest.remove_prefix(text.size());
  }
  unsigned number(std::size_t digits) noexcept {
    unsigned v = 0;
    if (rest.size() < digits) ok = false;
    for (std::size_t i = 0; ok && i < digits; ++i) {
      ok = is_class(rest[i], chars::kDigit);
      v = v * 10 + static_cast<unsigned>(rest[i] - '0');
    }
    if (ok) rest.remove_prefix(digits);
    return v;
  }
  /// Index of a three-letter name in a table of them.
  unsigned name(std::string_view table) noexcept {
    if (rest.size() < 3) ok = false;
    for (std::size_t i = 0; ok && i < table.size(); i += 3) {
      if (rest.substr(0, 3) == table.substr(i, 3)) {
        rest.remove_prefix(3);
        return static_cast<unsigned>(i / 3);
      }
    }
    ok = false;
    return 0;
  }
};

struct Parts {
  unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void time_of_day(Cursor& c, Parts& p) noexcept {
  p.hour = c.number(2);
  c.expect(":");
  p.minute = c.number(2);
  c.expect(":");
  p.second = c.number(2);
}

}  // namespace

void format_date(std::time_t seconds, char* out) noexcept {
  const std::int64_t t = std::clamp<std::int64_t>(seconds, kFirst, kLast);
  std::int64_t days = t / 86400;
  std::int64_t in_day = t % 86400;
  if (in_day < 0) {
    in_day += 86400;
    --days;
  }
  const std::int64_t z = days + 719468;
  const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const auto doe = static_cast<unsigned>(z - era * 146097);
  const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const unsigned mp = (5 * doy + 2) / 153;
  const unsigned day = doy - (153 * mp + 2) / 5 + 1;
  const unsigned month = mp < 10 ? mp + 3 : mp - 9;
  const auto year = static_cast<unsigned>(static_cast<std::int64_t>(yoe) + era * 400 + (month <= 2 ? 1 : 0));
  const auto weekday = static_cast<std::size_t>(((days % 7) + 11) % 7);  // 1 January 1970 was a Thursday
  const auto s = static_cast<unsigned>(in_day);

  std::memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", kDateSize);
  std::memcpy(out, kDays.data() + 3 * weekday, 3);
  put2(out + 5, day);
  std::memcpy(out + 8, kMonths.data() + 3 * (month - 1), 3);
  put2(out + 12, year / 100);
  put2(out + 14, year % 100);
  put2(out + 17, s / 3600);
  put2(out + 20, s / 60 % 60);
  put2(out + 23, s % 60);
}

std::optional<std::time_t> parse_date(std::string_view text, std::time_t now) noexcept {
  Cursor c{text};
  Parts p;
  c.name(kDays);
  if (!c.ok) return std::nullopt;
  if (c.rest.starts_with(", ")) {  // Sun, 06 Nov 1994 08:49:37 GMT
    c.expect(", ");
    p.day = c.number(2);
    c.expect(" ");
    p.month = c.name(kMonths) + 1;
    c.expect(" ");
    p.year = c.number(4);
    c.expect(" ");
    time_of_day(c, p);
    c.expect(" GMT");
  } else if (c.rest.starts_with(" ")) {  // Sun Nov  6 08:49:37 1994
    c.expect(" ");
    p.month = c.name(kMonths) + 1;
    c.expect(" ");
    if (c.rest.starts_with(" ")) {
      c.expect(" ");
      p.day = c.number(1);
    } else {
      p.day = c.number(2);
    }
    c.expect(" ");
    time_of_day(c, p);
    c.expect(" ");
    p.year = c.number(4);
  } else {  // Sunday, 06-Nov-94 08:49:37 GMT
    const std::size_t comma = c.rest.find(", ");
    constexpr std::array<std::string_view, 7> tails{"day", "day", "sday", "nesday", "rsday", "day", "urday"};
    if (comma == std::string_view::npos) return std::nullopt;
    if (std::find(tails.begin(), tails.end(), c.rest.substr(0, comma)) == tails.end()) return std::nullopt;
    c.rest.remove_prefix(comma);
    c.expect(", ");
    p.day = c.number(2);
    c.expect("-");
    p.month = c.name(kMonths) + 1;
    c.expect("-");
    p.year = c.number(2);
    c.expect(" ");
    time_of_day(c, p);
    c.expect(" GMT");
    const std::int64_t this_year = 1970 + static_cast<std::int64_t>(now) / 31556952;
    std::int64_t year = this_year / 100 * 100 + p.year;
    if (year > this_year + 50) year -= 100;
    if (year < 0) return std::nullopt;
    p.year = static_cast<unsigned>(year);
  }
  if (!c.ok || !c.rest.empty()) return std::nullopt;
  const bool leap = (p.year % 4 == 0 && p.year % 100 != 0) || p.year % 400 == 0;
  constexpr std::array<unsigned, 12> lengths{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const unsigned month_length = lengths[p.month - 1] + (p.month == 2 && leap ? 1 : 0);
  if (p.day < 1 || p.day > month_length || p.hour > 23 || p.minute > 59 || p.second > 60) return std::nullopt;
  return days_from_civil(p.year, p.month, p.day) * 86400 + p.hour * 3600 + p.minute * 60 + p.second;
}

}  // namespace fiberd::http
