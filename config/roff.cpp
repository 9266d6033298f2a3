#include "config/roff.hpp"

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "core/base/clock.hpp"

namespace fiberd::config {

std::string roff(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out = "\\&";
  for (const char c : text) {
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;  // else it is typeset as a hyphen, which no shell takes for an option
      case '^': out += "\\(ha"; break;
      case '~': out += "\\(ti"; break;
      case '`': out += "\\(ga"; break;
      case '\'': out += "\\(aq"; break;
      case '\n': out += ' '; break;
      default: out += c;
    }
  }
  return out;
}

static std::chrono::sys_days day_of_page() {
  const char* const epoch = std::getenv("SOURCE_DATE_EPOCH");
  if (epoch != nullptr) {
    const std::string_view text = epoch;
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    constexpr std::int64_t kLatest = 253'402'300'799;  // the year 9999
    if (error == std::errc{} && end == text.data() + text.size() && seconds >= 0 && seconds <= kLatest)
      return std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(std::chrono::seconds(seconds)));
  }
  return std::chrono::floor<std::chrono::days>(wall_now());
}

std::string roff_title(std::string_view title, int section, std::string_view version) {
  const std::chrono::year_month_day day(day_of_page());
  const auto two = [](unsigned number) { return (number < 10 ? "0" : "") + std::to_string(number); };
  std::string out = ".TH " + std::string(title) + " " + std::to_string(section) + " \"";
  out += std::to_string(static_cast<int>(day.year())) + "-" + two(static_cast<unsigned>(day.month())) + "-" +
         two(static_cast<unsigned>(day.day())) + "\" \"fiberd";
  if (!version.empty()) out += " " + roff(version);
  return out + "\"\n";
}

}  // namespace fiberd::config
