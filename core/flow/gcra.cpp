#include "core/flow/gcra.hpp"

namespace fiberd::flow {

static constexpr double kFastest = 1e9;
static constexpr unsigned kMostShift = 40;
static constexpr std::int64_t kMostUnits = std::int64_t{1} << 61U;

Gcra::Gcra(double rate, std::int64_t burst) noexcept {
  burst = std::max<std::int64_t>(burst, 0);
  if (rate > kFastest) {
    unlimited_ = true;
    tau_ = std::min(burst, kMostUnits);
    return;
  }
  if (rate > 0) {  // NaN is not
    while (shift_ < kMostShift && std::ldexp(rate, static_cast<int>(shift_) + 1) <= kFastest) ++shift_;
    // long double has the 63 bits that are wanted where it is wider than double; elsewhere 53 are enough (the essay).
    multiplier_ = static_cast<std::uint64_t>(
        std::ldexp(static_cast<long double>(rate) / static_cast<long double>(kFastest), static_cast<int>(shift_) + 63));
  }
  tau_ = burst > kMostUnits >> shift_ ? kMostUnits : burst << shift_;
}

std::int64_t Gcra::nanoseconds(std::int64_t units) const noexcept {
  if (units <= 0) return 0;
  if (multiplier_ == 0) return INT64_MAX;
  __extension__ using Wide = unsigned __int128;
  const Wide ns = ((static_cast<Wide>(static_cast<std::uint64_t>(units)) << 63U) + multiplier_ - 1) / multiplier_;
  return ns > static_cast<Wide>(INT64_MAX) ? INT64_MAX : static_cast<std::int64_t>(ns);
}

}  // namespace fiberd::flow
