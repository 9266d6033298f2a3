#include "core/tls/client_context.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <utility>

#include "core/tls/client_sessions.hpp"
#include "core/tls/pem.hpp"

namespace fiberd::tls {

Result<std::shared_ptr<const ClientContext>> ClientContext::make(const ClientContextOptions& options) {
  const Result<std::string> protocols = alpn_list(options.protocols);
  if (!protocols) return fail(protocols.error());
  SslContextHandle context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) {
    ERR_clear_error();
    return fail(std::errc::not_enough_memory);
  }
  SSL_CTX* const ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  if (!options.certificate.empty())
    if (const Result<void> used = use_identity(*ctx, options.certificate, options.key); !used)
      return fail(used.error());
  if (!options.ca.empty()) {
    if (const Result<void> trusted = trust(*ctx, options.ca); !trusted) return fail(trusted.error());
  } else if (options.verify) {
    SSL_CTX_set_default_verify_paths(ctx);
    ERR_clear_error();  // who has none believes nobody
  }
  if (!keep_sessions(*ctx)) return fail(std::errc::not_enough_memory);
  SSL_CTX_set_verify(ctx, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!protocols->empty() && SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>(protocols->data()),
                                                     static_cast<unsigned>(protocols->size())) != 0)
    return fail(std::errc::not_enough_memory);
  return std::shared_ptr<const ClientContext>(new ClientContext(std::move(context), options.verify));
}

static bool is_address(const std::string& name) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

SslHandle ClientContext::new_session(const std::string& server_name) const noexcept {
  SslHandle session(server_name.find('\0') == std::string::npos ? SSL_new(context_.get()) : nullptr);
  bool good = session != nullptr;
  if (good) {
    SSL* const ssl = session.get();
    SSL_set_connect_state(ssl);
    const bool address = is_address(server_name);
    if (!server_name.empty() && !address) good = SSL_set_tlsext_host_name(ssl, server_name.c_str()) == 1;
    if (good && verify_) {
      SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      // Without a name nothing could be compared, and nobody is believed.
      good = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str()) == 1
                     : !server_name.empty() && SSL_set1_host(ssl, server_name.c_str()) == 1;
    }
  }
  if (good) offer_session(*session, server_name);
  ERR_clear_error();
  if (!good) return nullptr;
  return session;
}

}  // namespace fiberd::tls
