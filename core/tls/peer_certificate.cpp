#include "core/tls/peer_certificate.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <new>

#include "core/base/characters.hpp"
#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;
using handles::text_of;

namespace {

constexpr std::size_t kMostNames = 32;
constexpr std::size_t kLongestName = 512;
constexpr std::size_t kLongestSubject = 1024;

/// What an issuer signed may still hold what breaks a log's line: such a name is left out.
void add_name(std::vector<std::string>& names, const char* kind, const ASN1_STRING* text) {
  const std::string_view name(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                              static_cast<std::size_t>(ASN1_STRING_length(text)));
  if (name.size() <= kLongestName && std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    names.push_back(kind + std::string(name));
}

void add_address(std::vector<std::string>& names, const ASN1_OCTET_STRING* bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int size = ASN1_STRING_length(bytes);
  const int family = size == 4 ? AF_INET : AF_INET6;
  if ((size == 4 || size == 16) &&
      ::inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size()) != nullptr)
    names.push_back(std::string("IP:") + text.data());
}

}  // namespace

void read_peer_certificate(const ssl_st& session, net::TlsPeer& peer) {
  const Forgotten none;
  const X509* const certificate = SSL_get0_peer_certificate(&session);
  if (certificate == nullptr || SSL_get_verify_result(&session) != X509_V_OK) return;
  const Own<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr) throw std::bad_alloc();
  // Escapes control characters, and all that is no ASCII.
  (void)X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  peer.subject = text_of(bio.get());
  if (peer.subject.size() > kLongestSubject) peer.subject.resize(kLongestSubject);
  const Own<GENERAL_NAMES> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all.get()) && peer.names.size() < kMostNames; ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(all.get(), i);
    switch (name->type) {
      case GEN_DNS: add_name(peer.names, "DNS:", name->d.dNSName); break;
      case GEN_EMAIL: add_name(peer.names, "email:", name->d.rfc822Name); break;
      case GEN_URI: add_name(peer.names, "URI:", name->d.uniformResourceIdentifier); break;
      case GEN_IPADD: add_address(peer.names, name->d.iPAddress); break;
      default: break;
    }
  }
  for (const std::string& name : peer.names) peer.all_names += (peer.all_names.empty() ? "" : " ") + name;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) throw std::bad_alloc();
  for (unsigned i = 0; i < size; ++i) {
    peer.fingerprint += ascii::kHexDigits[digest[i] >> 4U];
    peer.fingerprint += ascii::kHexDigits[digest[i] & 15U];
  }
}

}  // namespace fiberd::tls
