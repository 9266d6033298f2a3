#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "core/base/json.hpp"
#include "daemon/services/aggregate/view.hpp"

namespace fiberd::daemon::aggregate {

namespace {

/// The shortest form that reads back as the same number.
void append(std::string& out, double value) {
  std::array<char, 32> text;
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

std::string_view name_of(Kind kind) noexcept {
  static constexpr std::array<std::string_view, 4> kNames{"counter", "gauge", "timer", "set"};
  return kNames[static_cast<std::size_t>(kind)];
}

// ---------------------------------------------------------------------------------------------- Prometheus

void prometheus_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else {
    append(out, value);
  }
}

void sample(std::string& out, const std::string& name, std::string_view suffix, const std::string& labels,
            std::string_view quantile, double value) {
  out += name;
  out += suffix;
  if (!labels.empty() || !quantile.empty()) {
    out += '{';
    out += labels;
    if (!quantile.empty()) {
      if (!labels.empty()) out += ',';
      out += "quantile=\"";
      out += quantile;
      out += '"';
    }
    out += '}';
  }
  out += ' ';
  prometheus_number(out, value);
  out += '\n';
}

void head(std::string& out, const PrometheusNames::Family& family) {
  static constexpr std::array<std::string_view, 4> kTypes{"counter", "gauge", "summary", "gauge"};
  static constexpr std::array<std::string_view, 4> kSays{"", "", "; quantiles are those of the last interval",
                                                         "; distinct members in the last interval"};
  const auto kind = static_cast<std::size_t>(family.kind());
  out += "# HELP " + family.name() + " StatsD " + std::string(name_of(family.kind())) + " " + family.statsd_name();
  out += kSays[kind];
  out += "\n# TYPE " + family.name() + ' ';
  out += kTypes[kind];
  out += '\n';
}

// ---------------------------------------------------------------------------------------------- JSON

void json_number(std::string& out, std::string_view key, double value) {
  out += ",\"";
  out += key;
  out += "\":";
  if (std::isfinite(value)) {
    append(out, value);
  } else {
    out += "null";
  }
}

void json_tags(std::string& out, std::string_view tags) {
  out += ",\"tags\":{";
  for (bool first = true; !tags.empty(); first = false) {
    const std::string_view tag = tags.substr(0, tags.find(','));
    tags.remove_prefix(std::min(tags.size(), tag.size() + 1));
    const std::size_t colon = tag.find(':');
    if (!first) out += ',';
    append_json_string(out, tag.substr(0, colon));
    out += ':';
    append_json_string(out, colon == std::string_view::npos ? "true" : tag.substr(colon + 1));
  }
  out += '}';
}

void json_row(std::string& out, const View& view, const Row& row) {
  const PrometheusNames::Family& family = row.info->labels.family();
  out += "{\"name\":";
  append_json_string(out, family.statsd_name());
  out += ",\"type\":";
  append_json_string(out, name_of(family.kind()));
  json_tags(out, row.info->tags);
  switch (family.kind()) {
    case Kind::counter:
      json_number(out, "total", row.total);
      json_number(out, "delta", row.delta);
      break;
    case Kind::gauge: json_number(out, "value", row.total); break;
    case Kind::timer:
      json_number(out, "sum", row.total);
      json_number(out, "count", row.count);
      json_number(out, "interval_count", row.delta);
      out += ",\"quantiles\":{";
      for (std::size_t i = 0; i < row.quantiles.size(); ++i) {
        std::string pair;
        json_number(pair, view.percentiles[i].first, row.quantiles[i]);
        out += i == 0 ? pair.substr(1) : pair;
      }
      out += '}';
      break;
    case Kind::set: json_number(out, "members", row.total); break;
  }
  out += '}';
}

// ---------------------------------------------------------------------------------------------- StatsD

/// Puts lines together to pieces.
class Pieces {
 public:
  explicit Pieces(std::size_t size) : size_(size) {}
  /// `lines` stay together.
  void add(const std::string& lines) {
    if (pieces_.empty() || pieces_.back().size() + lines.size() > size_) pieces_.emplace_back();
    pieces_.back() += lines;
  }
  [[nodiscard]] std::vector<std::string> take() noexcept { return std::move(pieces_); }

 private:
  std::size_t size_;
  std::vector<std::string> pieces_;
};

std::string statsd_line(const SeriesInfo& info, double value, double weight) {
  std::string line = info.labels.family().statsd_name() + ':';
  append(line, value);
  line += '|';
  line += symbol(info.type);
  if (weight > 1) {
    // Etsy's statsd reads no exponent here.
    std::array<char, 64> text;
    line += "|@";
    line.append(text.data(),
                std::to_chars(text.data(), text.data() + text.size(), 1 / weight, std::chars_format::fixed).ptr);
  }
  if (!info.tags.empty()) line += "|#" + info.tags;
  line += '\n';
  return line;
}

}  // namespace

std::string render_prometheus(const View& view) {
  std::string out;
  const std::string* last = nullptr;
  for (const Row& row : view.rows) {
    const PrometheusNames::Family& family = row.info->labels.family();
    const std::string& name = family.name();
    const std::string& labels = row.info->labels.text();
    if (last == nullptr || *last != name) head(out, family);
    last = &name;
    if (family.kind() != Kind::timer) {
      sample(out, name, "", labels, "", row.total);
      continue;
    }
    for (std::size_t i = 0; i < row.quantiles.size(); ++i)
      sample(out, name, "", labels, view.percentiles[i].first, row.quantiles[i]);
    sample(out, name, "_sum", labels, "", row.total);
    sample(out, name, "_count", labels, "", row.count);
  }
  return out;
}

std::string render_json(const View& view) {
  std::string out = "{\"listener\":";
  append_json_string(out, view.listener);
  json_number(out, "time", static_cast<double>(view.unix_milliseconds) / 1000);
  json_number(out, "interval_seconds", std::chrono::duration<double>(view.interval).count());
  out += ",\"series\":[";
  for (const Row& row : view.rows) {
    if (&row != view.rows.data()) out += ",\n";
    json_row(out, view, row);
  }
  return out += "]}\n";
}

std::vector<std::string> render_statsd(const View& view, std::size_t piece) {
  Pieces pieces(piece);
  for (const Row& row : view.rows) {
    if (!row.touched) continue;
    const SeriesInfo& info = *row.info;
    switch (info.labels.family().kind()) {
      case Kind::counter: pieces.add(statsd_line(info, row.delta, 1)); break;
      case Kind::gauge:
        pieces.add((std::signbit(row.total) ? statsd_line(info, 0, 1) : std::string()) +
                   statsd_line(info, row.total, 1));
        break;
      case Kind::timer:
        if (row.sketch == nullptr) break;
        row.sketch->for_each([&](double value, double weight) {
          // Rates have a lower bound; what is beyond goes in lines of its own.
          static constexpr double kMost = 1 / kMinRate;
          for (; weight > kMost; weight -= kMost) pieces.add(statsd_line(info, value, kMost));
          pieces.add(statsd_line(info, value, weight));
        });
        break;
      case Kind::set:
        if (row.members == nullptr) break;
        for (const std::string& member : *row.members)
          pieces.add(info.labels.family().statsd_name() + ':' + member + "|s" +
                     (info.tags.empty() ? "" : "|#" + info.tags) + '\n');
        break;
    }
  }
  return pieces.take();
}

}  // namespace fiberd::daemon::aggregate
