#pragma once
// From StatsD's names and tags to those that Prometheus allows, and who has which.
//
// Two StatsD names may become one Prometheus name ("a.b" and "a_b"), and a timer's parts take names of their own
// ("a_sum"). One page must not hold a name twice, so each metric claims all names that its samples will have, for as
// long as a series of it lives; who comes second is refused and counted. So it is with tags within a metric: two
// spellings may become the same labels ("#a.b:1" and "#a_b:1", "#t" and "#t:true"), and a page must not hold a series
// twice either. Rejected: to add the second to the first. A gauge has no sum, and what is sent on has both.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/lock.hpp"
#include "daemon/services/aggregate/statsd_line.hpp"

namespace fiberd::daemon::aggregate {

/// What a series is kept and shown as: StatsD's three kinds of timers are one.
enum class Kind : std::uint8_t { counter, gauge, timer, set };
[[nodiscard]] constexpr Kind kind_of(StatsdType type) noexcept {
  switch (type) {
    case StatsdType::counter: return Kind::counter;
    case StatsdType::gauge: return Kind::gauge;
    case StatsdType::set: return Kind::set;
    default: return Kind::timer;
  }
}

/// [a-zA-Z_][a-zA-Z0-9_]*: other bytes become '_', a leading digit gets one before it; counters end in "_total".
[[nodiscard]] std::string prometheus_name(std::string_view name, Kind kind);

/// `tags` as `a="b",c="true"` (a tag without value is "true"), by label, escaped. nullopt when two keys become one
/// label, or one becomes a label that Prometheus keeps for itself ("quantile", "__…").
[[nodiscard]] std::optional<std::string> prometheus_labels(std::string_view tags);

/// The claims of one listener. Thread-safe; never parks. Must outlive the families.
class PrometheusNames {
 public:
  /// A metric's claim: given back when it dies.
  class Family {
   public:
    Family(PrometheusNames& owner, std::vector<std::string> names, std::string statsd_name, Kind kind)
        : owner_(owner), names_(std::move(names)), statsd_name_(std::move(statsd_name)), kind_(kind) {}
    ~Family() { owner_.release(*this); }
    Family(const Family&) = delete;
    Family& operator=(const Family&) = delete;
    [[nodiscard]] const std::string& name() const noexcept { return names_.front(); }
    [[nodiscard]] const std::string& statsd_name() const noexcept { return statsd_name_; }
    [[nodiscard]] Kind kind() const noexcept { return kind_; }

   private:
    friend class PrometheusNames;
    friend class PrometheusLabels;
    // Hashes instead of texts: the series have those already. That two of a million series are taken for one another
    // and the second is refused has a chance of 1 in 37 millions.
    struct Spelling {
      std::uint64_t tags;
      std::size_t uses;  // claims, one of which may be dying
    };
    PrometheusNames& owner_;
    const std::vector<std::string> names_;  // that its samples have, its own first
    const std::string statsd_name_;
    const Kind kind_;
    mutable Lock lock_;
    mutable std::unordered_map<std::uint64_t, Spelling> spellings_ FIBERD_GUARDED_BY(lock_);  // by labels
  };

  /// The family of that metric, made on the first call; nullptr when another metric has one of its names. Throws
  /// std::bad_alloc.
  [[nodiscard]] std::shared_ptr<const Family> claim(std::string_view statsd_name, Kind kind);

 private:
  struct Claim {
    std::string statsd_name;
    Kind kind;
    std::weak_ptr<const Family> family;  // under the family's own name only
    std::size_t uses = 0;                // families, one of which may be dying
  };
  void release(const Family& family) noexcept;
  Lock lock_;
  std::map<std::string, Claim, std::less<>> claims_ FIBERD_GUARDED_BY(lock_);  // by name of sample
};

/// The labels of one series, claimed in its family: given back when it dies.
class PrometheusLabels {
 public:
  /// Of what prometheus_labels() made of `tags`. nullopt when a series with other tags has them. Throws std::bad_alloc.
  /// Thread-safe; never parks.
  [[nodiscard]] static std::optional<PrometheusLabels> claim(std::shared_ptr<const PrometheusNames::Family> family,
                                                             std::string labels, std::string_view tags);
  PrometheusLabels(PrometheusLabels&& o) noexcept = default;
  PrometheusLabels& operator=(PrometheusLabels&&) = delete;
  ~PrometheusLabels();

  [[nodiscard]] const PrometheusNames::Family& family() const noexcept { return *family_; }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  PrometheusLabels(std::shared_ptr<const PrometheusNames::Family> family, std::string text, std::uint64_t key) noexcept
      : family_(std::move(family)), text_(std::move(text)), key_(key) {}
  std::shared_ptr<const PrometheusNames::Family> family_;  // null: moved from
  std::string text_;
  std::uint64_t key_;
};

}  // namespace fiberd::daemon::aggregate
