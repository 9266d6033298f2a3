#pragma once
// When memory is short, and what follows: the memory governor's rules as functions of numbers. memory_governor.hpp acts
// by them.
//
// Levels. Each includes what those below it do:
//   trim         caches are emptied, the allocator gives back what it holds
//   shed_low     routes of low priority are answered 503; idle connections are closed
//   shed_normal  those of normal priority, too; new TCP connections are closed
//   shed_high    and those of high priority
//   last         no connection is taken on, no fiber is begun for a request, who is sending a body is cut
// From two numbers, trim_at and shed_at, follow the others: low sheds a third of the way from shed_at down to trim_at,
// high three fifths of the way from shed_at to the limit, the last step is four fifths of the way. With 80 and 95 these
// are 80, 90, 95, 98 and 99 percent.
//
// Up at once, and by what will be charged when the next look comes: the growth since the last look goes on (at most a
// tenth of the limit is believed). So far as shed_high: at the last step clients get no answer, and a step is kept for
// a second at least. Down only when for a whole second what is charged was below the level's threshold by a margin (5
// points for trim, 2 for the others): else a level would be entered and left with each connection.
//
// The second signal is the time that tasks have lost waiting for memory (PSI). A tenth of the last period lost by some
// of them is a reason to trim, whatever the charge: file pages that are dropped and read again are not charged to
// anybody here, but cost all the same. Where all of them lost it, in our own group and with a charge at trim_at or
// beyond, low priority is shed. The whole machine's figures may be a neighbour's doing: they shed nothing.
//
// Between two looks stands a bound. A crowd of 20,000 can arrive within a second, each connection costing some 10 KiB
// of kernel and stack: so each look says how many connections there is room for until shed_normal, at twice that cost,
// and when half of them have come the next look is at once.
//
// Who was let in grows on: a client sends his body, or sends to whoever does not read, or does not read what is sent to
// him. Of these the first two take buffers of ours: they ask before they take more, of the same room. What the kernel
// holds for a socket nobody can ask for: from shed_high on connections are cut that have the most of it.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/runtime/cgroup_memory.hpp"
#include "core/runtime/pressure_stall.hpp"

namespace fiberd::daemon {

enum class MemoryLevel : std::uint8_t { normal, trim, shed_low, shed_normal, shed_high, last };
inline constexpr std::size_t kMemoryLevels = 6;
[[nodiscard]] std::string_view to_string(MemoryLevel level) noexcept;

/// Shares of a limit at which levels begin; of normal 0.
using MemoryThresholds = std::array<double, kMemoryLevels>;
/// Percents; trim_at < shed_at < 100.
[[nodiscard]] MemoryThresholds memory_thresholds(unsigned trim_at, unsigned shed_at) noexcept;
/// The same for a limit of so many bytes: of a small one a percent is less than what is under way at any time, so the
/// last step keeps 3 MiB free at least, those before it 4, 5, 6 and 8.
[[nodiscard]] MemoryThresholds within(MemoryThresholds thresholds, std::uint64_t limit) noexcept;
[[nodiscard]] inline double at(const MemoryThresholds& thresholds, MemoryLevel level) noexcept {
  return thresholds[static_cast<std::size_t>(level)];
}

/// Shares of a period in which tasks waited for memory.
struct StallShares {
  double some = 0;
  double full = 0;
  bool own = false;  ///< of our own group, not of the whole machine
};
[[nodiscard]] StallShares stall_shares(const runtime::StallTimes& before, const runtime::StallTimes& now,
                                       std::chrono::nanoseconds period, bool own) noexcept;

/// The level, look by look.
class LevelRule {
 public:
  [[nodiscard]] MemoryLevel level() const noexcept { return level_; }
  /// `expected`: the share of the limit that will be charged at the next look, `share` is charged now. `now`: monotonic
  /// ns. Returns the level from now on.
  MemoryLevel look(const MemoryThresholds& thresholds, double share, double expected, const StallShares& stalls,
                   std::int64_t now) noexcept;

 private:
  MemoryLevel level_ = MemoryLevel::normal;
  std::optional<std::int64_t> lower_since_;
};

/// Bytes a second by which the charge grows, from one look to the next: 0 where it shrinks or where the two are not
/// about the same limit.
class GrowthRule {
 public:
  /// `source`: whose charge it is; `now`: monotonic ns.
  double look(unsigned source, std::uint64_t charge, std::int64_t now) noexcept;
  void forget() noexcept { before_.reset(); }

 private:
  struct Before {
    unsigned source;
    std::uint64_t charge;
    std::int64_t at;
  };
  std::optional<Before> before_;
};

/// The share that is to be expected after `ahead`.
[[nodiscard]] double expected_share(const runtime::MemoryCharge& now, double growth,
                                    std::chrono::nanoseconds ahead) noexcept;

/// Until the next look: 10 ms … 500 ms, by how long it takes at least to reach the next threshold.
[[nodiscard]] std::chrono::milliseconds pause_after(const runtime::MemoryCharge& now, double growth,
                                                    const MemoryThresholds& thresholds, MemoryLevel level) noexcept;

/// So many connections may come until the next look, before `level`; INT64_MAX where there is no limit.
[[nodiscard]] std::int64_t connections_left(const runtime::MemoryCharge& now, const MemoryThresholds& thresholds,
                                            MemoryLevel level = MemoryLevel::shed_normal) noexcept;

/// So many bytes more may be kept in caches until the next look; UINT64_MAX where there is no limit.
[[nodiscard]] std::uint64_t cache_growth(const runtime::MemoryCharge& now, const MemoryThresholds& thresholds) noexcept;

/// So many bytes of what sockets hold must go for the charge to be at shed_normal again: 0 below shed_high.
[[nodiscard]] std::uint64_t bytes_to_cut(const runtime::MemoryCharge& now, double growth,
                                         const MemoryThresholds& thresholds) noexcept;

/// How often memory is given back: at first after a second, then as long as it helps; less and less often where it does
/// not.
class TrimPace {
 public:
  [[nodiscard]] bool due(std::int64_t now) const noexcept { return now >= next_; }
  void trimmed(std::int64_t now, std::uint64_t given_back, std::uint64_t limit) noexcept;
  /// The level has been left.
  void reset() noexcept { *this = {}; }

 private:
  static constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t next_ = INT64_MIN;
  std::int64_t pause_ = kSecond;
};

}  // namespace fiberd::daemon
