#pragma once
// Certificates that come by themselves, as typed structs.
#include <cstdint>
#include <string>
#include <vector>

#include "config/client_tls.hpp"
#include "config/place.hpp"

namespace fiberd::config {

enum class AcmeChallenge : std::uint8_t { any, http_01, tls_alpn_01, dns_01 };

/// Certificates for names that clients ask for.
struct AcmeOnDemandConfig {
  std::string ask;              ///< URL; empty: off
  std::uint64_t orders = 10;    ///< an hour
  std::uint64_t names = 1'000;  ///< that are kept in memory
  bool operator==(const AcmeOnDemandConfig&) const = default;
};

struct AcmeConfig {
  std::vector<std::string> domains;  ///< lower case
  std::string email;                 ///< empty: none is said
  std::string directory;             ///< URL
  std::string storage;               ///< path
  std::string profile;               ///< empty: the authority's own
  AcmeChallenge challenge = AcmeChallenge::any;
  std::string dns_program;  ///< path; empty: none
  std::string key_id;       ///< of an external account; empty: none
  std::string key_file;
  AcmeOnDemandConfig on_demand{};
  ClientTlsConfig tls{};  ///< whom the directory is believed by
  Place at{};
  Place storage_at{};
  Place key_file_at{};
  Place dns_program_at{};
  bool operator==(const AcmeConfig&) const = default;
};

}  // namespace fiberd::config
