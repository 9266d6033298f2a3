#include "core/metric/registry.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/characters.hpp"
#include "core/base/clock.hpp"
#include "core/base/hash.hpp"
#include "core/base/intrusive_list.hpp"
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

/// Exactly one of the first three is set, as the family's type says. In its family's list of those that linger while
/// nobody holds it.
struct Registry::Series : ListHook {
  std::optional<Counter> counter;
  std::optional<Gauge> gauge;
  std::optional<Histogram> histogram;
  Family* family = nullptr;
  CellId first = 0;
  std::uint32_t cells = 0;
  bool for_ever = false;
  std::size_t leases = 0;
  double created = 0;                             // Unix time in seconds
  std::int64_t shown_until = 0;                   // while it lingers
  const std::vector<std::string>* key = nullptr;  // in by_labels
};

class Family {
 public:
  explicit Family(FamilySpec s) : spec(std::move(s)) {}
  struct Callback {
    std::uint64_t id;
    std::function<double()> read;
  };
  struct Same {  // labels
    std::vector<Callback> all{};
    double before = 0;   // of a counter: what those had counted that are gone
    double created = 0;  // as Series::created
  };
  using Callbacks = std::map<std::vector<std::string>, Same>;
  FamilySpec spec;                       // never changes: histograms point into its bounds
  std::deque<Registry::Series> storage;  // stable addresses
  std::vector<Registry::Series*> spare;  // of storage
  std::map<std::vector<std::string>, Registry::Series*> by_labels;
  List<Registry::Series> lingering;  // the one that goes next first
  std::size_t lingering_count = 0;
  Callbacks callbacks;
  std::map<std::uint64_t, Callbacks::iterator> callback_ids;
};

namespace {

bool valid_name(std::string_view name, bool colon) {
  const auto letter = [&](char c) { return ascii::is_alpha(c) || c == '_' || (colon && c == ':'); };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || ascii::is_digit(c); });
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

double unix_now() noexcept { return std::chrono::duration<double>(wall_now().time_since_epoch()).count(); }

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
  for (std::size_t i = kDigits; i-- > 0;) out += ascii::kHexDigits[hash >> (4 * i) & 15U];
  return out;
}

std::vector<std::string> key_of(LabelValues values) {
  std::vector<std::string> key;
  key.reserve(values.size());
  for (const std::string_view value : values) key.push_back(bounded(value));
  return key;
}

}  // namespace

Registry::Registry(RegistryOptions options) : options_(options) {
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
    if (old.type != full.type || old.labels != full.labels || old.bounds != full.bounds ||
        old.counts_of != full.counts_of)
      throw std::invalid_argument("metric: " + full.name + " is already registered otherwise");
    return *found->second;
  }
  std::string name = full.name;
  return *families_.emplace(std::move(name), std::make_unique<Family>(std::move(full))).first->second;
}

Counter& Registry::counter(Family& family, LabelValues values) {
  return *series(family, Type::counter, values, Hold::for_ever).counter;
}
Gauge& Registry::gauge(Family& family, LabelValues values) {
  return *series(family, Type::gauge, values, Hold::for_ever).gauge;
}
Histogram& Registry::histogram(Family& family, LabelValues values) {
  return *series(family, Type::histogram, values, Hold::for_ever).histogram;
}
Lease<Counter> Registry::lease_counter(Family& family, LabelValues values) {
  Series& s = series(family, Type::counter, values, Hold::leased);
  return {SeriesLease(*this, s), *s.counter};
}
Lease<Gauge> Registry::lease_gauge(Family& family, LabelValues values) {
  Series& s = series(family, Type::gauge, values, Hold::leased);
  return {SeriesLease(*this, s), *s.gauge};
}
Lease<Histogram> Registry::lease_histogram(Family& family, LabelValues values) {
  Series& s = series(family, Type::histogram, values, Hold::leased);
  return {SeriesLease(*this, s), *s.histogram};
}

Registry::Series& Registry::series(Family& family, Type type, LabelValues values, Hold hold) {
  if (family.spec.type != type)
    throw std::invalid_argument("metric: " + family.spec.name + " is not a " + std::string(to_string(type)));
  if (family.spec.labels.size() != values.size())
    throw std::invalid_argument("metric: wrong number of label values for " + family.spec.name);
  if (!family.spec.counts_of.empty())
    throw std::invalid_argument("metric: " + family.spec.name + " counts by " + family.spec.counts_of);
  const std::scoped_lock lock(mutex_);
  Series& s = series_locked(family, values);
  if (s.linked()) {
    List<Series>::remove(s);
    --family.lingering_count;
  }
  if (hold == Hold::for_ever)
    s.for_ever = true;
  else
    ++s.leases;
  return s;
}

Registry::Series& Registry::series_locked(Family& family, LabelValues values) {
  if (!acceptable(values)) return overflow_locked(family);
  std::vector<std::string> key = key_of(values);
  if (const auto found = family.by_labels.find(key); found != family.by_labels.end()) return *found->second;
  if (full_locked(family)) return overflow_locked(family);
  const auto place = family.by_labels.emplace(std::move(key), nullptr).first;
  try {
    place->second = &make_locked(family);
  } catch (...) {
    family.by_labels.erase(place);
    throw;
  }
  place->second->key = &place->first;
  return *place->second;
}

