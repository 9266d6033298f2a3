#pragma once
// What an https:// address of the configuration is believed by, and what it is shown.
#include <string>

#include "config/place.hpp"

namespace fiberd::config {

struct ClientTlsConfig {
  std::string ca;           ///< a file; empty: the system's authorities
  std::string certificate;  ///< a file; empty: none is shown
  std::string key;
  Place ca_at{};
  Place certificate_at{};
  Place key_at{};
  bool operator==(const ClientTlsConfig&) const = default;
};

}  // namespace fiberd::config
