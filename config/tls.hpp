#pragma once
// TLS of a listener as typed structs.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/acme.hpp"
#include "config/place.hpp"

namespace fiberd::config {

struct TlsCertificateConfig {
  std::string certificate;  ///< files
  std::string key;
  std::string ocsp{};  ///< empty: none
  Place certificate_at{};
  Place key_at{};
  Place ocsp_at{};
  bool operator==(const TlsCertificateConfig&) const = default;
};

enum class TlsProfile : std::uint8_t { modern, intermediate };
enum class TlsKernel : std::uint8_t { automatic, off };
enum class TlsClientAuthMode : std::uint8_t { request, require };

struct TlsClientAuthConfig {
  std::string ca;  ///< files
  std::string crl{};
  TlsClientAuthMode mode = TlsClientAuthMode::require;
  Place ca_at{};
  Place crl_at{};
  bool operator==(const TlsClientAuthConfig&) const = default;
};

struct TlsConfig {
  std::vector<TlsCertificateConfig> certificates;
  std::optional<AcmeConfig> acme{};
  TlsProfile profile = TlsProfile::intermediate;
  bool strict_sni = false;
  std::optional<TlsClientAuthConfig> client_auth;
  bool tickets = true;
  std::vector<std::string> ticket_keys{};  ///< files, the newest first; empty: keys of our own
  Place ticket_keys_at{};
  bool early_data = false;
  TlsKernel ktls = TlsKernel::off;
  Place at{};
  bool operator==(const TlsConfig&) const = default;
};

}  // namespace fiberd::config
