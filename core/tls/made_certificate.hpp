#pragma once
// What this program makes of its own keys: requests for certificates, and certificates that stand in for one that a
// certificate authority has not issued yet, or that prove a name to it.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/tls/private_key.hpp"

namespace fiberd::tls {

/// A PKCS #10 request for the names (DNS names, wildcards among them, and IP addresses), as DER (RFC 8555 section 7.4).
/// Errors: invalid_argument (no names, or one that is none), not_enough_memory.
[[nodiscard]] Result<std::string> make_certificate_request(const PrivateKey& key, std::span<const std::string> names);

struct CertificateWish {
  std::span<const std::string> names{};
  std::int64_t not_before = 0;  ///< seconds of the epoch
  std::int64_t not_after = 0;
  std::string_view acme_identifier{};  ///< 32 bytes: id-pe-acmeIdentifier, critical (RFC 8737 section 3); empty: none
};
/// A certificate signed by its own key, as PEM. Errors: as above.
[[nodiscard]] Result<std::string> make_self_signed(const PrivateKey& key, const CertificateWish& wish);

}  // namespace fiberd::tls
