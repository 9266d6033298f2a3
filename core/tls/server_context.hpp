#pragma once
// ServerContext: all that a server's side of TLS is set up with, for the connections of one listener. Immutable and
// shared: who wants another certificate makes another context, and connections that have begun keep theirs.
//
// One SSL_CTX has the first certificate; what else there is stands in a table beside it, and a callback puts what fits
// the client's name into the connection's SSL. An SSL_CTX for each certificate takes 13 KB and 0.15 ms (ten thousand:
// 134 MB and 1.5 s); the table takes 0.2 KB a name, and putting a pair in 3 µs of a handshake.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/certificate_table.hpp"
#include "core/tls/challenge_source.hpp"
#include "core/tls/client_auth.hpp"
#include "core/tls/name_source.hpp"
#include "core/tls/session.hpp"
#include "core/tls/ticket_keys.hpp"

struct ssl_ctx_st;

namespace fiberd::tls {

/// Versions and ciphers, as Mozilla's Server Side TLS names them (5.7).
enum class Profile : std::uint8_t {
  modern,       ///< TLS 1.3
  intermediate  ///< TLS 1.2, too, with ECDHE and AEAD: what is without forward secrecy, or is CBC or DHE, is not there
};

struct ServerOptions {
  Profile profile = Profile::intermediate;
  CertificateTable::List certificates;  ///< at least one; the first is shown to who says no name
  std::vector<std::string> alpn{};      ///< the best first: "h2", "http/1.1"; empty: the client's offer is not answered
  bool strict_sni = false;              ///< who says no name, or one without a certificate, is refused
  std::shared_ptr<const ClientAuth> client_auth{};  ///< null: clients are not asked
  std::shared_ptr<TicketKeys> tickets{};            ///< null: no session is resumed
  /// Most bytes of early data; 0: none is taken, and what is sent all the same is skipped. With tickets alone, by keys
  /// that no other process has: each would take the same data once.
  std::uint32_t early_data = 0;
  /// Records are made by the kernel where it can (kernel_tls.hpp); not beside early data.
  bool kernel = false;
  /// Null: nobody is proved anything. A connection of theirs has the protocol kAcmeProtocol, and is to be closed.
  std::shared_ptr<const ChallengeSource> challenges{};
  std::shared_ptr<NameSource> names{};  ///< asked for names that no certificate has; null: there are none
};

/// Of one certificate, whose PEM is in hand.
struct ServerContextOptions {
  std::string certificate{};  ///< the server's own first, then those that lead to its root
  std::string key{};
  std::vector<std::string> protocols{};  ///< as ServerOptions::alpn
};

/// Thread-safe.
class ServerContext {
 public:
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  /// Errors: invalid_argument, not_enough_memory; `why` says what OpenSSL does not take. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const ServerContext>> make(ServerOptions options, std::string& why);
  /// Errors: those of CertificateLoader::parse(), too.
  [[nodiscard]] static Result<std::shared_ptr<const ServerContext>> make(const ServerContextOptions& options);
  /// The same with other certificates.
  [[nodiscard]] Result<std::shared_ptr<const ServerContext>> with_certificates(CertificateTable::List certificates,
                                                                               std::string& why) const;

  /// For one connection, in accept state. Null: no memory. Never parks.
  [[nodiscard]] SslHandle new_session() const noexcept;
  [[nodiscard]] const ServerOptions& options() const noexcept { return options_; }
  [[nodiscard]] const CertificateTable& table() const noexcept;
  [[nodiscard]] ssl_ctx_st* handle() const noexcept { return context_; }
  /// Of a connection: it looks at a challenge, and is served nothing.
  [[nodiscard]] static bool looks_at_challenge(const ssl_st* session) noexcept;
  /// Of a connection: which certificate it is shown is not known before its hello.
  [[nodiscard]] static bool chooses(const ssl_st* session) noexcept;
  /// From now on the handshake stops once (SSL_ERROR_WANT_X509_LOOKUP) when it is about to sign with RSA, and goes on
  /// by the next call: what takes milliseconds is for another thread.
  static void may_step_aside(ssl_st* session) noexcept;
  /// Of a connection: early data was offered, and may have been taken before.
  [[nodiscard]] static bool replayed(const ssl_st* session) noexcept;

 private:
  struct Shared;
  explicit ServerContext(ServerOptions options) : options_(std::move(options)) {}
  [[nodiscard]] Result<void> set_up(std::string& why);
  const ServerOptions options_;
  std::shared_ptr<const Shared> shared_;  // also of the SSL_CTX, which connections may keep for longer
  ssl_ctx_st* context_ = nullptr;
};

}  // namespace fiberd::tls
