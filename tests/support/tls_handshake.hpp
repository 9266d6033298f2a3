#pragma once
// A handshake of OpenSSL's own client with a session of ours, in memory: what a server's context decides is seen
// without a socket.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tls/session.hpp"

struct ssl_session_st;

namespace fiberd::test {

struct FreeSession {
  void operator()(ssl_session_st* session) const noexcept;
};
using TlsSession = std::unique_ptr<ssl_session_st, FreeSession>;

struct TlsWishes {
  std::string server_name{};
  int least = 0x0303;        ///< TLS1_2_VERSION
  int most = 0x0304;         ///< TLS1_3_VERSION
  std::string signatures{};  ///< "RSA-PSS+SHA256"; empty: OpenSSL's
  std::string ciphers{};     ///< of TLS 1.2
  std::vector<std::string> alpn{};
  std::string certificate{};  ///< the client's own, PEM
  std::string key{};
  ssl_session_st* session = nullptr;  ///< to be resumed
  bool status = false;                ///< asks for an OCSP response
  std::string early{};                ///< data to be sent before the handshake is over
  bool renegotiate = false;           ///< afterwards, of TLS 1.2
};

struct TlsOutcome {
  bool done = false;           ///< on both sides
  std::string client_error{};  ///< OpenSSL's reason
  std::string server_error{};
  std::string version{};
  std::string cipher{};
  std::string alpn{};
  std::string names{};   ///< of the certificate that was shown: "a.example.org,b.example.org"
  std::string key{};     ///< "EC", "RSA", "ED25519"
  std::string status{};  ///< the OCSP response
  bool resumed = false;
  bool early_accepted = false;
  TlsSession session{};  ///< for the next one; null: none was given
};

/// `server` is as ServerContext::new_session() made it; it stays usable.
[[nodiscard]] TlsOutcome shake_hands(ssl_st& server, const TlsWishes& wishes);

/// Raw bytes of a client to a session: what the server says of them.
[[nodiscard]] std::string why_refused(ssl_st& server, std::string_view bytes);
/// A ClientHello of TLS 1.2 with this server name, whatever is in it.
[[nodiscard]] std::string client_hello(std::string_view server_name);

}  // namespace fiberd::test
