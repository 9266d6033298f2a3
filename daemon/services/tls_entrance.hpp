#pragma once
// TlsEntrance: the TLS handshakes of one HTTP listener for as long as it lives, over all configurations, with what
// counts them.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/metric/registry.hpp"
#include "core/tls/acceptor.hpp"
#include "core/tls/current_context.hpp"

namespace fiberd::daemon {

/// What connections are encrypted with, and within which bounds.
struct Encryption {
  std::shared_ptr<tls::CurrentContext> contexts{};  ///< null: they are not
  std::chrono::nanoseconds handshake{0};            ///< timeouts.handshake
  std::size_t handshakes = 0;                       ///< limits.handshakes
  std::chrono::nanoseconds drain{0};                ///< as of idle connections
};

/// Thread-safe.
class TlsEntrance {
 public:
  /// Throws as Registry does.
  TlsEntrance(const std::string& listener, metric::Registry& registry);
  TlsEntrance(const TlsEntrance&) = delete;
  TlsEntrance& operator=(const TlsEntrance&) = delete;

  /// From now on handshakes are made so, and connections handed over. On a fiber, or before there is one. Throws
  /// std::bad_alloc.
  void use(const Encryption& encryption, tls::OnSecured on_secured, void* argument);
  [[nodiscard]] tls::Acceptor& acceptor() noexcept { return acceptor_; }
  /// Ends up to `most` handshakes that have lasted longer than any client needs. Never parks. Returns how many.
  std::size_t reclaim(std::size_t most) noexcept;

 private:
  metric::Leases leases_;
  tls::HandshakeMetrics metrics_;
  tls::Acceptor acceptor_;
};

}  // namespace fiberd::daemon
