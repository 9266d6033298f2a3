#include "core/tls/server_context.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <utility>

#include "core/tls/pem.hpp"

namespace fiberd::tls {

/// Of our protocols the first that the client speaks, too; else the handshake ends (RFC 7301 section 3.2).
static int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* theirs,
                           unsigned theirs_size, void* argument) noexcept {
  const auto& ours = *static_cast<const std::string*>(argument);
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                                          static_cast<unsigned>(ours.size()), theirs, theirs_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// Sessions outlive the ServerContext, not what OpenSSL counts: what callbacks need lives as long as that.
static int protocols_index() noexcept {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr,
      [](void*, void* data, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<std::string*>(data); });
  return index;
}

Result<std::shared_ptr<const ServerContext>> ServerContext::make(const ServerContextOptions& options) {
  Result<std::string> protocols = alpn_list(options.protocols);
  if (!protocols) return fail(protocols.error());
  SslContextHandle context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) {
    ERR_clear_error();
    return fail(std::errc::not_enough_memory);
  }
  SSL_CTX* const ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (const Result<void> used = use_identity(*ctx, options.certificate, options.key); !used) return fail(used.error());
  if (!protocols->empty()) {
    auto kept = std::make_unique<std::string>(std::move(*protocols));
    if (SSL_CTX_set_ex_data(ctx, protocols_index(), kept.get()) != 1) return fail(std::errc::not_enough_memory);
    SSL_CTX_set_alpn_select_cb(ctx, &choose_protocol, kept.release());
  }
  return std::shared_ptr<const ServerContext>(new ServerContext(std::move(context)));
}

SslHandle ServerContext::new_session() const noexcept {
  SslHandle session(SSL_new(context_.get()));
  if (session != nullptr)
    SSL_set_accept_state(session.get());
  else
    ERR_clear_error();
  return session;
}

}  // namespace fiberd::tls
