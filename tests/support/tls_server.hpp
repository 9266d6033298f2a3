#pragma once
// A server of HTTP over TLS that OpenSSL drives itself, in threads that block: whom clients of ours ask.
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/hostile_upstream.hpp"
#include "tests/support/test_certificates.hpp"

namespace fiberd::test {

struct FreeOpenSsl {
  void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
  void operator()(SSL* p) const noexcept { SSL_free(p); }
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
};
template <class T>
using OpenSslOwned = std::unique_ptr<T, FreeOpenSsl>;

struct TlsIdentity {
  std::string certificate = kTestCertificate;
  std::string key = kTestKey;
};

inline OpenSslOwned<BIO> pem_text(const std::string& pem) {
  return OpenSslOwned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

/// What the server has seen, for after its threads.
struct TlsSeen {
  std::mutex lock;
  std::vector<std::string> names;
  std::string protocol;
  std::string client;  // its certificate's common name
  unsigned resumed = 0;
};

inline int choose_http11(SSL* /*ssl*/, const unsigned char** out, unsigned char* size, const unsigned char* in,
                         unsigned n, void* /*argument*/) {
  static const unsigned char kOurs[] = "\x08http/1.1";
  return SSL_select_next_proto(const_cast<unsigned char**>(out), size, kOurs, sizeof kOurs - 1, in, n) ==
                 OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

class TlsServer {
 public:
  explicit TlsServer(const TlsIdentity& identity = {}, int version = TLS1_3_VERSION, bool wants_client = false)
      : context_(SSL_CTX_new(TLS_server_method())) {
    const OpenSslOwned<BIO> certificate = pem_text(identity.certificate);
    const OpenSslOwned<BIO> key = pem_text(identity.key);
    const OpenSslOwned<X509> leaf(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
    const OpenSslOwned<EVP_PKEY> secret(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    REQUIRE(SSL_CTX_use_certificate(context_.get(), leaf.get()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(context_.get(), secret.get()) == 1);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_set_alpn_select_cb(context_.get(), choose_http11, nullptr);
    static const unsigned char kName[] = "test";
    SSL_CTX_set_session_id_context(context_.get(), kName, sizeof kName - 1);
    if (!wants_client) return;
    const std::string pem = kTestCa;
    const OpenSslOwned<BIO> authority = pem_text(pem);
    const OpenSslOwned<X509> ca(PEM_read_bio_X509(authority.get(), nullptr, nullptr, nullptr));
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), ca.get()) == 1);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }

  enum class End { keep, close_notify, fin };
  /// Answers requests one after the other with `answer`; then, as `end` says, at once.
  void serve(UpstreamPeer& peer, const std::string& answer, End end, TlsSeen& seen) const {
    const OpenSslOwned<SSL> ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), peer.fd());
    if (SSL_accept(ssl.get()) != 1) {
      (void)peer.wait_for_hang_up();  // what was said is read first
      return;
    }
    note(ssl.get(), seen);
    std::string in;
    for (;;) {
      char data[4096];
      const int n = SSL_read(ssl.get(), data, sizeof data);
      if (n <= 0) return;
      in.append(data, static_cast<std::size_t>(n));
      if (in.find("\r\n\r\n") == std::string::npos) continue;
      ++requests_;
      in.clear();
      (void)SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size()));
      if (end == End::keep) continue;
      if (end == End::close_notify) (void)SSL_shutdown(ssl.get());
      peer.end();
      (void)peer.wait_for_hang_up();
      return;
    }
  }
  [[nodiscard]] HostileUpstream::Script script(std::string answer, End end, TlsSeen& seen) const {
    return [this, answer = std::move(answer), end, &seen](UpstreamPeer& peer) { serve(peer, answer, end, seen); };
  }
  [[nodiscard]] unsigned requests() const noexcept { return requests_; }

 private:
  static void note(SSL* ssl, TlsSeen& seen) {
    const std::lock_guard guard(seen.lock);
    const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    seen.names.emplace_back(name != nullptr ? name : "");
    const unsigned char* protocol = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &size);
    seen.protocol.assign(reinterpret_cast<const char*>(protocol), size);
    seen.resumed += SSL_session_reused(ssl) == 1 ? 1U : 0U;
    const OpenSslOwned<X509> client(SSL_get1_peer_certificate(ssl));
    char common[64] = "";
    if (client != nullptr)
      X509_NAME_get_text_by_NID(X509_get_subject_name(client.get()), NID_commonName, common, sizeof common);
    seen.client = common;
  }
  const OpenSslOwned<SSL_CTX> context_;
  mutable std::atomic<unsigned> requests_{0};
};
}  // namespace fiberd::test
