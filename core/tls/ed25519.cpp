#include "core/tls/ed25519.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <climits>
#include <memory>

namespace fiberd::tls {

namespace {

struct Free {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
  void operator()(EVP_MD_CTX* p) const noexcept { EVP_MD_CTX_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

/// What OpenSSL noted of an error is nobody's: the next who asks must not find it.
struct NoErrors {
  NoErrors() = default;
  ~NoErrors() { ERR_clear_error(); }
  NoErrors(const NoErrors&) = delete;
  NoErrors& operator=(const NoErrors&) = delete;
};

Owned<EVP_PKEY> read_key(std::string_view pem) noexcept {
  if (pem.size() > INT_MAX) return nullptr;
  const Owned<BIO> text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (text == nullptr) return nullptr;
  Owned<EVP_PKEY> key(PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr));
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) return nullptr;
  return key;
}

}  // namespace

Result<void> check_ed25519_key(std::string_view pem) noexcept {
  const NoErrors none;
  if (read_key(pem) == nullptr) return fail(std::errc::invalid_argument);
  return {};
}

Result<void> verify_ed25519(std::string_view pem, std::span<const std::byte> data,
                            std::string_view signature) noexcept {
  const NoErrors none;
  const Owned<EVP_PKEY> key = read_key(pem);
  if (key == nullptr) return fail(std::errc::invalid_argument);
  if (signature.size() != kEd25519Signature) return fail(std::errc::bad_message);
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1)
    return fail(std::errc::not_enough_memory);
  const int good = EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                                    signature.size(), reinterpret_cast<const unsigned char*>(data.data()), data.size());
  if (good != 1) return fail(std::errc::bad_message);
  return {};
}

}  // namespace fiberd::tls