/// Whether there is no room for one more; those that only linger make it.
bool Registry::full_locked(Family& family) {
  const auto full = [&] { return family.by_labels.size() + family.callbacks.size() >= family.spec.max_series; };
  while (full() && !family.lingering.empty()) drop_locked(*family.lingering.front());
  return full();
}

Registry::Series& Registry::overflow_locked(Family& family) {
  // The refusals' own family is bounded by the number of families; its overflow must not count itself again.
  if (&family != refused_) {
    Series& refused = series_locked(*refused_, {family.spec.name});
    refused.for_ever = true;
    refused.counter->add();
  }
  // Under the key "other": a caller's own "other" is then the same series, and no page shows one series twice.
  std::vector<std::string> key(family.spec.labels.size(), "other");
  const auto place = family.by_labels.emplace(std::move(key), nullptr).first;
  if (place->second == nullptr) {
    try {
      place->second = &make_locked(family);
    } catch (...) {
      family.by_labels.erase(place);
      throw;
    }
    place->second->key = &place->first;
  }
  place->second->for_ever = true;
  return *place->second;
}

Registry::Series& Registry::make_locked(Family& family) {
  const std::uint32_t n = family.spec.type == Type::histogram ? Histogram::cells_needed(family.spec.bounds.size()) : 1;
  if (family.spare.empty()) {
    family.spare.reserve(family.storage.size() + 1);  // so that one can always be put back
    family.spare.push_back(&family.storage.emplace_back());
  }
  const CellId first = cells_.allocate(n);
  Series& made = *family.spare.back();
  family.spare.pop_back();
  switch (family.spec.type) {
    case Type::counter: made.counter.emplace(cells_, first); break;
    case Type::gauge: made.gauge.emplace(cells_, first); break;
    case Type::histogram: made.histogram.emplace(cells_, first, family.spec.bounds); break;
  }
  made.family = &family;
  made.created = unix_now();
  made.first = first;
  made.cells = n;
  return made;
}

/// Of one that lingers.
void Registry::drop_locked(Series& s) const noexcept {
  Family& family = *s.family;
  List<Series>::remove(s);
  --family.lingering_count;
  family.by_labels.erase(family.by_labels.find(*s.key));
  cells_.recycle(s.first, s.cells);
  s.counter.reset();
  s.gauge.reset();
  s.histogram.reset();
  family.spare.push_back(&s);
}

/// Drops those whose grace is over, and those that are too many.
void Registry::sweep_locked(Family& family, std::int64_t now) const noexcept {
  static constexpr std::size_t kAnyway = 64;
  for (;;) {
    Series* const s = family.lingering.front();
    if (s == nullptr) return;
    const std::size_t in_use = family.by_labels.size() - family.lingering_count;
    if (s->shown_until > now && family.lingering_count <= std::max(kAnyway, in_use)) return;
    drop_locked(*s);
  }
}

void Registry::give_back(Series& s) noexcept {
  const std::scoped_lock lock(mutex_);
  if (FIBERD_BUG_IF(s.leases == 0)) return;
  if (--s.leases == 0 && !s.for_ever) linger_locked(s);
}

void Registry::linger_locked(Series& s) noexcept {
  const std::int64_t now = options_.now();
  s.shown_until = time_after(now, options_.grace);
  s.family->lingering.push_back(s);
  ++s.family->lingering_count;
  sweep_locked(*s.family, now);
}

std::size_t Registry::lingering() const {
  const std::scoped_lock lock(mutex_);
  std::size_t n = 0;
  for (const auto& entry : families_) n += entry.second->lingering_count;
  return n;
}

CallbackHandle Registry::callback(Family& family, LabelValues values, std::function<double()> read) {
  if (family.spec.type == Type::histogram || family.spec.labels.size() != values.size() || !read)
    throw std::invalid_argument("metric: callback does not fit " + family.spec.name);
  const std::scoped_lock lock(mutex_);
  const bool fits = acceptable(values);
  std::vector<std::string> key = fits ? key_of(values) : std::vector<std::string>();
  double before = 0;
  double created = unix_now();
  if (const auto taken = family.by_labels.find(key); taken != family.by_labels.end()) {
    if (!taken->second->linked())
      throw std::invalid_argument("metric: a series of " + family.spec.name + " exists already");
    if (taken->second->counter) {
      before = static_cast<double>(taken->second->counter->value());
      created = taken->second->created;
    }
    drop_locked(*taken->second);
  }
  auto place = family.callbacks.find(key);
  if (!fits || (place == family.callbacks.end() && full_locked(family))) {
    Series& refused = series_locked(*refused_, {family.spec.name});
    refused.for_ever = true;
    refused.counter->add();
    return {};
  }
  const std::uint64_t id = next_callback_++;
  const bool fresh = place == family.callbacks.end();
  if (fresh) place = family.callbacks.emplace(std::move(key), Family::Same{{}, before, created}).first;
  auto& same = place->second.all;
  try {
    same.push_back({id, std::move(read)});
    family.callback_ids.emplace(id, place);
  } catch (...) {
    if (!same.empty() && same.back().id == id) same.pop_back();
    if (same.empty()) family.callbacks.erase(place);
    throw;
  }
  return {*this, family, id};
}

