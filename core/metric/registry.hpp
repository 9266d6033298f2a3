#pragma once
// Registry: families of metrics, their series, and snapshots of them for an exporter.
//
// Registration takes a lock and may allocate; adding to what it returned does neither. A registry is an ordinary
// object: the daemon owns one, tests make their own.
//
// Label values may come from outside, so they are bounded: of one over 128 bytes 111 and a hash are kept
// (registry.cpp). Beyond a family's `max_series`, and for values not UTF-8 (one makes a scraper reject the whole page),
// the overflow series is returned, whose labels all read "other", and fiberd_metric_series_refused_total{family} counts
// the request.
//
// Leases: series that come and go with what they count for (a listener, a route of a configuration that is replaced).
// - Several may lease the same labels at the same time, or one after the other: all add to the same cells, so a counter
//   goes on over a change of owners.
// - A series whose last lease is gone is still shown for `grace`, so that a scraper sees its last value, and then
//   disappears. Per family no more of these are kept than there are series in use, or 64: the oldest go first, also to
//   make room for new ones below max_series.
// - Its cells are used again after that. The rule that makes this safe is the owner's: a lease must outlive everybody
//   who may still add, and their adds must have happened before it goes (whoever joined a thread, or read the count of
//   connections that the last one lowered, has that). What counter() and its like return is for the registry's life.
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::metric {

enum class Type : std::uint8_t { counter, gauge, histogram };
[[nodiscard]] std::string_view to_string(Type type) noexcept;

struct FamilySpec {
  std::string name;  ///< [a-zA-Z_:][a-zA-Z0-9_:]*
  std::string help;
  Type type = Type::counter;
  std::vector<std::string> labels{};    ///< [a-zA-Z_][a-zA-Z0-9_]*, not `le`, not starting with two underscores
  std::size_t max_series = 1'000;       ///< beyond it: the overflow series; > 0
  std::vector<std::uint64_t> bounds{};  ///< histograms: ascending; empty means kLatencyBoundsNs
  double divisor = 1e9;                 ///< histograms: units of `bounds` in one exported unit (ns in a second)
  /// Counters: the histogram family, of the same labels, whose observations this one counts. It has no series of its
  /// own to be asked for: each is there with the histogram's, and costs nothing but a line of the page.
  std::string counts_of{};
};

/// An exemplar as an exporter shows it.
struct SampleExemplar {
  std::size_t bucket;  ///< of Sample::buckets
  Exemplar exemplar;
  double value;  ///< in the exported unit
  double time;   ///< Unix time in seconds
};

/// One series at one moment.
struct Sample {
  std::vector<std::string> labels;          ///< values, in the order of FamilySpec::labels
  double value = 0;                         ///< counters and gauges
  std::vector<std::uint64_t> buckets;       ///< histograms: per bound, not cumulative; the last is +Inf
  std::uint64_t count = 0;                  ///< histograms: the sum of `buckets`, hence always consistent with them
  double sum = 0;                           ///< histograms: in the exported unit
  double created = 0;                       ///< counters, histograms: Unix time in seconds since when it counts
  std::vector<SampleExemplar> exemplars{};  ///< histograms: by bucket, at most one of each
};
struct FamilySnapshot {
  FamilySpec spec;
  std::vector<Sample> samples;
};

class Family;
using LabelValues = std::initializer_list<std::string_view>;
inline constexpr std::string_view kSeriesRefused = "fiberd_metric_series_refused_total";
inline constexpr std::size_t kMaxLabelValue = 128;

/// Removes a callback when it goes; a counter's is read once more then, and after that the function does not run any
/// more. Must not outlive its Registry, and must not be destroyed by a callback.
class [[nodiscard]] CallbackHandle {
 public:
  CallbackHandle() noexcept = default;
  CallbackHandle(CallbackHandle&& o) noexcept;
  CallbackHandle& operator=(CallbackHandle&& o) noexcept;
  ~CallbackHandle() { reset(); }
  void reset() noexcept;

 private:
  friend class Registry;
  CallbackHandle(class Registry& registry, Family& family, std::uint64_t id) noexcept
      : registry_(&registry), family_(&family), id_(id) {}
  class Registry* registry_ = nullptr;
  Family* family_ = nullptr;
  std::uint64_t id_ = 0;
};

struct RegistryOptions {
  std::chrono::nanoseconds grace = std::chrono::minutes(5);  ///< a series is shown so long after its last lease
  std::int64_t (*now)() noexcept = &monotonic_now;           ///< ns
};

template <class T>
class Lease;
class Leases;

class Registry {
 public:
  explicit Registry(RegistryOptions options = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// The family of that name, made on the first call. Throws std::invalid_argument on a bad name, label or bound, or
  /// when the name is taken by a family of another type, labels or bounds; std::bad_alloc. Thread-safe.
  Family& family(const FamilySpec& spec);

  /// The series with these label values, made on the first call or the overflow series. The reference stays valid for
  /// the registry's life. Throws std::invalid_argument for a family of another type or a wrong number of values.
  Counter& counter(Family& family, LabelValues values = {});
  Gauge& gauge(Family& family, LabelValues values = {});
  Histogram& histogram(Family& family, LabelValues values = {});

  /// As counter(), gauge() and histogram(), for as long as the lease lives.
  [[nodiscard]] Lease<Counter> lease_counter(Family& family, LabelValues values = {});
  [[nodiscard]] Lease<Gauge> lease_gauge(Family& family, LabelValues values = {});
  [[nodiscard]] Lease<Histogram> lease_histogram(Family& family, LabelValues values = {});

  /// The calling thread's cells: for who adds to several of these at once. Valid until the fiber next parks.
  [[nodiscard]] Cells::Here here() noexcept { return cells_.here(); }

  /// A counter or gauge whose value is read at each snapshot. `read` must not park nor call this registry; it runs
  /// under the registration lock, on the thread that takes the snapshot. Values above the limit are refused as series
  /// are, and then never read (handle empty). Callbacks with equal labels are added up, as leases are: of a counter's
  /// also those that are gone, each read once more when its handle goes; the last one's value lingers for the grace and
  /// is where the next one goes on. Throws std::invalid_argument also when a series with these labels counts by itself.
  CallbackHandle callback(Family& family, LabelValues values, std::function<double()> read);

  /// All families by name. Series are in order of their label values; overflow series appear once used. Thread-safe,
  /// also while counters run: a sample is as of some moment during the call.
  [[nodiscard]] std::vector<FamilySnapshot> snapshot() const;

  /// Whether there is a series with these label values, of whoever. Thread-safe.
  [[nodiscard]] bool shows(const Family& family, LabelValues values) const;

  /// Series that are there for nobody but scrapers: within their grace. (Tests and gauges.)
  [[nodiscard]] std::size_t lingering() const;
  /// Bytes held by the cells of all shards.
  [[nodiscard]] std::uint64_t cell_bytes() const noexcept { return cells_.bytes(); }

 private:
  friend class CallbackHandle;
  friend class SeriesLease;
  struct Series;
  enum class Hold : std::uint8_t { for_ever, leased };
  Family& family_locked(const FamilySpec& spec);
  Series& series(Family& family, Type type, LabelValues values, Hold hold);
  Series& series_locked(Family& family, LabelValues values);
  Series& overflow_locked(Family& family);
  Series& make_locked(Family& family);
  [[nodiscard]] bool full_locked(Family& family);
  void drop_locked(Series& series) const noexcept;
  void sweep_locked(Family& family, std::int64_t now) const noexcept;
  void give_back(Series& series) noexcept;
  void linger_locked(Series& series) noexcept;
  void leave_locked(Family& family, const std::vector<std::string>& key, double value, double created);
  void remove(Family& family, std::uint64_t id) noexcept;

  const RegistryOptions options_;
  mutable std::mutex mutex_;
  mutable Cells cells_;  // those of series whose grace is over are given back by who looks
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;
  Family* refused_ = nullptr;
  std::uint64_t next_callback_ = 1;
  friend class Family;
};

/// What keeps one series leased, whatever its type. Movable; must not outlive its Registry.
class SeriesLease {
 public:
  SeriesLease() noexcept = default;
  SeriesLease(SeriesLease&& o) noexcept : registry_(o.registry_), series_(o.series_) { o.series_ = nullptr; }
  SeriesLease& operator=(SeriesLease&& o) noexcept {
    if (this == &o) return *this;
    reset();
    registry_ = o.registry_;
    series_ = o.series_;
    o.series_ = nullptr;
    return *this;
  }
  ~SeriesLease() { reset(); }
  /// Nobody adds to it any more.
  void reset() noexcept;

 private:
  friend class Registry;
  SeriesLease(Registry& registry, Registry::Series& series) noexcept : registry_(&registry), series_(&series) {}
  Registry* registry_ = nullptr;
  Registry::Series* series_ = nullptr;
};

/// A series of type T (Counter, Gauge, Histogram), leased. Empty when moved from.
template <class T>
class [[nodiscard]] Lease : public SeriesLease {
 public:
  Lease() noexcept = default;
  [[nodiscard]] T& operator*() const noexcept { return *metric_; }
  [[nodiscard]] T* operator->() const noexcept { return metric_; }
  [[nodiscard]] T* get() const noexcept { return metric_; }

 private:
  friend class Registry;
  Lease(SeriesLease lease, T& metric) noexcept : SeriesLease(std::move(lease)), metric_(&metric) {}
  T* metric_ = nullptr;
};

/// All that one owner has leased: what it hands out is valid until it goes. Filled by one thread at a time.
class Leases {
 public:
  explicit Leases(Registry& registry) noexcept : registry_(&registry) {}
  Leases(Leases&&) noexcept = default;
  Leases& operator=(Leases&&) noexcept = default;
  ~Leases() = default;

  /// As Registry's of these names.
  Counter& counter(Family& family, LabelValues values = {}) { return keep(registry_->lease_counter(family, values)); }
  Gauge& gauge(Family& family, LabelValues values = {}) { return keep(registry_->lease_gauge(family, values)); }
  Histogram& histogram(Family& family, LabelValues values = {}) {
    return keep(registry_->lease_histogram(family, values));
  }
  void callback(Family& family, LabelValues values, std::function<double()> read) {
    callbacks_.push_back(registry_->callback(family, values, std::move(read)));
  }
  /// What else counts, and leases by itself (LateCounter).
  void keep(std::shared_ptr<const void> counter) { others_.push_back(std::move(counter)); }
  [[nodiscard]] Registry& registry() const noexcept { return *registry_; }

 private:
  template <class T>
  T& keep(Lease<T> lease) {
    T& metric = *lease;
    series_.push_back(std::move(lease));
    return metric;
  }
  Registry* registry_;
  std::vector<SeriesLease> series_;
  std::vector<CallbackHandle> callbacks_;
  std::vector<std::shared_ptr<const void>> others_;
};

}  // namespace fiberd::metric
