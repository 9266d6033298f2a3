#include "daemon/acme/renewal.hpp"

#include <algorithm>

namespace fiberd::daemon::acme {

std::int64_t renewal_time(std::int64_t not_before, std::int64_t not_after,
                          const std::optional<RenewalWindow>& suggested, double chance) noexcept {
  const std::int64_t life = std::max<std::int64_t>(not_after - not_before, 0);
  const auto part = [&](std::int64_t of) { return static_cast<std::int64_t>(chance * static_cast<double>(of)); };
  if (!suggested) return not_after - life / 3 - part(life / 30);
  return std::min(suggested->start + part(suggested->end - suggested->start), not_after - life / 20);
}

std::int64_t rest_after(std::int64_t left) noexcept { return std::clamp<std::int64_t>(left / 3, 60, 3600); }

std::chrono::seconds pause_after(unsigned failures, const Trouble& trouble, double chance) noexcept {
  using std::chrono::seconds;
  static constexpr seconds kFirst{60};
  static constexpr seconds kLongest{6 * 3600};
  static constexpr seconds kTooMuch{3600};
  static constexpr seconds kMost{36 * 3600};
  const unsigned doubled = std::min(std::max(failures, 1U) - 1, 16U);
  const seconds usual = std::min(kFirst * (1U << doubled), kLongest);
  auto own = std::chrono::duration_cast<seconds>(usual * (0.75 + chance / 2));
  if (trouble.reason == Reason::rate_limited) own = std::max(own, kTooMuch);
  return std::min(std::max(own, trouble.retry_after.value_or(seconds(0))), kMost);
}

}  // namespace fiberd::daemon::acme
