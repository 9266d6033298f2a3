#include "core/tls/pem.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <climits>
#include <memory>

namespace fiberd::tls {

namespace {
struct FreePem {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
};
template <class T>
using PemOwned = std::unique_ptr<T, FreePem>;
}  // namespace

static PemOwned<BIO> reader_of(std::string_view text) noexcept {
  if (text.size() > INT_MAX) return nullptr;
  return PemOwned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Nobody is there to be asked for a password.
static int no_password(char*, int, int, void*) noexcept { return 0; }

static PemOwned<X509> next_certificate(BIO* from) noexcept {
  return PemOwned<X509>(PEM_read_bio_X509(from, nullptr, &no_password, nullptr));
}

/// Behind the last one: whether there was nothing wrong with what follows.
static bool only_no_more() noexcept {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static bool take_identity(SSL_CTX* ctx, std::string_view certificate, std::string_view key) noexcept {
  const PemOwned<BIO> chain = reader_of(certificate);
  const PemOwned<X509> own = chain != nullptr ? next_certificate(chain.get()) : nullptr;
  if (own == nullptr || SSL_CTX_use_certificate(ctx, own.get()) != 1) return false;
  SSL_CTX_clear_chain_certs(ctx);
  while (PemOwned<X509> next = next_certificate(chain.get()))
    if (SSL_CTX_add1_chain_cert(ctx, next.get()) != 1) return false;
  if (!only_no_more()) return false;
  ERR_clear_error();
  const PemOwned<BIO> text = reader_of(key);
  const PemOwned<EVP_PKEY> secret(text != nullptr ? PEM_read_bio_PrivateKey(text.get(), nullptr, &no_password, nullptr)
                                                  : nullptr);
  return secret != nullptr && SSL_CTX_use_PrivateKey(ctx, secret.get()) == 1 && SSL_CTX_check_private_key(ctx) == 1;
}

Result<void> use_identity(ssl_ctx_st& context, std::string_view certificate, std::string_view key) noexcept {
  const bool taken = take_identity(&context, certificate, key);
  ERR_clear_error();
  if (!taken) return fail(std::errc::invalid_argument);
  return {};
}

Result<void> trust(ssl_ctx_st& context, std::string_view pem) noexcept {
  const PemOwned<BIO> text = reader_of(pem);
  bool good = false;
  while (PemOwned<X509> next = text != nullptr ? next_certificate(text.get()) : nullptr) {
    good = X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), next.get()) == 1;
    if (!good) break;
  }
  good = good && only_no_more();
  ERR_clear_error();
  if (!good) return fail(std::errc::invalid_argument);
  return {};
}

Result<std::string> alpn_list(const std::vector<std::string>& protocols) {
  std::string list;
  for (const std::string& name : protocols) {
    if (name.empty() || name.size() > 255) return fail(std::errc::invalid_argument);
    list += static_cast<char>(name.size());
    list += name;
  }
  return list;
}

}  // namespace fiberd::tls
