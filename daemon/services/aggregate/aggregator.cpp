#include "daemon/services/aggregate/aggregator.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <tuple>

#include "core/base/clock.hpp"

namespace fiberd::daemon::aggregate {

std::string_view to_string(Refusal refusal) noexcept {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(Refusal::count_)> kNames{
      "name", "value", "type", "rate", "tags", "section", "length", "series", "name_clash", "set_members", "memory"};
  return kNames[static_cast<std::size_t>(refusal)];
}

static constexpr Refusal refusal_of(StatsdError error) noexcept {
  return static_cast<Refusal>(static_cast<std::uint8_t>(error) - 1);
}
static_assert(refusal_of(StatsdError::name) == Refusal::name && refusal_of(StatsdError::length) == Refusal::length);

Aggregator::Aggregator(AggregatorOptions options, const AggregatorMetrics& metrics)
    : options_(std::move(options)), metrics_(metrics), map_(options_.series) {}

Aggregator::~Aggregator() = default;

void Aggregator::refuse(Refusal reason, std::uint64_t n) noexcept {
  metric::Counter* const counter = metrics_.refused[static_cast<std::size_t>(reason)];
  if (counter != nullptr) counter->add(n);
}

void Aggregator::add(std::string_view lines) noexcept {
  Tally tally;
  StatsdLine line;
  while (!lines.empty()) {
    const auto* const end = static_cast<const char*>(std::memchr(lines.data(), '\n', lines.size()));
    std::string_view text =
        lines.substr(0, end == nullptr ? lines.size() : static_cast<std::size_t>(end - lines.data()));
    lines.remove_prefix(std::min(lines.size(), text.size() + 1));
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty()) continue;
    if (text.size() > options_.line_size) {
      tally.refuse(Refusal::length);
      continue;
    }
    try {
      add_line(text, line, tally);
    } catch (const std::bad_alloc&) {
      tally.refuse(Refusal::memory);
    }
  }
  for (std::size_t i = 0; i < tally.lines.size(); ++i)
    if (tally.lines[i] != 0 && metrics_.lines[i] != nullptr) metrics_.lines[i]->add(tally.lines[i]);
  for (std::size_t i = 0; i < tally.refused.size(); ++i)
    if (tally.refused[i] != 0) refuse(static_cast<Refusal>(i), tally.refused[i]);
}

void Aggregator::add_line(std::string_view text, StatsdLine& line, Tally& tally) {
  if (const StatsdError error = parse_statsd_line(text, line); error != StatsdError::none) [[unlikely]] {
    tally.refuse(refusal_of(error));
    return;
  }
  char scratch[kMaxTagsSize];
  const SeriesView key{kind_of(line.type), line.name, line.tags_in_order ? line.tags : sort_tags(line.tags, scratch)};
  bool taken = false;
  if (!map_.update(key, [&](Series& series) { taken = take(series, line, tally); })) [[unlikely]] {
    create(key, line, tally);
    return;
  }
  if (taken) ++tally.lines[static_cast<std::size_t>(line.type)];
}

bool Aggregator::take(Series& series, const StatsdLine& line, Tally& tally) {
  if (line.type != StatsdType::set) {
    series.add(line);
    return true;
  }
  series.touched = true;
  if (series.members == nullptr) series.members = std::make_unique<Members>();
  if (series.members->find(line.member) != series.members->end()) return true;
  if (memory_is_short()) {
    tally.refuse(Refusal::memory);
    return false;
  }
  if (!reserve_member()) {
    tally.refuse(Refusal::set_members);
    return false;
  }
  series.members->emplace(line.member);
  return true;
}

bool Aggregator::memory_is_short() const noexcept {
  return options_.pressure != nullptr && options_.pressure->sheds(flow::Priority::normal);
}

