#pragma once
// HTTP dates (RFC 9110 section 5.6.7).
#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>

namespace fiberd::http {

inline constexpr std::size_t kDateSize = 29;  ///< "Sun, 06 Nov 1994 08:49:37 GMT"

/// Writes IMF-fixdate, 29 bytes without a terminator. Years 0000 to 9999; times outside are clamped. No locale, no
/// lock.
void format_date(std::time_t seconds, char* out) noexcept;

/// Seconds since 1970 from IMF-fixdate, or the obsolete forms of RFC 850 and asctime, which a recipient must accept.
/// Empty when malformed, with wrong ranges or a wrong day of the month; the day's name is checked by syntax only. A
/// two-digit year more than 50 years after `now` lies in the century before.
[[nodiscard]] std::optional<std::time_t> parse_date(std::string_view text, std::time_t now) noexcept;

/// The text of the current second. One per processor: not thread-safe. update() is cheap when the second is the same.
class DateCache {
 public:
  explicit DateCache(std::time_t seconds = 0) noexcept : second_(seconds) { format_date(seconds, text_.data()); }
  void update(std::time_t seconds) noexcept {
    if (seconds == second_) return;
    second_ = seconds;
    format_date(seconds, text_.data());
  }
  /// Always kDateSize bytes; changes with update().
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), text_.size()}; }
  [[nodiscard]] std::time_t second() const noexcept { return second_; }

 private:
  std::time_t second_;
  std::array<char, kDateSize> text_;
};

}  // namespace fiberd::http
