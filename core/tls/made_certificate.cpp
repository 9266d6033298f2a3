#include "core/tls/made_certificate.hpp"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>

#include "core/base/characters.hpp"
#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;

namespace {

constexpr std::size_t kLongestCommonName = 64;  // RFC 5280 appendix A.1

/// What extensions are written from is a little language: nothing of a name may mean anything in it.
bool is_plain_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > 253) return false;
  for (const char c : name) {
    const bool plain = ascii::is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '*' || c == ':';
    if (!plain) return false;
  }
  return true;
}

bool add_name(GENERAL_NAMES* all, const std::string& name) noexcept {
  std::array<unsigned char, 16> address{};
  int size = 0;
  if (inet_pton(AF_INET, name.c_str(), address.data()) == 1) {
    size = 4;
  } else if (inet_pton(AF_INET6, name.c_str(), address.data()) == 1) {
    size = 16;
  }
  GENERAL_NAME* const one = GENERAL_NAME_new();
  if (one == nullptr) return false;
  ASN1_STRING* const text = size != 0 ? static_cast<ASN1_STRING*>(ASN1_OCTET_STRING_new()) : ASN1_IA5STRING_new();
  const bool set =
      text != nullptr && (size != 0 ? ASN1_STRING_set(text, address.data(), size)
                                    : ASN1_STRING_set(text, name.data(), static_cast<int>(name.size()))) == 1;
  if (!set) {
    ASN1_STRING_free(text);
    GENERAL_NAME_free(one);
    return false;
  }
  GENERAL_NAME_set0_value(one, size != 0 ? GEN_IPADD : GEN_DNS, text);
  if (sk_GENERAL_NAME_push(all, one) > 0) return true;
  GENERAL_NAME_free(one);
  return false;
}

/// subjectAltName. Null: for want of memory, or of a name that is one.
Own<X509_EXTENSION> alternative_names(std::span<const std::string> names) {
  const Own<GENERAL_NAMES> all(sk_GENERAL_NAME_new_null());
  if (all == nullptr || names.empty()) return nullptr;
  for (const std::string& name : names)
    if (!is_plain_name(name) || !add_name(all.get(), name)) return nullptr;
  return Own<X509_EXTENSION>(X509V3_EXT_i2d(NID_subject_alt_name, 0, all.get()));
}

bool names_fit(std::span<const std::string> names) noexcept {
  bool fit = !names.empty();
  for (const std::string& name : names) fit = fit && is_plain_name(name);
  return fit;
}

bool add_text(X509* certificate, int nid, const char* text) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Own<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, text));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// id-pe-acmeIdentifier, 1.3.6.1.5.5.7.1.31: an OCTET STRING of the digest.
bool add_identifier(X509* certificate, std::string_view digest) {
  const Own<ASN1_OBJECT> name(OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1));
  const Own<ASN1_OCTET_STRING> value(ASN1_OCTET_STRING_new());
  const Own<ASN1_OCTET_STRING> wrapped(ASN1_OCTET_STRING_new());
  if (name == nullptr || value == nullptr || wrapped == nullptr) return false;
  if (ASN1_OCTET_STRING_set(value.get(), reinterpret_cast<const unsigned char*>(digest.data()),
                            static_cast<int>(digest.size())) != 1)
    return false;
  unsigned char* der = nullptr;
  const int size = i2d_ASN1_OCTET_STRING(value.get(), &der);
  if (size <= 0) return false;
  const bool set = ASN1_OCTET_STRING_set(wrapped.get(), der, size) == 1;
  OPENSSL_free(der);
  if (!set) return false;
  const Own<X509_EXTENSION> extension(X509_EXTENSION_create_by_OBJ(nullptr, name.get(), 1, wrapped.get()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_subject(X509_NAME* subject, const std::string& name) noexcept {
  if (name.size() > kLongestCommonName) return true;  // the alternative names alone say it then
  return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1;
}

/// 127 random bits that are not 0 (RFC 5280 section 4.1.2.2).
bool set_serial(X509* certificate) noexcept {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7fU) | 0x40U);
  const Own<BIGNUM> number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  return number != nullptr && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

}  // namespace

Result<std::string> make_certificate_request(const PrivateKey& key, std::span<const std::string> names) {
  const Forgotten errors;
  if (!names_fit(names)) return fail(std::errc::invalid_argument);
  const Own<X509_REQ> request(X509_REQ_new());
  Own<X509_EXTENSION> extension = alternative_names(names);
  const Own<STACK_OF(X509_EXTENSION)> extensions(sk_X509_EXTENSION_new_null());
  if (request == nullptr || extension == nullptr || extensions == nullptr ||
      sk_X509_EXTENSION_push(extensions.get(), extension.get()) <= 0)
    return fail(std::errc::not_enough_memory);
  (void)extension.release();
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.handle()) != 1 ||
      X509_REQ_add_extensions(request.get(), extensions.get()) != 1 ||
      X509_REQ_sign(request.get(), key.handle(), EVP_sha256()) <= 0)
    return fail(std::errc::not_enough_memory);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  if (size <= 0) return fail(std::errc::not_enough_memory);
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owned(der, [](unsigned char* p) { OPENSSL_free(p); });
  return std::string(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
}

Result<std::string> make_self_signed(const PrivateKey& key, const CertificateWish& wish) {
  const Forgotten errors;
  if (!names_fit(wish.names)) return fail(std::errc::invalid_argument);
  const Own<X509> certificate(X509_new());
  const Own<X509_EXTENSION> names = alternative_names(wish.names);
  X509* const c = certificate.get();
  if (c == nullptr || names == nullptr) return fail(std::errc::not_enough_memory);
  X509_NAME* const subject = X509_get_subject_name(c);
  const bool made =
      X509_set_version(c, X509_VERSION_3) == 1 && set_serial(c) && set_subject(subject, wish.names.front()) &&
      X509_set_issuer_name(c, subject) == 1 && ASN1_TIME_set(X509_getm_notBefore(c), wish.not_before) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(c), wish.not_after) != nullptr && X509_set_pubkey(c, key.handle()) == 1 &&
      X509_add_ext(c, names.get(), -1) == 1 && add_text(c, NID_basic_constraints, "critical,CA:FALSE") &&
      add_text(c, NID_key_usage, "critical,digitalSignature") && add_text(c, NID_ext_key_usage, "serverAuth") &&
      (wish.acme_identifier.empty() || add_identifier(c, wish.acme_identifier)) &&
      X509_sign(c, key.handle(), EVP_sha256()) > 0;
  const Own<BIO> text(BIO_new(BIO_s_mem()));
  if (!made || text == nullptr || PEM_write_bio_X509(text.get(), c) != 1) return fail(std::errc::not_enough_memory);
  return handles::text_of(text.get());
}

}  // namespace fiberd::tls