void Registry::remove(Family& family, std::uint64_t id) noexcept {
  std::function<double()> dying;  // destroyed outside the lock: its captures may be anything
  const std::scoped_lock lock(mutex_);
  const auto found = family.callback_ids.find(id);
  if (found == family.callback_ids.end()) return;
  const auto place = found->second;
  family.callback_ids.erase(found);
  Family::Same& same = place->second;
  const auto one = std::find_if(same.all.begin(), same.all.end(), [id](const auto& c) { return c.id == id; });
  dying = std::move(one->read);
  same.all.erase(one);
  try {
    if (family.spec.type == Type::counter) same.before += dying();
    if (!same.all.empty()) return;
    const auto gone = family.callbacks.extract(place);
    if (family.spec.type == Type::counter)
      leave_locked(family, gone.key(), gone.mapped().before, gone.mapped().created);
  } catch (...) {  // it could not be read, or there is no memory to keep it: as when the process begins
  }
}

/// What callbacks have counted, for those who come later and for scrapers until then: as if it had been leased.
void Registry::leave_locked(Family& family, const std::vector<std::string>& key, double value, double created) {
  const auto place = family.by_labels.emplace(key, nullptr).first;
  try {
    place->second = &make_locked(family);
  } catch (...) {
    family.by_labels.erase(place);
    throw;
  }
  Series& s = *place->second;
  s.key = &place->first;
  s.counter->add(static_cast<std::uint64_t>(value));
  s.created = created;
  linger_locked(s);
}

bool Registry::shows(const Family& family, LabelValues values) const {
  if (!acceptable(values)) return false;
  const std::vector<std::string> key = key_of(values);
  const std::scoped_lock lock(mutex_);
  return family.by_labels.contains(key) || family.callbacks.contains(key);
}

/// The newest exemplar of each bucket.
static std::vector<SampleExemplar> exemplars_of(const Histogram& histogram, double divisor) {
  static constexpr double kNanoseconds = 1e9;
  std::vector<SampleExemplar> out;
  const Exemplars* const kept = histogram.exemplars();
  for (std::size_t i = 0; kept != nullptr && i < kept->buckets(); ++i)
    if (const std::optional<KeptExemplar> one = kept->read(i))
      out.push_back({i, one->exemplar, static_cast<double>(one->value) / divisor,
                     static_cast<double>(one->time_ns) / kNanoseconds});
  return out;
}

/// Gives families that count another's observations their samples.
static void count_observations(std::vector<FamilySnapshot>& all) {
  for (FamilySnapshot& counter : all) {
    if (counter.spec.counts_of.empty()) continue;
    for (const FamilySnapshot& histogram : all) {
      if (histogram.spec.name != counter.spec.counts_of) continue;
      for (const Sample& s : histogram.samples) {
        Sample& sample = counter.samples.emplace_back();
        sample.labels = s.labels;
        sample.value = static_cast<double>(s.count);
        sample.created = s.created;
      }
    }
  }
}

std::vector<FamilySnapshot> Registry::snapshot() const {
  const std::scoped_lock lock(mutex_);
  const std::int64_t now = options_.now();
  std::vector<FamilySnapshot> result;
  result.reserve(families_.size());
  for (const auto& entry : families_) {
    Family* const family = entry.second.get();  // clang 14 captures no structured binding
    sweep_locked(*family, now);
    FamilySnapshot& out = result.emplace_back(FamilySnapshot{family->spec, {}});
    const auto add = [&](const std::vector<std::string>& labels, const Series& series) {
      Sample& sample = out.samples.emplace_back();
      sample.labels = labels;
      sample.created = series.created;
      if (series.counter) sample.value = static_cast<double>(series.counter->value());
      if (series.gauge) sample.value = static_cast<double>(series.gauge->value());
      if (series.histogram) {
        sample.buckets = series.histogram->buckets();
        for (const std::uint64_t n : sample.buckets) sample.count += n;
        sample.sum = static_cast<double>(series.histogram->sum()) / family->spec.divisor;
        sample.exemplars = exemplars_of(*series.histogram, family->spec.divisor);
      }
    };
    for (const auto& [labels, series] : family->by_labels) add(labels, *series);
    for (const auto& [labels, same] : family->callbacks) {
      double value = same.before;
      for (const Family::Callback& callback : same.all) value += callback.read();
      Sample& sample = out.samples.emplace_back();
      sample.labels = labels;
      sample.value = value;
      sample.created = same.created;
    }
  }
  count_observations(result);
  return result;
}

void SeriesLease::reset() noexcept {
  if (series_ != nullptr) registry_->give_back(*std::exchange(series_, nullptr));
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