bool Aggregator::reserve_member() noexcept {
  std::size_t n = members_.load(std::memory_order_relaxed);
  while (n < options_.set_members)
    if (members_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return true;
  return false;
}

void Aggregator::create(const SeriesView& key, const StatsdLine& line, Tally& tally) {
  // A flood of new names must not cost more than it must.
  if (map_.size() >= options_.series) return tally.refuse(Refusal::series);
  if (memory_is_short()) return tally.refuse(Refusal::memory);
  std::optional<std::string> labels = prometheus_labels(key.tags);
  if (!labels) return tally.refuse(Refusal::tags);
  auto family = names_.claim(key.name, key.kind);
  if (family == nullptr) return tally.refuse(Refusal::name_clash);
  std::optional<PrometheusLabels> claimed = PrometheusLabels::claim(std::move(family), std::move(*labels), key.tags);
  if (!claimed) return tally.refuse(Refusal::name_clash);
  auto info = std::make_shared<const SeriesInfo>(SeriesInfo{std::move(*claimed), std::string(key.tags), line.type});
  bool taken = false;
  const bool there = map_.compute(key, [&](Series& series) {
    // Somebody else may have made it meanwhile.
    if (series.info == nullptr) series.info = std::move(info);
    taken = take(series, line, tally);
  });
  if (!there) return tally.refuse(Refusal::series);
  if (taken) ++tally.lines[static_cast<std::size_t>(line.type)];
}

ViewPointer Aggregator::collect(std::chrono::nanoseconds interval) {
  auto view = std::make_shared<View>();
  view->listener = options_.listener;
  view->interval = interval;
  view->percentiles = options_.percentiles;
  if (options_.expire_intervals != 0) {
    const std::size_t expired = map_.erase_if([&](const SeriesKey&, const Series& s) {
      return !s.touched && s.idle_intervals + 1 >= options_.expire_intervals;
    });
    if (metrics_.expired != nullptr && expired != 0) metrics_.expired->add(expired);
  }
  view->rows.reserve(map_.size() + 64);
  members_.store(0, std::memory_order_relaxed);
  (void)map_.range([&](const SeriesKey&, Series& s) {
    Row& row = view->rows.emplace_back();
    row.info = s.info;
    row.total = s.total;
    row.count = s.count;
    row.delta = std::exchange(s.delta, 0);
    row.touched = std::exchange(s.touched, false);
    s.idle_intervals = row.touched ? 0 : s.idle_intervals + 1;
    // Moved out and looked at later: the lock is held for a few dozen instructions a series.
    row.sketch = std::move(s.sketch);
    row.members = std::move(s.members);
    return true;
  });
  if (metrics_.series != nullptr) metrics_.series->set(static_cast<std::int64_t>(map_.size()));
  finish(*view);
  return view;
}

/// What needs no lock.
void Aggregator::finish(View& view) {
  view.unix_milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(wall_now().time_since_epoch()).count();
  std::vector<double> qs;
  for (const auto& [text, q] : options_.percentiles) qs.push_back(q);
  static const metric::Sketch kEmpty;
  for (Row& row : view.rows) {
    switch (row.info->labels.family().kind()) {
      case Kind::timer: {
        const metric::Sketch& sketch = row.sketch != nullptr ? *row.sketch : kEmpty;
        row.quantiles.resize(qs.size());
        sketch.quantiles(qs, row.quantiles);
        row.delta = sketch.count();
        break;
      }
      case Kind::set: row.total = row.members == nullptr ? 0 : static_cast<double>(row.members->size()); break;
      default: break;
    }
    if (options_.keep_distributions) continue;
    row.sketch.reset();
    row.members.reset();
  }
  std::sort(view.rows.begin(), view.rows.end(), [](const Row& a, const Row& b) {
    const PrometheusLabels& left = a.info->labels;
    const PrometheusLabels& right = b.info->labels;
    return std::tie(left.family().name(), left.text()) < std::tie(right.family().name(), right.text());
  });
  view.prometheus = render_prometheus(view);
  view.json = render_json(view);
  view.bytes = sizeof view + view.rows.capacity() * sizeof(Row) + view.prometheus.capacity() + view.json.capacity();
  for (const Row& row : view.rows) {
    static constexpr std::size_t kNode = 64;  // of a set of strings, about
    view.bytes += row.quantiles.capacity() * sizeof(double);
    if (row.sketch != nullptr) view.bytes += sizeof *row.sketch + row.sketch->bytes();
    if (row.members != nullptr)
      for (const std::string& member : *row.members) view.bytes += kNode + member.capacity();
  }
}

}  // namespace fiberd::daemon::aggregate
