#include "core/tls/certificate_loader.hpp"

#include <openssl/pem.h>
#include <openssl/provider.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/read_file.hpp"
#include "core/base/text.hpp"
#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;
using handles::reader_of;
using handles::take_reason;

namespace {

struct PemBlock {
  std::string label;
  std::string der;
  bool encrypted = false;  // by the old way, which the headers tell
};

/// What stays in memory for a while is not to be a key.
struct Wiped {
  explicit Wiped(std::string& wiped) : text(wiped) {}
  ~Wiped() { OPENSSL_cleanse(text.data(), text.size()); }
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  std::string& text;
};

/// The next block; false: there is none.
bool next_block(BIO& pem, PemBlock& block) {
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(&pem, &label, &header, &data, &size) != 1) return false;
  block.label = label;
  block.encrypted = std::string_view(header).find("ENCRYPTED") != std::string_view::npos;
  OPENSSL_cleanse(block.der.data(), block.der.size());
  block.der.assign(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  return true;
}

/// Of all the parts; where one ends the next does not begin.
std::string hex_sha256(std::initializer_list<std::string_view> parts) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const Own<EVP_MD_CTX> context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  for (const std::string_view part : parts) {
    const std::uint64_t length = part.size();
    if (parts.size() > 1) (void)EVP_DigestUpdate(context.get(), &length, sizeof length);
    (void)EVP_DigestUpdate(context.get(), part.data(), part.size());
  }
  (void)EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += ascii::kHexDigits[digest[i] >> 4U];
    hex += ascii::kHexDigits[digest[i] & 15U];
  }
  return hex;
}

std::int64_t seconds_of(const ASN1_TIME* time) noexcept {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<std::int64_t>(::timegm(&parts));
}

std::vector<std::string> names_of(const X509& leaf) {
  std::vector<std::string> names;
  const Own<GENERAL_NAMES> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&leaf, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) continue;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                     static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    text = ascii::lower(text);
    if (!text.empty() && text.size() <= 255 && text.find('\0') == std::string::npos &&
        std::find(names.begin(), names.end(), text) == names.end())
      names.push_back(std::move(text));
  }
  return names;
}

KeyKind kind_of(const EVP_PKEY& key) noexcept {
  switch (EVP_PKEY_get_base_id(&key)) {
    case EVP_PKEY_EC: return KeyKind::ecdsa;
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS: return KeyKind::rsa;
    case EVP_PKEY_ED25519: return KeyKind::ed25519;
    default: return KeyKind::other;
  }
}

}  // namespace

struct CertificateLoader::Parts {
  // Without a provider: what reads a certificate here looks for nobody who knows its key.
  const Own<OSSL_LIB_CTX> nobody{OSSL_LIB_CTX_new()};
  OSSL_PROVIDER* const null_provider = OSSL_PROVIDER_load(nobody.get(), "null");
  EVP_PKEY* found = nullptr;  // by the decoders
  const Own<OSSL_DECODER_CTX> keys{
      OSSL_DECODER_CTX_new_for_pkey(&found, "DER", nullptr, nullptr, EVP_PKEY_KEYPAIR, nullptr, nullptr)};
  const Own<OSSL_DECODER_CTX> public_keys{OSSL_DECODER_CTX_new_for_pkey(&found, "DER", "SubjectPublicKeyInfo", nullptr,
                                                                        EVP_PKEY_PUBLIC_KEY, nullptr, nullptr)};
  std::map<std::string, Own<X509>> issuers;  // by DER

