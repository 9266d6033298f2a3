#pragma once
// One line of the StatsD protocol, as Etsy's statsd (metric_types.md) and DogStatsD 1.1 and 1.2 write it:
//
//   name ':' value {':' value} '|' type ['|@' rate] ['|#' tag {',' tag}] ['|c:' container] ['|e:' external data]
//
// Nothing is copied: what comes out are views into the line. The parser is strict, since what it lets through becomes
// names and labels on other people's pages: a line that is not exactly this is refused whole, with a reason to count.
// Bounds: below. Not understood, and refused: Etsy's several types in one line ("a:1|c:2|ms"), timestamps ("|T…"),
// events ("_e{…") and service checks ("_sc|…").
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fiberd::daemon::aggregate {

enum class StatsdType : std::uint8_t { counter, gauge, timer, histogram, distribution, set, count_ };
/// As it stands in a line: "c", "g", "ms", "h", "d", "s".
[[nodiscard]] std::string_view symbol(StatsdType type) noexcept;
/// As metrics name it: "counter", …
[[nodiscard]] std::string_view to_string(StatsdType type) noexcept;

/// Why a line is refused; `none`: it is not.
enum class StatsdError : std::uint8_t {
  none,
  name,     ///< empty, over kMaxName, or a byte other than letters, digits, _ . - / (the first: no . - /)
  value,    ///< none, no decimal number, not finite, beyond ±kMaxValue, too many; a negative or signed counter
  type,     ///< none, or not one of c g ms h d s
  rate,     ///< not a number in [kMinRate, 1]
  tags,     ///< empty, too many, too long, a key that is no name, control characters, not UTF-8
  section,  ///< a part between bars that is not known, or there twice
  length,   ///< longer than the listener's line_size: found by who cuts lines, not by the parser
  count_
};
[[nodiscard]] std::string_view to_string(StatsdError error) noexcept;

inline constexpr std::size_t kMaxName = 255;       ///< bytes
inline constexpr std::size_t kMaxValues = 64;      ///< of one line
inline constexpr std::size_t kMaxMember = 255;     ///< bytes of a set's member
inline constexpr std::size_t kMaxTags = 32;        ///< of one line
inline constexpr std::size_t kMaxTag = 200;        ///< bytes of one tag, key and value
inline constexpr std::size_t kMaxTagsSize = 2048;  ///< bytes of all tags with their commas
/// Bounds of a value and a rate, so that no sum of them can become infinite or lose its meaning. Nanoseconds since 1970
/// are below 2e18.
inline constexpr double kMaxValue = 1e21;
inline constexpr double kMinRate = 1e-6;

struct StatsdLine {
  std::string_view name;
  std::string_view tags;    ///< without '#'; empty: none
  std::string_view member;  ///< of a set: all between the name's colon and the bar, colons included
  double weight = 1;        ///< how many observations each value stands for: 1/rate; for gauges and sets always 1
  StatsdType type = StatsdType::counter;
  bool tags_in_order = true;   ///< ascending by bytes, none twice
  std::uint8_t count = 0;      ///< of values; 0 for sets
  std::uint64_t relative = 0;  ///< bit i: values[i] of a gauge had a sign, so it is added and does not replace
  std::array<double, kMaxValues> values;  ///< the first `count` are set

  // Not initialised on purpose: half a kilobyte a line.
  StatsdLine() noexcept {}  // NOLINT: values
};

/// Parses one line without its line end (a CR before it is no part of a line either). `out` is meaningful when `none`
/// is returned. Never allocates, never parks.
[[nodiscard]] StatsdError parse_statsd_line(std::string_view line, StatsdLine& out) noexcept;

/// `tags` in ascending order, so that the order in which a client writes them makes no second series: written into
/// `scratch`, which holds at least tags.size() bytes. `tags` are a parsed line's.
[[nodiscard]] std::string_view sort_tags(std::string_view tags, char* scratch) noexcept;

}  // namespace fiberd::daemon::aggregate
