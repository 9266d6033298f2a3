#pragma once
// Ed25519 signatures (RFC 8032): proved, never made.
#include <cstddef>
#include <span>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::tls {

inline constexpr std::size_t kEd25519Signature = 64;  ///< bytes

/// Whether `pem` ("-----BEGIN PUBLIC KEY-----", RFC 8410) is an Ed25519 public key. Error: invalid_argument.
[[nodiscard]] Result<void> check_ed25519_key(std::string_view pem) noexcept;

/// Whether `signature` was made of `data` by the private key of `pem`. Blocks for as long as it takes to hash: some
/// 300 MB a second. Errors: invalid_argument (no such key), bad_message (no: of another key, other data, or of another
/// size than kEd25519Signature), not_enough_memory.
[[nodiscard]] Result<void> verify_ed25519(std::string_view pem, std::span<const std::byte> data,
                                          std::string_view signature) noexcept;

}  // namespace fiberd::tls