  Parts() = default;
  ~Parts() {
    if (null_provider != nullptr) (void)OSSL_PROVIDER_unload(null_provider);
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Own<EVP_PKEY> decode(OSSL_DECODER_CTX* decoder, const std::string& der) noexcept {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    std::size_t left = der.size();
    found = nullptr;
    if (OSSL_DECODER_from_data(decoder, &at, &left) != 1) return nullptr;
    return Own<EVP_PKEY>(std::exchange(found, nullptr));
  }
  /// As a part of a certificate that this one keeps; null: it is none.
  Own<X509> issuer(const std::string& der) {
    Own<X509>& kept = issuers[der];
    if (kept == nullptr) {
      const auto* at = reinterpret_cast<const unsigned char*>(der.data());
      kept.reset(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
      if (kept == nullptr) return nullptr;
    }
    X509_up_ref(kept.get());
    return Own<X509>(kept.get());
  }
};

/// One parse().
struct CertificateLoader::Work {
  using Verdict = Result<std::shared_ptr<const Certificate>>;

  const CertificateFiles& files;
  const std::int64_t now;
  CertificateFlaw& why;
  Parts& parts;
  const std::shared_ptr<Certificate> made{new Certificate};
  Own<X509> leaf{};

  tl::unexpected<std::error_code> refuse(CertificatePart part, const std::string& text,
                                         std::errc error = std::errc::invalid_argument) const {
    const std::string& file = part == CertificatePart::key    ? files.key
                              : part == CertificatePart::ocsp ? files.ocsp
                                                              : files.certificate;
    why = {part, file + ": " + text};
    return fail(error);
  }

  /// Holds what a certificate says of its time against the rest of the chain.
  Result<void> take_time(const X509& one, std::size_t index) {
    const std::int64_t from = seconds_of(X509_get0_notBefore(&one));
    const std::int64_t until = seconds_of(X509_get0_notAfter(&one));
    made->not_before_ = index == 0 ? from : std::max(made->not_before_, from);
    made->not_after_ = index == 0 ? until : std::min(made->not_after_, until);
    if (until > now) return {};
    return refuse(
        CertificatePart::certificate,
        (index == 0 ? std::string("the certificate") : "certificate " + std::to_string(index + 1) + " of the chain") +
            " has ended at " + describe_time(until) +
            (index == 0 ? ": renew it" : ": put the issuer's present one in its place, or leave it out"),
        std::errc::timed_out);
  }

  Result<void> read_chain(std::string_view pem) {
    const Own<BIO> bio = reader_of(pem);
    if (bio == nullptr) throw std::bad_alloc();
    made->chain_ = sk_X509_new_null();
    if (made->chain_ == nullptr) throw std::bad_alloc();
    PemBlock block;
    const Wiped wiped(block.der);  // the key may stand in the same file
    std::size_t count = 0;
    while (next_block(*bio, block)) {
      if (block.label != PEM_STRING_X509 && block.label != PEM_STRING_X509_OLD &&
          block.label != PEM_STRING_X509_TRUSTED)
        continue;
      if (count == kMostChain)
        return refuse(CertificatePart::certificate, "has more than " + std::to_string(kMostChain) + " certificates");
      if (count != 0 && block.der == made->der_) continue;  // some issuers send it twice
      Own<X509> one;
      if (count == 0) {
        const auto* at = reinterpret_cast<const unsigned char*>(block.der.data());
        X509* fresh = X509_new_ex(parts.nobody.get(), nullptr);
        if (fresh == nullptr) throw std::bad_alloc();
        if (d2i_X509(&fresh, &at, static_cast<long>(block.der.size())) == nullptr) fresh = nullptr;
        one.reset(fresh);
      } else {
        one = parts.issuer(block.der);
      }
      if (one == nullptr)
        return refuse(CertificatePart::certificate,
                      "certificate " + std::to_string(count + 1) + " is damaged: " + take_reason());
      if (const Result<void> in_time = take_time(*one, count); !in_time) return in_time;
      if (count == 0) {
        made->der_ = block.der;
        leaf = std::move(one);
      } else if (sk_X509_push(made->chain_, one.get()) > 0) {
        (void)one.release();
      } else {
        throw std::bad_alloc();
      }
      ++count;
    }
    const unsigned long last = ERR_peek_last_error();
    const bool end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (!end) return refuse(CertificatePart::certificate, "is damaged: " + take_reason());
    ERR_clear_error();
    if (count == 0)
      return refuse(CertificatePart::certificate,
                    pem.empty() ? "is empty: a certificate in PEM belongs there, its chain behind it"
                                : "has no certificate in PEM (\"-----BEGIN CERTIFICATE-----\")");
    return {};
  }

  Result<void> read_key(std::string_view pem) {
    const Own<BIO> bio = reader_of(pem);
    if (bio == nullptr) throw std::bad_alloc();
    PemBlock block;
    const Wiped wiped(block.der);
    bool found = false;
    while (!found && next_block(*bio, block)) found = block.label.ends_with("PRIVATE KEY");
    ERR_clear_error();
    if (!found)
      return refuse(CertificatePart::key, pem.empty() ? "is empty: the private key in PEM belongs there"
                                                      : "has no private key in PEM (\"-----BEGIN PRIVATE KEY-----\")");
    if (block.encrypted || block.label == PEM_STRING_PKCS8)
      return refuse(CertificatePart::key,
                    "the key is encrypted, and nobody is there to be asked for its password: openssl pkey -in " +
                        files.key + " -out PLAIN.key decrypts it (then chmod 600)");
    Own<EVP_PKEY> key = parts.decode(parts.keys.get(), block.der);
    if (key == nullptr)
      return refuse(CertificatePart::key, "the key is damaged, or of a kind that OpenSSL does not know");
    ERR_clear_error();
    made->key_kind_ = kind_of(*key);
    const int bits = EVP_PKEY_get_bits(key.get());
    if (made->key_kind_ == KeyKind::other)
      return refuse(CertificatePart::key, "is no key that TLS signs with: ECDSA, RSA or Ed25519");
    if (made->key_kind_ == KeyKind::rsa && bits < 2048)
      return refuse(CertificatePart::key,
                    "is an RSA key of " + std::to_string(bits) + " bits: clients take none below 2048; make a new one");
    made->key_ = key.release();
    return {};
  }

  Result<void> match() {
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf.get()), &der);
    if (size <= 0) throw std::bad_alloc();
    const std::string text(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    const Own<EVP_PKEY> own = parts.decode(parts.public_keys.get(), text);
    ERR_clear_error();
    if (own == nullptr)
      return refuse(CertificatePart::certificate, "its public key is damaged, or of a kind that OpenSSL does not know");
    if (EVP_PKEY_eq(own.get(), made->key_) == 1) return {};
    ERR_clear_error();
    return refuse(CertificatePart::key,
                  "is the key of another certificate than " + files.certificate +
                      ": the two must have been made together (the leaf stands first in the chain)");
  }

  /// Each is signed by the next: what is out of order is found here and not by clients.
  Result<void> look_at_order() const {
    const X509* below = leaf.get();
    for (int i = 0; i < sk_X509_num(made->chain_); ++i) {
      const X509* const above = sk_X509_value(made->chain_, i);
      if (X509_NAME_cmp(X509_get_issuer_name(below), X509_get_subject_name(above)) != 0)
        return refuse(CertificatePart::certificate, "certificate " + std::to_string(i + 2) +
                                                        " has not issued the one before it: put the chain in order, "
                                                        "from the leaf up to below the root");
      below = above;
    }
    return {};
  }

  Result<void> read_staple(std::string_view der) {
    if (der.empty()) return refuse(CertificatePart::ocsp, "is empty: an OCSP response in DER belongs there");
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const Own<OCSP_RESPONSE> response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(der.size())));
    if (response == nullptr) return refuse(CertificatePart::ocsp, "is no OCSP response in DER");
    if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
      return refuse(CertificatePart::ocsp,
                    "is a refusal of the issuer (" +
                        std::string(OCSP_response_status_str(OCSP_response_status(response.get()))) + "): ask again");
    const Own<OCSP_BASICRESP> basic(OCSP_response_get1_basic(response.get()));
    for (int i = 0; basic != nullptr && i < OCSP_resp_count(basic.get()); ++i) {
      OCSP_SINGLERESP* const one = OCSP_resp_get0(basic.get(), i);
      ASN1_INTEGER* serial = nullptr;
      // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): it is only looked at
      if (OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial,
                            const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(one))) != 1 ||
          ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf.get())) != 0)
        continue;
      ASN1_GENERALIZEDTIME* next = nullptr;
      (void)OCSP_single_get0_status(one, nullptr, nullptr, nullptr, &next);
      made->staple_until_ = next != nullptr ? seconds_of(next) : INT64_MAX;
      made->staple_.assign(der.begin(), der.end());
      return {};
    }
    return refuse(CertificatePart::ocsp, "says nothing of " + files.certificate);
  }
};

