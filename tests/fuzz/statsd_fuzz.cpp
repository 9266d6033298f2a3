// StatsD lines: what the parser lets through is within its bounds, is found at its place in the line, and means the
// same when it is written again from its parts; the order of tags is one that sorting leaves alone.
#include <cmath>
#include <cstdio>
#include <string>

#include "core/base/utf8.hpp"
#include "daemon/services/aggregate/statsd_line.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using namespace fiberd::daemon::aggregate;

static std::string number(double value) {
  char text[64];
  (void)std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

static std::string write(const StatsdLine& line) {
  std::string out(line.name);
  if (line.type == StatsdType::set) out += ":" + std::string(line.member);
  for (std::size_t i = 0; i < line.count; ++i) {
    const bool relative = (line.relative >> i & 1U) != 0;
    out += ":" + std::string(relative && !std::signbit(line.values[i]) ? "+" : "") + number(line.values[i]);
  }
  out += "|" + std::string(symbol(line.type));
  if (line.weight != 1) out += "|@" + number(1 / line.weight);
  if (!line.tags.empty()) out += "|#" + std::string(line.tags);
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text(data, size);
  StatsdLine line;
  const StatsdError error = parse_statsd_line(text, line);
  FUZZ_CHECK(!to_string(error).empty());
  if (error != StatsdError::none) return 0;
  FUZZ_CHECK(!line.name.empty() && line.name.size() <= kMaxName && text.starts_with(line.name));
  FUZZ_CHECK(line.weight >= 1 && line.weight <= 1 / kMinRate * (1 + 1e-12));
  FUZZ_CHECK((line.type == StatsdType::set) == (line.count == 0));
  FUZZ_CHECK(line.type == StatsdType::gauge || line.relative == 0);
  for (std::size_t i = 0; i < line.count; ++i) {
    FUZZ_CHECK(std::isfinite(line.values[i]) && std::abs(line.values[i]) <= kMaxValue);
    FUZZ_CHECK(line.type != StatsdType::counter || line.values[i] >= 0);
  }
  FUZZ_CHECK(line.tags.size() <= kMaxTagsSize && is_utf8(line.tags));
  FUZZ_CHECK(text.find('\n') == std::string_view::npos || line.name.find('\n') == std::string_view::npos);
  if (!line.tags.empty()) {
    std::string scratch(line.tags.size(), '\0');
    const std::string_view sorted = sort_tags(line.tags, scratch.data());
    FUZZ_CHECK(sorted.size() == line.tags.size());
    if (line.tags_in_order) FUZZ_CHECK(sorted == line.tags);
    std::string again(sorted.size(), '\0');
    FUZZ_CHECK(sort_tags(sorted, again.data()) == sorted);
  }
  const std::string written = write(line);
  StatsdLine second;
  FUZZ_CHECK(parse_statsd_line(written, second) == StatsdError::none);
  FUZZ_CHECK(second.name == line.name && second.tags == line.tags && second.type == line.type);
  FUZZ_CHECK(second.count == line.count && second.relative == line.relative);
  for (std::size_t i = 0; i < line.count; ++i) FUZZ_CHECK(second.values[i] == line.values[i]);
  FUZZ_CHECK(line.type != StatsdType::set || second.member == line.member);
  return 0;
}
