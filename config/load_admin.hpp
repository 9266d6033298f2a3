#pragma once
// The sections `admin` and `metrics`: who may ask the daemon how it is.
//
// Who reaches the admin listener sees what every fiber does, and may change levels and load configurations. So it is
// either reached by nobody but this machine (loopback, a Unix socket that not everybody may write to), or by those who
// know the token; anything else is refused here, for `check` and `run` alike. What `metrics` serves changes nothing and
// is meant for others.
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

[[nodiscard]] AdminConfig read_admin(const Reader& admin);
[[nodiscard]] MetricsConfig read_metrics(const Reader& metrics);

}  // namespace fiberd::config
