#include "core/runtime/pressure_stall.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace fiberd::runtime {

/// Of a line "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
static std::optional<std::uint64_t> total_of(std::string_view text, std::string_view kind) noexcept {
  static constexpr std::string_view kTotal = " total=";
  const std::size_t line = text.find(kind);
  if (line == std::string_view::npos || (line != 0 && text[line - 1] != '\n')) return std::nullopt;
  const std::string_view rest = text.substr(line, std::min(text.find('\n', line), text.size()) - line);
  const std::size_t at = rest.find(kTotal);
  if (at == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const std::string_view number = rest.substr(at + kTotal.size());
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  return error == std::errc{} && end != number.data() ? std::optional(value) : std::nullopt;
}

std::optional<StallTimes> parse_stall_times(std::string_view text) noexcept {
  const auto some = total_of(text, "some ");
  if (!some) return std::nullopt;
  return StallTimes{*some, total_of(text, "full ").value_or(0)};
}

std::optional<StallTimes> read_stall_times(const std::string& path) noexcept {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::array<char, 512> room;
  const ssize_t n = ::read(fd, room.data(), room.size());
  ::close(fd);
  if (n <= 0) return std::nullopt;
  return parse_stall_times({room.data(), static_cast<std::size_t>(n)});
}

}  // namespace fiberd::runtime