CertificateLoader::CertificateLoader() : parts_(std::make_unique<Parts>()) {
  if (parts_->nobody == nullptr || parts_->keys == nullptr || parts_->public_keys == nullptr) throw std::bad_alloc();
}
CertificateLoader::~CertificateLoader() = default;

Result<std::shared_ptr<const Certificate>> CertificateLoader::parse(const CertificateFiles& files,
                                                                    std::string_view certificate, std::string_view key,
                                                                    std::string_view ocsp, std::int64_t now,
                                                                    CertificateFlaw& why) {
  const Forgotten none;
  Work work{files, now, why, *parts_};
  if (const Result<void> read = work.read_chain(certificate); !read) return fail(read.error());
  if (const Result<void> read = work.read_key(key); !read) return fail(read.error());
  if (const Result<void> fits = work.match(); !fits) return fail(fits.error());
  if (const Result<void> ordered = work.look_at_order(); !ordered) return fail(ordered.error());
  if (!files.ocsp.empty())
    if (const Result<void> read = work.read_staple(ocsp); !read) return fail(read.error());
  work.made->names_ = names_of(*work.leaf);
  work.made->fingerprint_ = hex_sha256({work.made->der_});
  work.made->digest_ = hex_sha256({certificate, key, ocsp});
  return work.made;
}

