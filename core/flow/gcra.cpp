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

std::int64_t Gcra::convert(std::int64_t tat, std::int64_t now_ns, const Gcra& to) const noexcept {
  __extension__ using Wide = __int128;
  // Tokens that are there, in units of ours; less than none when some are promised. An unlimited one is full.
  Wide level = tau_;
  if (!unlimited_) level -= std::max<std::int64_t>(tat - units(now_ns), 0);
  // A token is a power of two of units in both, so nothing is lost but, towards a faster rate, less than a unit.
  level = to.shift_ >= shift_ ? level * (Wide{1} << (to.shift_ - shift_)) : level >> (shift_ - to.shift_);
  level = std::clamp<Wide>(level, -Wide{kMostUnits}, to.tau_);
  return to.units(now_ns) + to.tau_ - static_cast<std::int64_t>(level);
}

}  // namespace fiberd::flow
