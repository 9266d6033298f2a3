#include "tests/support/certificates.hpp"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <stdexcept>

namespace fiberd::test {

namespace {

template <class T, void (*End)(T*)>
struct Ends {
  void operator()(T* p) const noexcept { End(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Ends<EVP_PKEY, EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Ends<X509, X509_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, Ends<X509_CRL, X509_CRL_free>>;
struct BioEnds {
  void operator()(BIO* p) const noexcept { BIO_free_all(p); }
};
using BioPtr = std::unique_ptr<BIO, BioEnds>;

template <class T>
T must(T result, const char* what) {
  if (result) return result;
  throw std::runtime_error(std::string(what) + ": " + ERR_reason_error_string(ERR_get_error()));
}

Key make_key(TestKey kind, int bits) {
  Key key(kind == TestKey::ecdsa ? EVP_EC_gen("P-256")
          : kind == TestKey::rsa ? EVP_RSA_gen(static_cast<unsigned>(bits))
                                 : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  must(key != nullptr, "key");
  return key;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(bio.get(), certificate), "certificate as PEM");
  return text_of(bio.get());
}

X509Ptr first_of(const std::string& pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  must(one != nullptr, "certificate");
  return one;
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = must(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()), "extension");
  must(X509_add_ext(certificate, extension, -1), "extension");
  X509_EXTENSION_free(extension);
}

X509Ptr make_certificate(const std::string& name, EVP_PKEY* key, std::int64_t from, std::int64_t until) {
  X509Ptr made(X509_new());
  must(X509_set_version(made.get(), X509_VERSION_3), "version");
  unsigned char serial[16] = {};
  must(RAND_bytes(serial, sizeof serial) == 1, "serial");
  serial[0] &= 0x7fU;
  BIGNUM* const number = BN_bin2bn(serial, sizeof serial, nullptr);
  must(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made.get())), "serial");
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), static_cast<long>(from));
  X509_gmtime_adj(X509_getm_notAfter(made.get()), static_cast<long>(until));
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  must(X509_set_pubkey(made.get(), key), "public key");
  return made;
}

void sign(X509* certificate, EVP_PKEY* key) {
  const EVP_MD* const digest = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  must(X509_sign(certificate, key, digest), "signature");
}

}  // namespace

struct TestAuthority::State {
  Key key;
  X509Ptr certificate;
  std::string chain;  // behind what it issues
};

TestAuthority::TestAuthority(const std::string& name) : state_(std::make_unique<State>()) {
  state_->key = make_key(TestKey::ecdsa, 0);
  state_->certificate = make_certificate(name, state_->key.get(), -86'400, 3650LL * 86'400);
  X509* const own = state_->certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(own));
  extend(own, own, NID_basic_constraints, "critical,CA:TRUE");
  extend(own, own, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature");
  extend(own, own, NID_subject_key_identifier, "hash");
  sign(own, state_->key.get());
}
TestAuthority::TestAuthority(std::unique_ptr<State> state) : state_(std::move(state)) {}
TestAuthority::~TestAuthority() = default;

std::unique_ptr<TestAuthority> TestAuthority::below(const std::string& name, std::int64_t until) const {
  std::unique_ptr<TestAuthority> made(new TestAuthority(std::make_unique<State>()));
  State& s = *made->state_;
  s.key = make_key(TestKey::ecdsa, 0);
  s.certificate = make_certificate(name, s.key.get(), -86'400 * 30, until);
  X509_set_issuer_name(s.certificate.get(), X509_get_subject_name(state_->certificate.get()));
  extend(s.certificate.get(), state_->certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(s.certificate.get(), state_->certificate.get(), NID_key_usage,
         "critical,keyCertSign,cRLSign,digitalSignature");
  extend(s.certificate.get(), state_->certificate.get(), NID_subject_key_identifier, "hash");
  sign(s.certificate.get(), state_->key.get());
  s.chain = pem_of(s.certificate.get()) + state_->chain;
  return made;
}

MadePair TestAuthority::issue(const CertificateWishes& wishes) const {
  const Key key = make_key(wishes.key, wishes.rsa_bits);
  const X509Ptr made = make_certificate(!wishes.subject.empty() ? wishes.subject
                                        : wishes.names.empty()  ? "nobody"
                                                                : wishes.names.front(),
                                        key.get(), wishes.from, wishes.until);
  X509* const issuer = state_->certificate.get();
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuer));
  extend(made.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  extend(made.get(), issuer, NID_key_usage, "critical,digitalSignature");
  extend(made.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  std::string names;
  for (const std::string& name : wishes.names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  if (!wishes.also.empty()) names += (names.empty() ? "" : ",") + wishes.also;
  if (!names.empty()) extend(made.get(), issuer, NID_subject_alt_name, names);
  sign(made.get(), state_->key.get());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), "key as PEM");
  return {pem_of(made.get()) + state_->chain, text_of(bio.get())};
}

std::string TestAuthority::certificate() const { return pem_of(state_->certificate.get()); }

std::string TestAuthority::revoke(const std::vector<std::string>& certificates, std::int64_t until) const {
  const CrlPtr crl(X509_CRL_new());
  must(X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2), "version");
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(state_->certificate.get()));
  ASN1_TIME* const now = X509_gmtime_adj(nullptr, -60);
  ASN1_TIME* const end = X509_gmtime_adj(nullptr, static_cast<long>(until));
  X509_CRL_set1_lastUpdate(crl.get(), now);
  X509_CRL_set1_nextUpdate(crl.get(), end);
  for (const std::string& pem : certificates) {
    const X509Ptr one = first_of(pem);
    X509_REVOKED* const revoked = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(one.get()));
    X509_REVOKED_set_revocationDate(revoked, now);
    must(X509_CRL_add0_revoked(crl.get(), revoked), "revoked");
  }
  ASN1_TIME_free(now);
  ASN1_TIME_free(end);
  X509_CRL_sort(crl.get());
  must(X509_CRL_sign(crl.get(), state_->key.get(), EVP_sha256()), "signature");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_CRL(bio.get(), crl.get()), "CRL as PEM");
  return text_of(bio.get());
}

std::string TestAuthority::vouch(const std::string& certificate, std::int64_t until) const {
  const X509Ptr one = first_of(certificate);
  OCSP_BASICRESP* const basic = OCSP_BASICRESP_new();
  OCSP_CERTID* const id = OCSP_cert_to_id(EVP_sha1(), one.get(), state_->certificate.get());
  ASN1_TIME* const now = X509_gmtime_adj(nullptr, -60);
  ASN1_TIME* const end = X509_gmtime_adj(nullptr, static_cast<long>(until));
  must(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, now, end), "status");
  must(OCSP_basic_sign(basic, state_->certificate.get(), state_->key.get(), EVP_sha256(), nullptr, 0), "signature");
  OCSP_RESPONSE* const response = must(OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic), "response");
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_RESPONSE(response, &der);
  must(size > 0, "response as DER");
  std::string text(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  ASN1_TIME_free(now);
  ASN1_TIME_free(end);
  return text;
}

std::string encrypted_key(const std::string& key) {
  const BioPtr in(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
  const Key read(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  const BioPtr out(BIO_new(BIO_s_mem()));
  char password[] = "secret";
  must(PEM_write_bio_PKCS8PrivateKey(out.get(), read.get(), EVP_aes_256_cbc(), password, 6, nullptr, nullptr), "key");
  return text_of(out.get());
}

}  // namespace fiberd::test
