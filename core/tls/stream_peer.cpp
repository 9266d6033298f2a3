// What a Stream says of its peer.
#include <openssl/ssl.h>

#include <new>
#include <utility>

#include "core/tls/peer_certificate.hpp"
#include "core/tls/stream.hpp"

namespace fiberd::tls {

std::string_view Stream::application_protocol() const noexcept {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(session_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

const net::TlsPeer* Stream::tls_peer() const noexcept {
  if (peer_ != nullptr) return peer_.get();
  try {
    auto peer = std::make_unique<net::TlsPeer>();
    const SSL* const ssl = session_.get();
    peer->version = SSL_get_version(ssl);
    if (const char* const cipher = SSL_get_cipher_name(ssl); cipher != nullptr) peer->cipher = cipher;
    if (const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); name != nullptr)
      peer->server_name = name;
    peer->resumed = SSL_session_reused(ssl) != 0;
    read_peer_certificate(*ssl, *peer);
    peer_ = std::move(peer);
  } catch (const std::bad_alloc&) {
    static const net::TlsPeer unknown{};
    return &unknown;
  }
  return peer_.get();
}

}  // namespace fiberd::tls