Result<std::shared_ptr<const Certificate>> CertificateLoader::load(const CertificateFiles& files, std::int64_t now,
                                                                   CertificateFlaw& why,
                                                                   const std::shared_ptr<const Certificate>& before) {
  static constexpr std::size_t kMostOcsp = std::size_t{64} * 1024;
  std::string texts[3];
  const Wiped wiped(texts[1]);
  const Wiped both(texts[0]);  // the key may stand in the same file
  const auto read = [&](CertificatePart part, const std::string& file, std::size_t most) -> Result<void> {
    Result<std::string> text = read_file(file, most + 1);
    if (!text) {
      why = {part, file + ": " + why_unreadable(text.error())};
      return fail(text.error());
    }
    texts[static_cast<std::size_t>(part)].swap(*text);
    if (texts[static_cast<std::size_t>(part)].size() <= most) return {};
    why = {part, file + ": is longer than " + std::to_string(most / 1024) + " KiB"};
    return fail(std::errc::file_too_large);
  };
  if (const auto one = read(CertificatePart::certificate, files.certificate, kMostPem); !one) return fail(one.error());
  if (const auto one = read(CertificatePart::key, files.key, kMostPem); !one) return fail(one.error());
  if (!files.ocsp.empty())
    if (const auto one = read(CertificatePart::ocsp, files.ocsp, kMostOcsp); !one) return fail(one.error());
  if (before != nullptr && before->digest() == hex_sha256({texts[0], texts[1], texts[2]})) return before;
  return parse(files, texts[0], texts[1], texts[2], now, why);
}

std::string warn_of_key_file(const std::string& file, const std::string& what) {
  struct stat status {};
  if (file.empty() || ::stat(file.c_str(), &status) != 0) return {};
  if ((status.st_mode & S_IROTH) != 0) return what + " in " + file + " can be read by everybody: chmod o-r";
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return what + " in " + file + " can be replaced by others than its owner: chmod go-w";
  return {};
}

std::vector<std::string> warn_of(const Certificate& certificate, const CertificateFiles& files, std::int64_t now) {
  static constexpr std::int64_t kDay = 86'400;
  static constexpr std::int64_t kSoon = 21 * kDay;
  std::vector<std::string> all;
  const std::int64_t left = certificate.not_after() - now;
  // Of one that lives for six days three weeks are no sign.
  const std::int64_t soon = std::min(kSoon, (certificate.not_after() - certificate.not_before()) / 3);
  if (left <= 0)
    all.push_back(files.certificate + ": has ended at " + describe_time(certificate.not_after()) + ": renew it");
  else if (left < soon)
    all.push_back(files.certificate + ": ends at " + describe_time(certificate.not_after()) + ", in " +
                  std::to_string(left / kDay) + " days: renew it");
  if (certificate.not_before() > now)
    all.push_back(files.certificate + ": is not good before " + describe_time(certificate.not_before()) +
                  ": is the clock right?");
  if (certificate.names().empty())
    all.push_back(files.certificate + ": has no DNS name in its subjectAltName: no client finds it by a name");
  if (certificate.has_staple() && certificate.staple(now).empty())
    all.push_back(files.ocsp + ": the OCSP response is over and is not sent: fetch a new one");
  if (std::string open = warn_of_key_file(files.key); !open.empty()) all.push_back(std::move(open));
  return all;
}

}  // namespace fiberd::tls
