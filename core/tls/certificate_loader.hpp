#pragma once
// CertificateLoader: reads and proves certificates and their keys. Not thread-safe: one for each load of a
// configuration, so that what the certificates of a load share (an issuer's certificate, OpenSSL's decoders) is made
// once.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/certificate.hpp"

namespace fiberd::tls {

/// Why there is no certificate.
struct CertificateFlaw {
  CertificatePart part = CertificatePart::certificate;
  std::string text{};  ///< "FILE: what is wrong: remedy"; nothing of a key
};

/// A PEM file may be so long.
inline constexpr std::size_t kMostPem = std::size_t{256} * 1024;
/// Certificates of one chain.
inline constexpr std::size_t kMostChain = 16;

class CertificateLoader {
 public:
  CertificateLoader();
  ~CertificateLoader();
  CertificateLoader(const CertificateLoader&) = delete;
  CertificateLoader& operator=(const CertificateLoader&) = delete;

  /// Reads the files and proves that they go together and that the chain has not ended at `now` (seconds since 1970).
  /// `before` (may be null) is returned, whatever the time, if the files hold the same. Blocks the thread. Errors: what
  /// reading says; invalid_argument (no such file's content), timed_out (it has ended), not_enough_memory. Throws
  /// std::bad_alloc.
  [[nodiscard]] Result<std::shared_ptr<const Certificate>> load(const CertificateFiles& files, std::int64_t now,
                                                                CertificateFlaw& why,
                                                                const std::shared_ptr<const Certificate>& before = {});
  /// The same of texts: `files` are only named. `ocsp`: DER; empty: none.
  [[nodiscard]] Result<std::shared_ptr<const Certificate>> parse(const CertificateFiles& files,
                                                                 std::string_view certificate, std::string_view key,
                                                                 std::string_view ocsp, std::int64_t now,
                                                                 CertificateFlaw& why);

 private:
  struct Parts;
  struct Work;
  const std::unique_ptr<Parts> parts_;
};

/// What is to be said of a pair that is good: it ends soon (21 days, or a third of a life shorter than 63), is not good
/// yet, has no names, its key's file is open to others, its OCSP response is over. Each a sentence that names the file.
/// Blocks the thread.
[[nodiscard]] std::vector<std::string> warn_of(const Certificate& certificate, const CertificateFiles& files,
                                               std::int64_t now);
/// The same of a file alone that has a secret, `what`; empty: nothing.
[[nodiscard]] std::string warn_of_key_file(const std::string& file, const std::string& what = "the private key");

}  // namespace fiberd::tls
