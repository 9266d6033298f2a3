#pragma once
// Certificates for tests, made when they run: none that is checked in can end.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fiberd::test {

enum class TestKey : std::uint8_t { ecdsa, rsa, ed25519 };

struct CertificateWishes {
  std::vector<std::string> names{};  ///< of subjectAltName; the first is the subject's common name, too
  TestKey key = TestKey::ecdsa;
  std::int64_t from = -3'600;          ///< seconds from now
  std::int64_t until = 90LL * 86'400;  ///< seconds from now
  int rsa_bits = 2048;
  std::string subject{};  ///< its common name, instead; UTF-8
  std::string also{};     ///< more of subjectAltName, as OpenSSL's configuration writes it: "URI:spiffe://a/b"
};

/// As PEM. The chain has the issuer behind the leaf if that is no root.
struct MadePair {
  std::string certificate;
  std::string key;
};

/// An issuer with a key of its own. Throws std::runtime_error when OpenSSL does not want to.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "fiberd test root");
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  [[nodiscard]] MadePair issue(const CertificateWishes& wishes) const;
  /// One that issues by itself, issued by this.
  [[nodiscard]] std::unique_ptr<TestAuthority> below(const std::string& name,
                                                     std::int64_t until = 365LL * 86'400) const;
  /// Its own, as PEM.
  [[nodiscard]] std::string certificate() const;
  /// A list of revoked certificates (PEM, each the first of its text), as PEM.
  [[nodiscard]] std::string revoke(const std::vector<std::string>& certificates, std::int64_t until = 86'400) const;
  /// That the first certificate of a PEM text is good, as an OCSP response in DER.
  [[nodiscard]] std::string vouch(const std::string& certificate, std::int64_t until = 86'400) const;

 private:
  struct State;
  explicit TestAuthority(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A private key in PEM, encrypted by a password.
[[nodiscard]] std::string encrypted_key(const std::string& key);

}  // namespace fiberd::test
