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
#include <vector>

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
};

/// One series at one moment.
struct Sample {
  std::vector<std::string> labels;     ///< values, in the order of FamilySpec::labels
  double value = 0;                    ///< counters and gauges
  std::vector<std::uint64_t> buckets;  ///< histograms: per bound, not cumulative; the last is +Inf
  std::uint64_t count = 0;             ///< histograms: the sum of `buckets`, hence always consistent with them
  double sum = 0;                      ///< histograms: in the exported unit
};
struct FamilySnapshot {
  FamilySpec spec;
  std::vector<Sample> samples;
};

class Family;
using LabelValues = std::initializer_list<std::string_view>;
inline constexpr std::string_view kSeriesRefused = "fiberd_metric_series_refused_total";
inline constexpr std::size_t kMaxLabelValue = 128;

/// Removes a callback when it goes; after that the function does not run any more. Must not outlive its Registry, and
/// must not be destroyed by a callback.
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

class Registry {
 public:
  Registry();
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

  /// A counter or gauge whose value is read at each snapshot. `read` must not park nor call this registry; it runs
  /// under the registration lock, on the thread that takes the snapshot. Values above the limit are refused as series
  /// are, and then never read (handle empty).
  CallbackHandle callback(Family& family, LabelValues values, std::function<double()> read);

  /// All families by name. Series are in order of their label values; overflow series appear once used. Thread-safe,
  /// also while counters run: a sample is as of some moment during the call.
  [[nodiscard]] std::vector<FamilySnapshot> snapshot() const;

  /// Bytes held by the cells of all shards.
  [[nodiscard]] std::uint64_t cell_bytes() const noexcept { return cells_.bytes(); }

 private:
  friend class CallbackHandle;
  struct Series;
  Family& family_locked(const FamilySpec& spec);
  Series& series(Family& family, Type type, LabelValues values);
  Series& series_locked(Family& family, LabelValues values);
  Series& overflow_locked(Family& family);
  Series& make_locked(Family& family);
  void remove(Family& family, std::uint64_t id) noexcept;

  mutable std::mutex mutex_;
  Cells cells_;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;
  Family* refused_ = nullptr;
  std::uint64_t next_callback_ = 1;
  friend class Family;
};

}  // namespace fiberd::metric
