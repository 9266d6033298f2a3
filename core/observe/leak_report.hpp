#pragma once
// Leak reports: fibers that wait for ever, by spawn site and stack, over time. What is found: leak_graph.hpp; what an
// operator does with it: docs/leaks.md.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/base/result.hpp"
#include "core/observe/leak_graph.hpp"

namespace fiberd::observe {

/// Fibers that were spawned at one place and wait at one place, for one reason.
struct LeakGroup {
  bool certain = false;
  std::string site{};  ///< "file:line" where they were spawned
  std::string name{};  ///< of the first of them
  bool names = false;  ///< others have others
  runtime::WaitReason reason = runtime::WaitReason::none;
  std::size_t count = 0;
  std::int64_t oldest = 0;            ///< when it began to wait, monotonic ns
  std::vector<std::size_t> before{};  ///< the counts of up to 16 looks before this one, oldest first
  std::string waits_for{};            ///< of the oldest
  std::string why{};
  std::vector<std::uintptr_t> stack{};
  /// Since the look before; at the first look, all.
  [[nodiscard]] std::int64_t growth() const noexcept {
    return static_cast<std::int64_t>(count) - static_cast<std::int64_t>(before.empty() ? 0 : before.back());
  }
};

struct LeakReport {
  std::int64_t at = 0;  ///< monotonic ns
  std::chrono::nanoseconds threshold{0};
  std::chrono::nanoseconds interval{0};  ///< between two looks; 0: it was made for one question
  std::chrono::nanoseconds took{0};
  std::size_t waiting = 0;  ///< fibers that were looked at
  std::size_t certain = 0;  ///< fibers
  std::size_t suspect = 0;
  std::size_t bytes_searched = 0;
  std::string not_searched;       ///< as LeakLook's
  std::vector<LeakGroup> groups;  ///< certain ones first, then by count
  std::size_t others = 0;         ///< fibers of further groups, beyond kMostGroups
  static constexpr std::size_t kMostGroups = 1'000;
};

/// As text for people.
[[nodiscard]] std::string render_leaks(const LeakReport& report);
/// As one JSON object.
[[nodiscard]] std::string render_leaks_json(const LeakReport& report);
/// Go 1.26's goroutineleak profile: of certain ones alone, and with `suspects` of all. Errors: PprofProfile::encode's.
[[nodiscard]] Result<std::string> profile_leaks(const LeakReport& report, bool suspects);
/// The same as Go's debug=1.
[[nodiscard]] std::string render_leak_profile(const LeakReport& report, bool suspects);

struct LeakOptions {
  std::chrono::nanoseconds threshold = std::chrono::minutes(10);
  std::vector<std::string> ignore{};  ///< names of fibers that may wait for ever
};

/// One that a look found certain, in the wait that it was in.
struct LostFiber {
  std::uint64_t id = 0;
  std::int64_t parked_at = 0;
  friend bool operator==(const LostFiber&, const LostFiber&) = default;
  friend bool operator<(const LostFiber& a, const LostFiber& b) noexcept {
    return std::tie(a.id, a.parked_at) < std::tie(b.id, b.parked_at);
  }
};

/// Who is certain in this look and was not in the one before is a suspect, and says why. Returns those whom this look
/// found certain, sorted; `before`: what it returned for the look before.
std::vector<LostFiber> doubt_the_new(std::vector<StuckFiber>& fibers, const std::vector<LostFiber>& before);

/// Looks again and again, and remembers. A fiber is certain when two looks in a row found it so, in the same wait. All
/// members are thread-safe.
class LeakWatch {
 public:
  void set(LeakOptions options);
  [[nodiscard]] LeakOptions options() const;
  /// Between two looks: a quarter of the threshold, between 10 ms and a minute.
  [[nodiscard]] static std::chrono::nanoseconds interval_of(std::chrono::nanoseconds threshold) noexcept;
  /// How long to wait before the next look: the interval; but where the last one found somebody certain whom the one
  /// before had not, a quarter of it and at most 100 ms, so that it is known as soon as it can be.
  [[nodiscard]] std::chrono::nanoseconds pause() const;

  /// One look now. Says to the log, once for each, which places are new; at most one line in 10 s. Parks, or blocks the
  /// thread, as long as look_for_leaks does. Throws std::bad_alloc.
  std::shared_ptr<const LeakReport> look();
  /// The last one; nullptr: there was none, or the threshold has changed since.
  [[nodiscard]] std::shared_ptr<const LeakReport> last() const;
  /// Of last(), for gauges; 0 when there is none.
  [[nodiscard]] std::size_t certain() const noexcept { return certain_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t suspect() const noexcept { return suspect_.load(std::memory_order_relaxed); }

 private:
  void tell_new(const LeakReport& report);

  mutable Lock lock_;
  LeakOptions options_ FIBERD_GUARDED_BY(lock_);
  std::shared_ptr<const LeakReport> last_ FIBERD_GUARDED_BY(lock_);
  // Of whoever looks, one at a time:
  std::atomic<bool> looking_{false};
  std::vector<LostFiber> lost_;    // found certain by the look before; sorted
  std::vector<std::size_t> told_;  // hashes of places, sorted; bounded
  LogLimit log_{10'000'000'000};
  std::atomic<bool> doubts_{false};  // the last one
  std::atomic<std::size_t> certain_{0};
  std::atomic<std::size_t> suspect_{0};
};

/// For one question: looks twice, 100 ms apart, with a threshold of its own. As LeakWatch::look().
[[nodiscard]] LeakReport find_leaks(const LeakOptions& options);

}  // namespace fiberd::observe
