#pragma once
// Certificate: a certificate with its chain and private key, as a server shows it. Immutable, shared by contexts.
//
// A server may have ten thousand of them, so one that nobody asks for is small: its leaf stays DER until the first
// client asks for its name. OpenSSL 3.0 takes 0.25 ms for an X509, nearly all of it to find out who decodes a public
// key, and 0.8 ms for a private key in PEM; a decoder that is kept (certificate_loader.hpp) takes 0.05 ms for either.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;
struct stack_st_X509;
struct x509_st;

namespace fiberd::tls {

/// Where one is read from.
struct CertificateFiles {
  std::string certificate;  ///< PEM: the leaf, then its chain
  std::string key;          ///< PEM, not encrypted; may be the same file
  std::string ocsp{};       ///< DER, an OCSP response; empty: none
  bool operator==(const CertificateFiles&) const = default;
};

/// Which of them something is wrong with.
enum class CertificatePart : std::uint8_t { certificate, key, ocsp };

/// Of which a server may have one each for a name; the client's offer decides.
enum class KeyKind : std::uint8_t { ecdsa, rsa, ed25519, other };

/// Thread-safe.
class Certificate {
 public:
  ~Certificate();
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  /// DNS names of the leaf, lower case; "*.example.org" among them.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  /// Seconds since 1970: from when on all of the chain is good, and until when.
  [[nodiscard]] std::int64_t not_before() const noexcept { return not_before_; }
  [[nodiscard]] std::int64_t not_after() const noexcept { return not_after_; }
  [[nodiscard]] KeyKind key_kind() const noexcept { return key_kind_; }
  /// SHA-256 of the leaf, 64 hexadecimal digits.
  [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }
  /// SHA-256 of all that it was made of: equal where the files hold the same.
  [[nodiscard]] const std::string& digest() const noexcept { return digest_; }
  /// Bytes of an OCSP response that is good at `now`; empty: none.
  [[nodiscard]] std::span<const unsigned char> staple(std::int64_t now) const noexcept {
    return now < staple_until_ ? std::span(staple_) : std::span<const unsigned char>{};
  }
  [[nodiscard]] bool has_staple() const noexcept { return !staple_.empty(); }

  /// For a handshake. Null: no memory. Never parks; the first call takes a quarter of a millisecond.
  [[nodiscard]] x509_st* leaf() const noexcept;
  [[nodiscard]] evp_pkey_st* key() const noexcept { return key_; }
  [[nodiscard]] stack_st_X509* chain() const noexcept { return chain_; }

 private:
  friend class CertificateLoader;
  Certificate() = default;
  std::string der_;
  mutable std::atomic<x509_st*> leaf_{nullptr};
  evp_pkey_st* key_ = nullptr;
  stack_st_X509* chain_ = nullptr;
  std::vector<std::string> names_;
  std::vector<unsigned char> staple_;
  std::string fingerprint_;
  std::string digest_;
  std::int64_t not_before_ = 0;
  std::int64_t not_after_ = 0;
  std::int64_t staple_until_ = 0;
  KeyKind key_kind_ = KeyKind::other;
};

/// A time as people read it: "2026-11-30 16:24 UTC".
[[nodiscard]] std::string describe_time(std::int64_t seconds);

}  // namespace fiberd::tls
