#pragma once
// CalmTrim: when what a crowd has left behind is worth giving back, though nothing presses.
//
// malloc keeps what was freed between what was not. Under load that is as it should be: it is needed again at once.
// Once hardly anything is being done, and more is resident than after the last time, it goes back; not again before
// that has grown by a twentieth.
#include <algorithm>
#include <cstdint>

namespace fiberd::daemon {

/// Not thread-safe.
class CalmTrim {
 public:
  /// One look. Monotonic ns; bytes that are resident; CPU time of the process so far, ns. True: now; what is resident
  /// at the next look is what is left.
  [[nodiscard]] bool due(std::int64_t now, std::uint64_t resident, std::uint64_t cpu) noexcept {
    if (asked_) {
      asked_ = false;
      left_ = resident;
    }
    left_ = std::min(left_, resident);
    if (seen_at_ != 0 && now - seen_at_ < kLook) return false;
    const bool calm = seen_at_ != 0 && (cpu - cpu_) * kShare < static_cast<std::uint64_t>(now - seen_at_);
    seen_at_ = now;
    cpu_ = cpu;
    calm_looks_ = calm ? calm_looks_ + 1 : 0;
    if (calm_looks_ < kCalm || resident <= left_ + left_ / 20 + kLittle) return false;
    calm_looks_ = 0;
    asked_ = true;
    return true;
  }

 private:
  static constexpr std::int64_t kLook = 1'000'000'000;
  static constexpr unsigned kCalm = 3;                               // looks
  static constexpr std::uint64_t kShare = 10;                        // less than a tenth of a core
  static constexpr std::uint64_t kLittle = std::uint64_t{1} << 20U;  // is not worth it
  std::int64_t seen_at_ = 0;
  std::uint64_t cpu_ = 0;
  std::uint64_t left_ = UINT64_MAX / 2;  // as at the first look
  unsigned calm_looks_ = 0;
  bool asked_ = false;
};

}  // namespace fiberd::daemon
