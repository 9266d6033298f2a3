#pragma once
// How the process before looks at the one that has followed it, as long as it stands by.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/upgrade/successor.hpp"

namespace fiberd::daemon::upgrade {

struct Traffic {
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;  ///< of these with 5xx
};

/// What makes it worse: it ends; its /healthz fails, or it says nothing, for a while; of at least kLeast requests the
/// share that it answered with 5xx is more than kWorse above the one before.
class Judge {
 public:
  static constexpr std::uint64_t kLeast = 20;
  static constexpr double kWorse = 0.05;
  static constexpr int kSick = 3;                           ///< reports in a row
  static constexpr std::int64_t kSilence = 10'000'000'000;  ///< ns without one

  Judge(Traffic before, std::int64_t now) noexcept : before_(before), heard_(now) {}
  /// `report`: "ok 100 2". Not empty: why it is worse.
  [[nodiscard]] std::string hear(std::string_view report, std::int64_t now);
  [[nodiscard]] std::string silence(std::int64_t now) const;

 private:
  const Traffic before_;
  std::int64_t heard_;
  int sick_ = 0;
};

/// Until `until` (monotonic ns), or `give_up`: true; or until it is worse: false, with `why`, which is empty where it
/// says nothing any more because it has closed its end. On a thread that may wait.
[[nodiscard]] bool watch(Successor& next, Traffic before, std::int64_t until, const Successor::GiveUp& give_up,
                         std::string& why);

}  // namespace fiberd::daemon::upgrade
