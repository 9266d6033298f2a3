#pragma once
// What a certificate says of itself, for those who renew it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/private_key.hpp"

namespace fiberd::tls {

struct CertificateFacts {
  std::int64_t not_before = 0;  ///< seconds of the epoch
  std::int64_t not_after = 0;
  std::string issuer;              ///< its common name, or all of it
  std::string serial;              ///< hexadecimal, upper case
  std::vector<std::string> names;  ///< DNS names and addresses of subjectAltName, in lower case
  std::string ari_id;              ///< as renewal information is asked for (RFC 9773 section 4.1); empty: it has none
  std::size_t chain = 0;           ///< certificates in the text, this one included
};

/// Of the first certificate of a chain as PEM. At most 16 are read. Error: invalid_argument: there is none, or one that
/// cannot be read. Throws std::bad_alloc.
[[nodiscard]] Result<CertificateFacts> read_certificate_facts(std::string_view pem);
/// Whether the first certificate of the chain is for this key.
[[nodiscard]] bool is_certificate_of(std::string_view pem, const PrivateKey& key) noexcept;

}  // namespace fiberd::tls
