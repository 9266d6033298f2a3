#include "daemon/memory_levels.hpp"

#include <algorithm>

namespace fiberd::daemon {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

static constexpr double kStalled = 0.1;
static constexpr std::int64_t kCalm = 1'000'000'000;                    // below a level before it is left
static constexpr std::uint64_t kConnection = std::uint64_t{16} << 10U;  // what one may cost until it is seen
static constexpr double kFastest = 256.0 * (1U << 20U);                 // bytes a second that nobody has seen coming

std::string_view to_string(MemoryLevel level) noexcept {
  static constexpr std::array<std::string_view, kMemoryLevels> kNames{"normal",      "trim",      "shed_low",
                                                                      "shed_normal", "shed_high", "last"};
  return kNames[static_cast<std::size_t>(level)];
}

MemoryThresholds memory_thresholds(unsigned trim_at, unsigned shed_at) noexcept {
  const double trim = trim_at / 100.0;
  const double shed = shed_at / 100.0;
  return {0, trim, shed - (shed - trim) / 3, shed, shed + (1 - shed) * 0.6, shed + (1 - shed) * 0.8};
}

MemoryThresholds within(MemoryThresholds thresholds, std::uint64_t limit) noexcept {
  static constexpr std::array<double, kMemoryLevels> kFree{0, 8, 6, 5, 4, 3};  // MiB
  for (std::size_t i = 1; i < kMemoryLevels && limit != 0; ++i)
    thresholds[i] = std::max(0.0, std::min(thresholds[i], 1 - kFree[i] * (1U << 20U) / static_cast<double>(limit)));
  return thresholds;
}

StallShares stall_shares(const runtime::StallTimes& before, const runtime::StallTimes& now, nanoseconds period,
                         bool own) noexcept {
  if (period.count() <= 0) return {};
  // Another group's sums may be less: the process was moved.
  const auto share = [&](std::uint64_t was, std::uint64_t is) {
    return is <= was ? 0 : std::min(1.0, static_cast<double>(is - was) * 1000 / static_cast<double>(period.count()));
  };
  return {share(before.some_us, now.some_us), share(before.full_us, now.full_us), own};
}

/// The highest level whose threshold, lowered by its margin, `share` has reached.
static MemoryLevel reached(const MemoryThresholds& thresholds, double share, double trim_margin,
                           double margin) noexcept {
  std::size_t level = kMemoryLevels - 1;
  while (level > 0 && share < thresholds[level] - (level == 1 ? trim_margin : margin)) --level;
  return static_cast<MemoryLevel>(level);
}

MemoryLevel LevelRule::look(const MemoryThresholds& thresholds, double share, double expected,
                            const StallShares& stalls, std::int64_t now) noexcept {
  MemoryLevel least = stalls.some >= kStalled ? MemoryLevel::trim : MemoryLevel::normal;
  if (stalls.own && stalls.full >= kStalled && share >= at(thresholds, MemoryLevel::trim))
    least = MemoryLevel::shed_low;
  // What may come is met by turning it away with an answer; the last step, which has none, is for what is there.
  const MemoryLevel foreseen = std::min(reached(thresholds, expected, 0, 0), MemoryLevel::shed_high);
  const MemoryLevel up = std::max({least, foreseen, reached(thresholds, share, 0, 0)});
  if (up >= level_) {
    level_ = up;
    lower_since_.reset();
    return level_;
  }
  const MemoryLevel down = std::max(least, reached(thresholds, share, 0.05, 0.02));
  if (down >= level_) {
    lower_since_.reset();
  } else if (!lower_since_) {
    lower_since_ = now;
  } else if (now - *lower_since_ >= kCalm) {
    level_ = down;
    lower_since_.reset();
  }
  return level_;
}

double GrowthRule::look(unsigned source, std::uint64_t charge, std::int64_t now) noexcept {
  // The kernel charges in batches: over a shorter time one of them would look like a flood.
  static constexpr std::int64_t kLeast = 5'000'000;
  double growth = 0;
  const bool same = before_ && before_->source == source;
  if (same && charge > before_->charge)
    growth =
        static_cast<double>(charge - before_->charge) * 1e9 / static_cast<double>(std::max(now - before_->at, kLeast));
  if (!same || now - before_->at >= kLeast) before_ = Before{source, charge, now};
  return growth;
}

double expected_share(const runtime::MemoryCharge& now, double growth, nanoseconds ahead) noexcept {
  if (now.limit == 0) return 0;
  const double more = growth * static_cast<double>(ahead.count()) / 1e9 / static_cast<double>(now.limit);
  return now.share() + std::min(more, 0.1);
}

milliseconds pause_after(const runtime::MemoryCharge& now, double growth, const MemoryThresholds& thresholds,
                         MemoryLevel level) noexcept {
  static constexpr milliseconds kLeast{10};
  static constexpr milliseconds kMost{500};
  if (now.limit == 0) return kMost;
  if (level >= MemoryLevel::shed_low) return kLeast;
  const double next = thresholds[static_cast<std::size_t>(level) + 1];
  const double room = std::max(next - now.share(), 0.0) * static_cast<double>(now.limit);
  const double seconds = room / std::max(2 * growth, kFastest);
  return std::clamp(milliseconds(static_cast<std::int64_t>(std::min(seconds, 1.0) * 1000)), kLeast, kMost);
}

std::int64_t connections_left(const runtime::MemoryCharge& now, const MemoryThresholds& thresholds,
                              MemoryLevel level) noexcept {
  if (now.limit == 0) return INT64_MAX;
  const double room = at(thresholds, level) * static_cast<double>(now.limit);
  const double left = room - static_cast<double>(now.charge);
  return left <= 0 ? 0 : static_cast<std::int64_t>(left / static_cast<double>(kConnection));
}

std::uint64_t cache_growth(const runtime::MemoryCharge& now, const MemoryThresholds& thresholds) noexcept {
  if (now.limit == 0) return UINT64_MAX;
  const double room = at(thresholds, MemoryLevel::trim) * static_cast<double>(now.limit);
  return static_cast<std::uint64_t>(std::max(room - static_cast<double>(now.charge), 0.0) / 2);
}

std::uint64_t bytes_to_cut(const runtime::MemoryCharge& now, double growth,
                           const MemoryThresholds& thresholds) noexcept {
  if (now.limit == 0 || now.share() < at(thresholds, MemoryLevel::shed_high)) return 0;
  const double share = expected_share(now, growth, milliseconds(20)) - at(thresholds, MemoryLevel::shed_normal);
  return static_cast<std::uint64_t>(std::max(share, 0.0) * static_cast<double>(now.limit));
}

void TrimPace::trimmed(std::int64_t now, std::uint64_t given_back, std::uint64_t limit) noexcept {
  static constexpr std::int64_t kMost = 30 * kSecond;
  pause_ = given_back >= limit / 100 ? kSecond : std::min(pause_ * 2, kMost);
  next_ = now + pause_;
}

}  // namespace fiberd::daemon
