#pragma once
// The sections `admin` and `metrics`: who may ask the daemon how it is.
//
// Who reaches the admin listener sees what every fiber does, and may change levels and load configurations. So it is
// either reached by nobody but this machine (loopback, a Unix socket that not everybody may write to), or by those who
// know the token; anything else is refused here, for `check` and `run` alike. What `metrics` serves changes nothing and
// is meant for others.
#include <cstdint>

#include "config/addresses.hpp"
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// Whether an admin listener there is reached by others than those who may ask. `mode`: of a Unix socket's file.
[[nodiscard]] bool needs_token(const Address& address, std::uint32_t mode) noexcept;

[[nodiscard]] AdminConfig read_admin(const Reader& admin);
[[nodiscard]] MetricsConfig read_metrics(const Reader& metrics);

}  // namespace fiberd::config
