#pragma once
// PrivateKey: an ECDSA key on P-256, for accounts of certificate authorities and for the certificates that they issue.
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace fiberd::tls {

/// Copies are the same key. Never empty. Any thread.
class PrivateKey {
 public:
  /// A new one. Errors: not_enough_memory, io_error (the system gave no random bytes).
  [[nodiscard]] static Result<PrivateKey> make();
  /// Of "-----BEGIN PRIVATE KEY-----" or "-----BEGIN EC PRIVATE KEY-----", not encrypted. Error: invalid_argument:
  /// none, or no ECDSA key on P-256.
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem);

  /// PKCS #8. Error: not_enough_memory.
  [[nodiscard]] Result<std::string> to_pem() const;
  /// The public point: 32 bytes of x, 32 of y, big-endian.
  [[nodiscard]] Result<std::string> public_point() const;
  /// ECDSA with SHA-256: 32 bytes of R, 32 of S (RFC 7518 section 3.4). Some 50 µs.
  [[nodiscard]] Result<std::string> sign(std::string_view data) const;
  /// Whether `signature`, as sign() makes it, is this key's of `data`.
  [[nodiscard]] bool verifies(std::string_view data, std::string_view signature) const noexcept;

  [[nodiscard]] evp_pkey_st* handle() const noexcept { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) noexcept : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace fiberd::tls
