#pragma once
// What is wrong with a server's certificate, as far as somebody can do something about it.
#include <cstdint>

struct ssl_st;

namespace fiberd::tls {

enum class CertificateFault : std::uint8_t {
  none,
  expired,         ///< it, or one of its chain
  not_yet_valid,   ///< it, or one of its chain
  unknown_issuer,  ///< its chain leads to nobody who is believed
  name_mismatch,   ///< it is for other names
  other,
};

/// Of a session whose handshake failed with errc::certificate. Never parks.
[[nodiscard]] CertificateFault certificate_fault(const ssl_st& session) noexcept;

}  // namespace fiberd::tls
