#pragma once
// JOSE, as far as certificate authorities ask for it: keys as JSON and their thumbprints (RFC 7517, 7638), and signed
// messages in the flattened form (RFC 7515 section 7.2.2): ES256 by an account's key, HS256 for external accounts.
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/tls/private_key.hpp"

namespace fiberd::tls {

/// RFC 4648 section 5, without padding (RFC 7515 section 2).
[[nodiscard]] std::string to_base64url(std::string_view bytes);
/// Of exactly that: anything else, bits behind the last byte included, is invalid_argument.
[[nodiscard]] Result<std::string> from_base64url(std::string_view text);

/// 32 bytes. Error: not_enough_memory.
[[nodiscard]] Result<std::string> sha256(std::string_view data);
[[nodiscard]] Result<std::string> hmac_sha256(std::string_view secret, std::string_view data);

/// {"crv":"P-256","kty":"EC","x":…,"y":…}: the public half, its members in the order of RFC 7638.
[[nodiscard]] Result<std::string> jwk(const PrivateKey& key);
/// base64url of its SHA-256.
[[nodiscard]] Result<std::string> jwk_thumbprint(const PrivateKey& key);

/// {"protected":…,"payload":…,"signature":…} of a protected header (JSON, which names the algorithm) and a payload.
[[nodiscard]] Result<std::string> sign_jws(const PrivateKey& key, std::string_view header, std::string_view payload);
[[nodiscard]] Result<std::string> mac_jws(std::string_view secret, std::string_view header, std::string_view payload);

}  // namespace fiberd::tls
