#include "core/tls/private_key.hpp"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include <array>
#include <climits>

#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;

namespace {

constexpr int kHalf = 32;  // bytes of a coordinate, of R and of S

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

bool is_p256(EVP_PKEY* key) noexcept {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return false;
  std::array<char, 32> name{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) == 1 &&
         std::string_view(name.data(), size) == SN_X9_62_prime256v1;
}

}  // namespace

Result<PrivateKey> PrivateKey::make() {
  const Forgotten errors;
  EVP_PKEY* const key = EVP_EC_gen(SN_X9_62_prime256v1);
  if (key == nullptr) return fail(std::errc::io_error);
  return PrivateKey(std::shared_ptr<evp_pkey_st>(key, EVP_PKEY_free));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  const Forgotten errors;
  if (pem.size() > INT_MAX) return fail(std::errc::invalid_argument);
  const Own<BIO> text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (text == nullptr) return fail(std::errc::not_enough_memory);
  Own<EVP_PKEY> key(PEM_read_bio_PrivateKey(text.get(), nullptr, handles::no_passphrase, nullptr));
  if (key == nullptr || !is_p256(key.get())) return fail(std::errc::invalid_argument);
  return PrivateKey(std::shared_ptr<evp_pkey_st>(key.release(), EVP_PKEY_free));
}

Result<std::string> PrivateKey::to_pem() const {
  const Forgotten errors;
  const Own<BIO> text(BIO_new(BIO_s_secmem()));
  if (text == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(text.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(std::errc::not_enough_memory);
  return handles::text_of(text.get());
}

Result<std::string> PrivateKey::public_point() const {
  const Forgotten errors;
  std::string point(std::size_t{2} * kHalf, '\0');
  const std::array<const char*, 2> names{OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y};
  for (std::size_t i = 0; i < names.size(); ++i) {
    BIGNUM* number = nullptr;
    if (EVP_PKEY_get_bn_param(key_.get(), names[i], &number) != 1) return fail(std::errc::not_enough_memory);
    const Own<BIGNUM> owned(number);
    if (BN_bn2binpad(number, reinterpret_cast<unsigned char*>(point.data()) + i * kHalf, kHalf) != kHalf)
      return fail(std::errc::invalid_argument);
  }
  return point;
}

Result<std::string> PrivateKey::sign(std::string_view data) const {
  const Forgotten errors;
  const Own<EVP_MD_CTX> context(EVP_MD_CTX_new());
  std::array<unsigned char, 128> der{};
  std::size_t size = der.size();
  if (context == nullptr || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), der.data(), &size, bytes_of(data), data.size()) != 1)
    return fail(std::errc::io_error);
  const unsigned char* at = der.data();
  const Own<ECDSA_SIG> pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  std::string signature(std::size_t{2} * kHalf, '\0');
  auto* const out = reinterpret_cast<unsigned char*>(signature.data());
  if (pair == nullptr || BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), out, kHalf) != kHalf ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), out + kHalf, kHalf) != kHalf)
    return fail(std::errc::io_error);
  return signature;
}

bool PrivateKey::verifies(std::string_view data, std::string_view signature) const noexcept {
  const Forgotten errors;
  if (signature.size() != std::size_t{2} * kHalf) return false;
  const Own<ECDSA_SIG> pair(ECDSA_SIG_new());
  Own<BIGNUM> r(BN_bin2bn(bytes_of(signature), kHalf, nullptr));
  Own<BIGNUM> s(BN_bin2bn(bytes_of(signature) + kHalf, kHalf, nullptr));
  if (pair == nullptr || r == nullptr || s == nullptr || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1)
    return false;
  (void)r.release();
  (void)s.release();
  std::array<unsigned char, 128> der{};
  unsigned char* at = der.data();
  const int size = i2d_ECDSA_SIG(pair.get(), &at);
  const Own<EVP_MD_CTX> context(EVP_MD_CTX_new());
  return size > 0 && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), der.data(), static_cast<std::size_t>(size), bytes_of(data), data.size()) == 1;
}

}  // namespace fiberd::tls
