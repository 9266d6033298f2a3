#pragma once
// ClientContext: what TLS connections to servers have in common: whom they believe, and what they speak.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/certificate_fault.hpp"
#include "core/tls/session.hpp"

namespace fiberd::tls {

struct ClientContextOptions {
  std::string ca{};                      ///< PEM: certificates that are believed; empty: those of the system
  std::string certificate{};             ///< PEM: ours, if the server asks; may be empty
  std::string key{};                     ///< PEM
  std::vector<std::string> protocols{};  ///< ALPN, preferred first
  bool verify = true;                    ///< the server's certificate and name; else anybody is believed
};

/// Thread-safe: but for the sessions that it keeps, to be resumed (client_sessions.hpp), it is immutable.
class ClientContext {
 public:
  /// Errors: invalid_argument (a certificate or key that cannot be read, or which do not belong together),
  /// not_enough_memory. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const ClientContext>> make(const ClientContextOptions& options);
  /// For a connection to the server of this name (its certificate must have it, and it is told which one is meant:
  /// SNI), or of this address (never told). Null: memory is out, or the name has a NUL in it. It may outlive the
  /// context.
  [[nodiscard]] SslHandle new_session(const std::string& server_name) const noexcept;

 private:
  ClientContext(SslContextHandle context, bool verify) noexcept : context_(std::move(context)), verify_(verify) {}
  SslContextHandle context_;
  const bool verify_;
};

}  // namespace fiberd::tls
