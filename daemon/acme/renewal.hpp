#pragma once
// When to ask for a certificate, and when again after that went wrong. Pure; seconds of the epoch.
#include <chrono>
#include <cstdint>
#include <optional>

#include "daemon/acme/answers.hpp"
#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

/// When a certificate is to be renewed: a third of its life before its end, and up to a thirtieth of it earlier, by
/// `chance` (0 … 1), so that many that were made together are not renewed together. Where the authority has suggested a
/// window: at a moment of it (RFC 9773 section 4.2), but never later than a twentieth of its life before its end.
[[nodiscard]] std::int64_t renewal_time(std::int64_t not_before, std::int64_t not_after,
                                        const std::optional<RenewalWindow>& suggested, double chance) noexcept;

/// How long to wait after one was issued, whatever its dates and the authority's window say: an authority that hands
/// out what has nearly ended, or a clock that is wrong, would be asked without a pause. `left`: seconds until it ends.
[[nodiscard]] std::int64_t rest_after(std::int64_t left) noexcept;

/// How long to wait after the `failures`-th failure in a row (≥ 1): a minute, doubled each time up to six hours,
/// between 3/4 and 5/4 of it by `chance`; what the authority asks for at least, an hour where it says that we ask too
/// much, and at most a day and a half.
[[nodiscard]] std::chrono::seconds pause_after(unsigned failures, const Trouble& trouble, double chance) noexcept;

}  // namespace fiberd::daemon::acme
