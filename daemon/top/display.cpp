#include "daemon/top/display.hpp"

#include <langinfo.h>
#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/base/utf8.hpp"

namespace fiberd::daemon::top {

namespace {

/// The user's encoding decides what may be shown, a table of UTF-8 how wide it is. Both live for ever.
struct Locales {
  locale_t widths = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  bool utf8 = [] {
    const locale_t own = ::newlocale(LC_CTYPE_MASK, "", nullptr);
    if (own == nullptr) return false;
    const bool is = std::string_view(::nl_langinfo_l(CODESET, own)) == "UTF-8";
    ::freelocale(own);
    return is;
  }();
};

const Locales& locales() {
  static const Locales all;
  return all;
}

wchar_t decode(std::string_view sequence) noexcept {
  const auto lead = static_cast<unsigned char>(sequence.front());
  if (sequence.size() == 1) return static_cast<wchar_t>(lead);
  unsigned code = lead & (0x7fU >> sequence.size());
  for (const char c : sequence.substr(1)) code = code << 6U | (static_cast<unsigned char>(c) & 0x3fU);
  return static_cast<wchar_t>(code);
}

/// Invisible, and changes what is beside it.
bool formats(wchar_t c) noexcept {
  return c == 0x061c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
         c == 0xfeff || c == 0x00ad;
}

/// Calls `put(piece, width)` for each character as it may be shown, until that returns false.
template <class F>
void each_character(std::string_view text, F put) {
  const Locales& all = locales();
  const locale_t before = all.widths != nullptr ? ::uselocale(all.widths) : nullptr;
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    std::string_view piece = text.substr(0, std::max<std::size_t>(n, 1));
    text.remove_prefix(piece.size());
    int width = 1;
    if (n == 0 || (n > 1 && (!all.utf8 || all.widths == nullptr))) {
      piece = "?";
    } else {
      const wchar_t c = decode(piece);
      width = n == 1 ? (c >= 0x20 && c < 0x7f ? 1 : -1) : ::wcwidth(c);
      if (width < 0 || formats(c)) piece = "?", width = 1;
    }
    if (!put(piece, static_cast<std::size_t>(width))) break;
  }
  if (before != nullptr) ::uselocale(before);
}

std::string formatted(const char* format, double n) {
  char text[48];
  std::snprintf(text, sizeof text, format, n);
  return text;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t all = 0;
  each_character(text, [&](std::string_view, std::size_t width) { return all += width, true; });
  return all;
}

std::string fit(std::string_view text, std::size_t columns, bool to_right) {
  if (columns == 0) return {};
  const std::string_view more = locales().utf8 ? "…" : "~";
  std::string out;
  std::size_t used = 0;
  std::string shorter;  // as much as leaves room for what says that there is more
  std::size_t shorter_used = 0;
  bool cut = false;
  each_character(text, [&](std::string_view piece, std::size_t width) {
    if (used + width > columns) {
      cut = true;
      return false;
    }
    out += piece;
    used += width;
    if (used < columns) {
      shorter = out;
      shorter_used = used;
    }
    return true;
  });
  if (cut) {
    out = shorter.append(more);
    used = shorter_used + 1;
  }
  const std::string filling(columns - used, ' ');
  return to_right ? filling + out : out + filling;
}

std::string short_count(double n) {
  if (!std::isfinite(n)) return "-";
  if (n < 10 && n != std::floor(n)) return formatted("%.1f", n);
  if (n < 10'000) return formatted("%.0f", n);
  if (n < 1e6) return formatted(n < 1e5 ? "%.1fk" : "%.0fk", n / 1e3);
  if (n < 1e9) return formatted(n < 1e8 ? "%.1fM" : "%.0fM", n / 1e6);
  return formatted("%.1fG", n / 1e9);
}

std::string short_bytes(double n) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (n >= 1024 && unit + 1 < std::size(kUnits)) {
    n /= 1024;
    ++unit;
  }
  return formatted(unit == 0 || n >= 100 ? "%.0f" : "%.1f", n) + " " + kUnits[unit];
}

std::string short_seconds(double s) {
  if (!std::isfinite(s)) return "-";
  const std::string micro = locales().utf8 ? " µs" : " us";
  if (s < 1e-3) return formatted("%.0f", s * 1e6) + micro;
  if (s < 1) return formatted(s < 0.1 ? "%.1f ms" : "%.0f ms", s * 1e3);
  if (s < 60) return formatted("%.1f s", s);
  if (s < 7'200) return formatted("%.0f min", std::floor(s / 60));
  if (s < 172'800) return formatted("%.0f h", std::floor(s / 3'600));
  return formatted("%.0f d", std::floor(s / 86'400));
}

std::string bar(double share, std::size_t columns) {
  const double filled = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * static_cast<double>(columns);
  const auto n = std::min(static_cast<std::size_t>(std::lround(filled)), columns);
  return std::string(n, '|') + std::string(columns - n, ' ');
}

}  // namespace fiberd::daemon::top
