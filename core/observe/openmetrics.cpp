#include "core/observe/openmetrics.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/characters.hpp"

namespace fiberd::observe {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::string_view kTotal = "_total";
constexpr std::string_view kInfo = "_info";

void put_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '"')
      out += "\\\"";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
}

template <class... Format>
void put_number(std::string& out, double value, Format... format) {
  std::array<char, 400> text;  // as many digits as a double may have before its point, and those behind it
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, format...);
  out.append(text.data(), end.ptr);
}

/// Counts are whole; what is no count is the shortest text that reads as the same.
void put_value(std::string& out, double value) {
  static constexpr double kExact = 9'007'199'254'740'992.0;
  if (std::isnan(value)) return (void)(out += "NaN");
  if (std::isinf(value)) return (void)(out += value > 0 ? "+Inf" : "-Inf");
  if (value == std::trunc(value) && std::abs(value) < kExact)
    return put_number(out, value, std::chars_format::fixed, 0);
  put_number(out, value, std::chars_format::general);
}

/// A bound has one spelling, since it is part of a series' name: as the specification's canonical numbers.
void put_bound(std::string& out, double bound) {
  if (std::isinf(bound)) return (void)(out += "+Inf");
  const std::size_t from = out.size();
  put_number(out, bound, std::chars_format::general);
  if (out.find_first_of(".e", from) == std::string::npos) out += ".0";
}

void put_time(std::string& out, double seconds) { put_number(out, seconds, std::chars_format::fixed, 3); }

void put_hex(std::string& out, std::span<const std::uint8_t> bytes) {
  for (const std::uint8_t b : bytes) {
    out += ascii::kHexDigits[b >> 4U];
    out += ascii::kHexDigits[b & 15U];
  }
}

/// One family of the page.
class Writer {
 public:
  Writer(std::string& out, const MetricFamily& family, const metric::FamilySnapshot* counted)
      : out_(out), family_(family), counted_(counted), name_(family.name), type_(type_of(family)) {
    if (family.type == MetricType::Counter && name_.ends_with(kTotal)) name_.remove_suffix(kTotal.size());
    if (type_ == "info") name_.remove_suffix(kInfo.size());
  }

  void write() {
    out_.append("# HELP ").append(name_).append(" ");
    put_escaped(out_, family_.help);
    out_.append("\n# TYPE ").append(name_).append(" ").append(type_).append("\n");
    for (const std::string_view unit : {"seconds", "bytes"})
      if (name_.ends_with(unit) && name_.size() > unit.size() && name_[name_.size() - unit.size() - 1] == '_')
        out_.append("# UNIT ").append(name_).append(" ").append(unit).append("\n");
    for (std::size_t i = 0; i < family_.metric.size(); ++i)
      sample(family_.metric[i], counted_ != nullptr ? &counted_->samples[i] : nullptr);
  }

 private:
  static std::string_view type_of(const MetricFamily& family) noexcept {
    switch (family.type) {
      case MetricType::Counter: return "counter";
      case MetricType::Histogram: return "histogram";
      case MetricType::Gauge: return std::string_view(family.name).ends_with(kInfo) ? "info" : "gauge";
      default: return "unknown";
    }
  }

  void sample(const ClientMetric& m, const metric::Sample* more) {
    switch (family_.type) {
      case MetricType::Counter: line(kTotal, m, m.counter.value); break;
      case MetricType::Histogram: histogram(m, more); break;
      default: line(type_ == "info" ? kInfo : std::string_view(), m, m.gauge.value); break;
    }
    if (more == nullptr || more->created == 0 || family_.type == MetricType::Gauge) return;
    begin("_created", m);
    put_time(out_, more->created);
    out_ += '\n';
  }

  void histogram(const ClientMetric& m, const metric::Sample* more) {
    std::size_t next = 0;  // of the exemplars, which are in order of their buckets
    for (std::size_t i = 0; i < m.histogram.bucket.size(); ++i) {
      const ClientMetric::Bucket& bucket = m.histogram.bucket[i];
      begin("_bucket", m, &bucket.upper_bound);
      put_value(out_, static_cast<double>(bucket.cumulative_count));
      if (more != nullptr && next < more->exemplars.size() && more->exemplars[next].bucket == i)
        exemplar(more->exemplars[next++]);
      out_ += '\n';
    }
    line("_count", m, static_cast<double>(m.histogram.sample_count));
    line("_sum", m, m.histogram.sample_sum);
  }

  void exemplar(const metric::SampleExemplar& e) {
    static constexpr std::array<std::uint8_t, 8> kNone{};
    out_ += " # {trace_id=\"";
    put_hex(out_, e.exemplar.trace_id);
    if (e.exemplar.span_id != kNone) {
      out_ += "\",span_id=\"";
      put_hex(out_, e.exemplar.span_id);
    }
    out_ += "\"} ";
    put_value(out_, e.value);
    out_ += ' ';
    put_time(out_, e.time);
  }

  void line(std::string_view suffix, const ClientMetric& m, double value) {
    begin(suffix, m);
    put_value(out_, value);
    out_ += '\n';
  }

  /// A sample up to its value.
  void begin(std::string_view suffix, const ClientMetric& m, const double* bound = nullptr) {
    out_.append(name_).append(suffix);
    char before = '{';
    for (const ClientMetric::Label& label : m.label) {
      (out_ += std::exchange(before, ',')) += label.name;
      out_ += "=\"";
      put_escaped(out_, label.value);
      out_ += '"';
    }
    if (bound != nullptr) {
      (out_ += std::exchange(before, ',')) += "le=\"";
      put_bound(out_, *bound);
      out_ += '"';
    }
    out_ += before == ',' ? "} " : " ";
  }

  std::string& out_;
  const MetricFamily& family_;
  const metric::FamilySnapshot* counted_;
  std::string_view name_;
  std::string_view type_;
};

}  // namespace

std::string render_openmetrics(std::span<const MetricFamily> families,
                               std::span<const metric::FamilySnapshot> counted) {
  std::string out;
  auto next = counted.begin();
  for (const MetricFamily& family : families) {
    const metric::FamilySnapshot* more = nullptr;
    if (next != counted.end() && next->spec.name == family.name) more = &*next++;
    Writer(out, family, more).write();
  }
  return out + "# EOF\n";
}

/// `what` in lower case; npos where it is not.
static std::size_t find_ignoring_case(std::string_view text, std::string_view what) noexcept {
  const auto* const at = std::search(text.begin(), text.end(), what.begin(), what.end(),
                                     [](char a, char b) { return ascii::to_lower(a) == b; });
  return at != text.end() ? static_cast<std::size_t>(at - text.begin()) : std::string_view::npos;
}

bool accepts_version_1(std::string_view accept) noexcept {
  static constexpr std::string_view kType = "application/openmetrics-text";
  static constexpr std::string_view kVersion = "version=";
  while (!accept.empty()) {
    const std::size_t comma = std::min(accept.find(','), accept.size());
    const std::string_view range = accept.substr(0, comma);
    accept.remove_prefix(std::min(comma + 1, accept.size()));
    if (find_ignoring_case(range, kType) == std::string_view::npos) continue;
    const std::size_t at = find_ignoring_case(range, kVersion);
    if (at == std::string_view::npos) return true;
    std::string_view version = range.substr(at + kVersion.size());
    if (version.starts_with('"')) version.remove_prefix(1);
    if (version.starts_with("1.")) return true;
  }
  return false;
}

}  // namespace fiberd::observe
