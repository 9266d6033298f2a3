#include "core/tls/certificate_facts.hpp"

#include <arpa/inet.h>
#include <openssl/pem.h>

#include <array>
#include <climits>
#include <ctime>

#include "core/base/characters.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;

namespace {

constexpr std::size_t kLongestChain = 16;
constexpr std::size_t kMostNames = 1024;

std::string_view view_of(const ASN1_STRING* text) noexcept {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

bool seconds_of(const ASN1_TIME* time, std::int64_t& out) noexcept {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return false;
  out = timegm(&parts);
  return true;
}

std::string common_name(X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at >= 0) return std::string(view_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))));
  const Own<BIO> text(BIO_new(BIO_s_mem()));
  if (text == nullptr || X509_NAME_print_ex(text.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  return handles::text_of(text.get());
}

std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> names;
  const Own<GENERAL_NAMES> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all.get()) && names.size() < kMostNames; ++i) {
    int type = 0;
    const auto* const value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type));
    if (type == GEN_DNS) {
      std::string name(view_of(value));
      for (char& c : name) c = ascii::to_lower(c);
      names.push_back(std::move(name));
    } else if (type == GEN_IPADD) {
      const std::string_view bytes = view_of(value);
      std::array<char, INET6_ADDRSTRLEN> text{};
      const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
      if ((bytes.size() == 4 || bytes.size() == 16) &&
          inet_ntop(family, bytes.data(), text.data(), text.size()) != nullptr)
        names.emplace_back(text.data());
    }
  }
  return names;
}

/// base64url of the issuer's key identifier, a dot, base64url of the serial number as DER has it.
std::string ari_id_of(X509* certificate) {
  const Own<AUTHORITY_KEYID> issuer(
      static_cast<AUTHORITY_KEYID*>(X509_get_ext_d2i(certificate, NID_authority_key_identifier, nullptr, nullptr)));
  if (issuer == nullptr || issuer->keyid == nullptr) return {};
  const ASN1_INTEGER* const number = X509_get0_serialNumber(certificate);
  unsigned char* der = nullptr;
  const int size = i2d_ASN1_INTEGER(number, &der);
  if (size < 3) return {};
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owned(der, [](unsigned char* p) { OPENSSL_free(p); });
  // Behind the tag and a length of one byte; a serial number has 20 bytes at most.
  if ((der[1] & 0x80U) != 0) return {};
  const std::string_view value(reinterpret_cast<const char*>(der) + 2, static_cast<std::size_t>(size) - 2);
  return to_base64url(view_of(issuer->keyid)) + "." + to_base64url(value);
}

std::string hex_of(const ASN1_INTEGER* number) {
  const Own<BIGNUM> value(ASN1_INTEGER_to_BN(number, nullptr));
  if (value == nullptr) return {};
  char* const text = BN_bn2hex(value.get());
  if (text == nullptr) return {};
  const std::unique_ptr<char, void (*)(char*)> owned(text, [](char* p) { OPENSSL_free(p); });
  return text;
}

Own<X509> first_of(BIO* text) noexcept {
  return Own<X509>(PEM_read_bio_X509(text, nullptr, handles::no_passphrase, nullptr));
}

Own<BIO> open_text(std::string_view pem) noexcept {
  return pem.size() > INT_MAX ? nullptr : Own<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

}  // namespace

Result<CertificateFacts> read_certificate_facts(std::string_view pem) {
  const Forgotten errors;
  const Own<BIO> text = open_text(pem);
  if (text == nullptr) return fail(std::errc::invalid_argument);
  const Own<X509> first = first_of(text.get());
  if (first == nullptr) return fail(std::errc::invalid_argument);
  CertificateFacts facts;
  if (!seconds_of(X509_get0_notBefore(first.get()), facts.not_before) ||
      !seconds_of(X509_get0_notAfter(first.get()), facts.not_after))
    return fail(std::errc::invalid_argument);
  facts.issuer = common_name(X509_get_issuer_name(first.get()));
  facts.serial = hex_of(X509_get0_serialNumber(first.get()));
  facts.names = names_of(first.get());
  facts.ari_id = ari_id_of(first.get());
  for (facts.chain = 1; facts.chain < kLongestChain && first_of(text.get()) != nullptr;) ++facts.chain;
  return facts;
}

bool is_certificate_of(std::string_view pem, const PrivateKey& key) noexcept {
  const Forgotten errors;
  const Own<BIO> text = open_text(pem);
  if (text == nullptr) return false;
  const Own<X509> first = first_of(text.get());
  return first != nullptr && X509_check_private_key(first.get(), key.handle()) == 1;
}

}  // namespace fiberd::tls
