#pragma once
// From StatsD's names and tags to those that Prometheus allows, and who has which.
//
// Two StatsD names may become one Prometheus name ("a.b" and "a_b"), and a timer's parts take names of their own
// ("a_sum"). One page must not hold a name twice, so each metric claims all names that its samples will have, for as
// long as a series of it lives; who comes second is refused and counted.
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

/// `tags` as `a="b",c="true"` (a tag without value is "true"), in their order, escaped. nullopt when two keys become
/// one label, or one becomes a label that Prometheus keeps for itself ("quantile", "__…").
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
    PrometheusNames& owner_;
    const std::vector<std::string> names_;  // that its samples have, its own first
    const std::string statsd_name_;
    const Kind kind_;
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
  std::map<std::string, Claim, std::less<>> claims_;  // by name of sample
};

}  // namespace fiberd::daemon::aggregate
