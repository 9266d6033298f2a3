#pragma once
// ServerContext: what a server's TLS connections have in common: its certificate, and what it agrees to.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/session.hpp"

namespace fiberd::tls {

struct ServerContextOptions {
  std::string certificate{};             ///< PEM: the server's own first, then those that lead to its root
  std::string key{};                     ///< PEM
  std::vector<std::string> protocols{};  ///< ALPN, preferred first; none: the extension is not answered
};

/// Immutable, so thread-safe.
class ServerContext {
 public:
  /// Errors: invalid_argument (no certificate, no key, or they do not belong together), not_enough_memory. Throws
  /// std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const ServerContext>> make(const ServerContextOptions& options);
  /// For a connection that was accepted. Null: memory is out. It may outlive the context.
  [[nodiscard]] SslHandle new_session() const noexcept;

 private:
  explicit ServerContext(SslContextHandle context) noexcept : context_(std::move(context)) {}
  SslContextHandle context_;
};

}  // namespace fiberd::tls
