#include "core/metric/registry.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "core/base/hash.hpp"
#include "core/base/utf8.hpp"

namespace fiberd::metric {

std::string_view to_string(Type type) noexcept {
  switch (type) {
    case Type::counter: return "counter";
    case Type::gauge: return "gauge";
    case Type::histogram: return "histogram";
  }
  return "unknown";
}

/// Exactly one member is set, as the family's type says.
struct Registry::Series {
  std::optional<Counter> counter;
  std::optional<Gauge> gauge;
  std::optional<Histogram> histogram;
};

class Family {
 public:
  explicit Family(FamilySpec s) : spec(std::move(s)) {}
  struct Callback {
    std::uint64_t id;
    std::vector<std::string> labels;
    std::function<double()> read;
  };
  FamilySpec spec;                       // never changes: histograms point into its bounds
  std::deque<Registry::Series> storage;  // stable addresses
  std::map<std::vector<std::string>, Registry::Series*> by_labels;
  std::vector<Callback> callbacks;
};

namespace {

bool valid_name(std::string_view name, bool colon) {
  const auto letter = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
  };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void check(const FamilySpec& spec) {
  if (!valid_name(spec.name, true)) throw std::invalid_argument("metric: bad family name '" + spec.name + "'");
  for (const std::string& label : spec.labels)
    if (!valid_name(label, false) || label == "le" || label.starts_with("__") ||
        std::count(spec.labels.begin(), spec.labels.end(), label) != 1)
      throw std::invalid_argument("metric: bad label '" + label + "' in " + spec.name);
  if (spec.max_series == 0) throw std::invalid_argument("metric: max_series of " + spec.name + " is 0");
  if (std::adjacent_find(spec.bounds.begin(), spec.bounds.end(), std::greater_equal<>()) != spec.bounds.end())
    throw std::invalid_argument("metric: bounds of " + spec.name + " do not ascend");
}

bool acceptable(LabelValues values) {
  return std::all_of(values.begin(), values.end(), [](std::string_view v) { return is_utf8(v); });
}

/// A value as the page shows it: of a long one the beginning, and a hash of all of it, so that those that begin alike
/// stay apart. The same in every process, for dashboards keep it. Of UTF-8.
std::string bounded(std::string_view value) {
  static constexpr std::size_t kDigits = 16;
  if (value.size() <= kMaxLabelValue) return std::string(value);
  std::size_t end = kMaxLabelValue - kDigits - 1;
  while ((static_cast<unsigned char>(value[end]) & 0xC0U) == 0x80U) --end;  // no character is cut through
  std::string out(value.substr(0, end));
  out += '~';
  const std::uint64_t hash = hash_bytes(value.data(), value.size(), 0);
  for (std::size_t i = kDigits; i-- > 0;) out += "0123456789abcdef"[hash >> (4 * i) & 15U];
  return out;
}

std::vector<std::string> key_of(LabelValues values) {
  std::vector<std::string> key;
  key.reserve(values.size());
  for (const std::string_view value : values) key.push_back(bounded(value));
  return key;
}

}  // namespace

Registry::Registry() {
  const std::scoped_lock lock(mutex_);
  refused_ = &family_locked({.name = std::string(kSeriesRefused),
                             .help = "Requests for a series that went to 'other': more than the family may have, or a "
                                     "label value that is not UTF-8.",
                             .type = Type::counter,
                             .labels = {"family"},
                             .max_series = 10'000});
}

Registry::~Registry() = default;

Family& Registry::family(const FamilySpec& spec) {
  const std::scoped_lock lock(mutex_);
  return family_locked(spec);
}

Family& Registry::family_locked(const FamilySpec& spec) {
  check(spec);
  FamilySpec full = spec;
  if (full.type == Type::histogram && full.bounds.empty())
    full.bounds.assign(kLatencyBoundsNs.begin(), kLatencyBoundsNs.end());
  if (const auto found = families_.find(full.name); found != families_.end()) {
    const FamilySpec& old = found->second->spec;
    if (old.type != full.type || old.labels != full.labels || old.bounds != full.bounds)
      throw std::invalid_argument("metric: " + full.name + " is already registered otherwise");
    return *found->second;
  }
  std::string name = full.name;
  return *families_.emplace(std::move(name), std::make_unique<Family>(std::move(full))).first->second;
}

Counter& Registry::counter(Family& family, LabelValues values) {
  return *series(family, Type::counter, values).counter;
}
Gauge& Registry::gauge(Family& family, LabelValues values) { return *series(family, Type::gauge, values).gauge; }
Histogram& Registry::histogram(Family& family, LabelValues values) {
  return *series(family, Type::histogram, values).histogram;
}

Registry::Series& Registry::series(Family& family, Type type, LabelValues values) {
  if (family.spec.type != type)
    throw std::invalid_argument("metric: " + family.spec.name + " is not a " + std::string(to_string(type)));
  if (family.spec.labels.size() != values.size())
    throw std::invalid_argument("metric: wrong number of label values for " + family.spec.name);
  const std::scoped_lock lock(mutex_);
  return series_locked(family, values);
}

Registry::Series& Registry::series_locked(Family& family, LabelValues values) {
  if (!acceptable(values)) return overflow_locked(family);
  std::vector<std::string> key = key_of(values);
  if (const auto found = family.by_labels.find(key); found != family.by_labels.end()) return *found->second;
  if (family.by_labels.size() + family.callbacks.size() >= family.spec.max_series) return overflow_locked(family);
  Series& made = make_locked(family);
  family.by_labels.emplace(std::move(key), &made);
  return made;
}

Registry::Series& Registry::overflow_locked(Family& family) {
  // The refusals' own family is bounded by the number of families; its overflow must not count itself again.
  if (&family != refused_) series_locked(*refused_, {family.spec.name}).counter->add();
  // Under the key "other": a caller's own "other" is then the same series, and no page shows one series twice.
  std::vector<std::string> key(family.spec.labels.size(), "other");
  Series*& overflow = family.by_labels[std::move(key)];
  if (overflow == nullptr) overflow = &make_locked(family);
  return *overflow;
}

Registry::Series& Registry::make_locked(Family& family) {
  const std::uint32_t n = family.spec.type == Type::histogram ? Histogram::cells_needed(family.spec.bounds.size()) : 1;
  const CellId first = cells_.allocate(n);
  Series& made = family.storage.emplace_back();
  switch (family.spec.type) {
    case Type::counter: made.counter.emplace(cells_, first); break;
    case Type::gauge: made.gauge.emplace(cells_, first); break;
    case Type::histogram: made.histogram.emplace(cells_, first, family.spec.bounds); break;
  }
  return made;
}

CallbackHandle Registry::callback(Family& family, LabelValues values, std::function<double()> read) {
  if (family.spec.type == Type::histogram || family.spec.labels.size() != values.size() || !read)
    throw std::invalid_argument("metric: callback does not fit " + family.spec.name);
  const std::scoped_lock lock(mutex_);
  const bool fits = acceptable(values);
  std::vector<std::string> key = fits ? key_of(values) : std::vector<std::string>();
  const bool taken = family.by_labels.contains(key) || std::any_of(family.callbacks.begin(), family.callbacks.end(),
                                                                   [&](const auto& c) { return c.labels == key; });
  if (taken) throw std::invalid_argument("metric: a series of " + family.spec.name + " exists already");
  if (!fits || family.by_labels.size() + family.callbacks.size() >= family.spec.max_series) {
    series_locked(*refused_, {family.spec.name}).counter->add();
    return {};
  }
  const std::uint64_t id = next_callback_++;
  family.callbacks.push_back({id, std::move(key), std::move(read)});
  return {*this, family, id};
}

void Registry::remove(Family& family, std::uint64_t id) noexcept {
  std::function<double()> dying;  // destroyed outside the lock: its captures may be anything
  const std::scoped_lock lock(mutex_);
  for (auto& callback : family.callbacks)
    if (callback.id == id) dying = std::move(callback.read);
  std::erase_if(family.callbacks, [id](const auto& c) { return c.id == id; });
}

std::vector<FamilySnapshot> Registry::snapshot() const {
  const std::scoped_lock lock(mutex_);
  std::vector<FamilySnapshot> result;
  result.reserve(families_.size());
  for (const auto& entry : families_) {
    const Family* family = entry.second.get();  // clang 14 captures no structured binding
    FamilySnapshot& out = result.emplace_back(FamilySnapshot{family->spec, {}});
    const auto add = [&](const std::vector<std::string>& labels, const Series& series) {
      Sample& sample = out.samples.emplace_back();
      sample.labels = labels;
      if (series.counter) sample.value = static_cast<double>(series.counter->value());
      if (series.gauge) sample.value = static_cast<double>(series.gauge->value());
      if (series.histogram) {
        sample.buckets = series.histogram->buckets();
        for (const std::uint64_t n : sample.buckets) sample.count += n;
        sample.sum = static_cast<double>(series.histogram->sum()) / family->spec.divisor;
      }
    };
    for (const auto& [labels, series] : family->by_labels) add(labels, *series);
    for (const auto& callback : family->callbacks) out.samples.push_back({callback.labels, callback.read(), {}, 0, 0});
  }
  return result;
}

CallbackHandle::CallbackHandle(CallbackHandle&& o) noexcept
    : registry_(std::exchange(o.registry_, nullptr)), family_(o.family_), id_(o.id_) {}

CallbackHandle& CallbackHandle::operator=(CallbackHandle&& o) noexcept {
  if (this != &o) {
    reset();
    registry_ = std::exchange(o.registry_, nullptr);
    family_ = o.family_;
    id_ = o.id_;
  }
  return *this;
}

void CallbackHandle::reset() noexcept {
  if (registry_ != nullptr) std::exchange(registry_, nullptr)->remove(*family_, id_);
}

}  // namespace fiberd::metric
