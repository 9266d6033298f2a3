#pragma once
// Values that a non-waiting send did not send: no error and no lost request, but an operator must be able to see it.
#include <cstdint>

namespace fiberd::runtime {

/// Thread-safe; never parks.
void count_unsent() noexcept;
/// Since the process began. Metric fiberd_channel_unsent_total.
[[nodiscard]] std::uint64_t unsent_count() noexcept;

}  // namespace fiberd::runtime
