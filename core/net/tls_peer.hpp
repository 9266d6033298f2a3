#pragma once
// TlsPeer: what TLS told about a connection's other end, as plain data: whoever asks needs to know nothing of TLS.
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::net {

/// Texts of the peer's are as it sent them.
struct TlsPeer {
  std::string_view version{};  ///< "TLSv1.3", …
  std::string_view cipher{};   ///< "TLS_AES_256_GCM_SHA384", …
  std::string server_name{};   ///< SNI: whom the client asked for; empty when it did not say
  bool resumed = false;        ///< by a session of an earlier connection
  // The certificate that it has shown and that was proved to be good; empty when there is none. Printable ASCII.
  std::string subject{};  ///< as RFC 2253 writes it: "CN=alice,O=Example"
  std::vector<std::string>
      names{};              ///< subjectAltName: "DNS:a.example", "URI:spiffe://…", "email:…", "IP:…"; 32 at most
  std::string all_names{};  ///< `names` with a blank between; none is in any of them
  std::string fingerprint{};  ///< SHA-256, 64 hexadecimal digits in lower case

  /// "yes": it has shown a certificate. One that does not verify ends the handshake.
  [[nodiscard]] std::string_view verified() const noexcept { return fingerprint.empty() ? "no" : "yes"; }
};

}  // namespace fiberd::net
