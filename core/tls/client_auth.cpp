#include "core/tls/client_auth.hpp"

#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

#include "core/base/read_file.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;
using handles::reader_of;
using handles::take_reason;

namespace {

constexpr std::size_t kMostCa = std::size_t{4} * 1024 * 1024;
constexpr std::size_t kMostCrl = std::size_t{64} * 1024 * 1024;

/// Whether reading ended because there was no more.
bool ended_well() noexcept {
  const unsigned long last = ERR_peek_last_error();
  const bool end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end;
}

}  // namespace

ClientAuth::~ClientAuth() {
  X509_STORE_free(store_);
  sk_X509_NAME_pop_free(names_, X509_NAME_free);
}

Result<std::shared_ptr<const ClientAuth>> ClientAuth::load(const ClientAuthFiles& files, ClientAuthMode mode,
                                                           std::string& why, bool& of_crl) {
  const Forgotten none;
  ERR_clear_error();
  std::shared_ptr<ClientAuth> auth(new ClientAuth(mode));
  auth->store_ = X509_STORE_new();
  auth->names_ = sk_X509_NAME_new_null();
  if (auth->store_ == nullptr || auth->names_ == nullptr) throw std::bad_alloc();
  of_crl = false;
  const auto refuse = [&](const std::string& text, std::error_code error = {}) {
    why = (of_crl ? files.crl : files.ca) + ": " + text;
    return fail(error ? error : std::make_error_code(std::errc::invalid_argument));
  };
  const Result<std::string> ca = read_file(files.ca, kMostCa + 1);
  if (!ca) return refuse(why_unreadable(ca.error()), ca.error());
  if (ca->size() > kMostCa) return refuse("is longer than 4 MiB");
  const Own<BIO> pem = reader_of(*ca);
  if (pem == nullptr) throw std::bad_alloc();
  std::size_t count = 0;
  for (; Own<X509> one{PEM_read_bio_X509(pem.get(), nullptr, handles::no_passphrase, nullptr)}; ++count) {
    if (X509_STORE_add_cert(auth->store_, one.get()) != 1) return refuse("cannot be used: " + take_reason());
    Own<X509_NAME> name(X509_NAME_dup(X509_get_subject_name(one.get())));
    if (name == nullptr || sk_X509_NAME_push(auth->names_, name.get()) <= 0) throw std::bad_alloc();
    (void)name.release();
  }
  if (!ended_well()) return refuse("is damaged: " + take_reason());
  if (count == 0)
    return refuse("has no certificate in PEM: those of the issuers of clients' certificates belong there");
  std::string crl_text;
  if (!files.crl.empty()) {
    of_crl = true;
    Result<std::string> crl = read_file(files.crl, kMostCrl + 1);
    if (!crl) return refuse(why_unreadable(crl.error()), crl.error());
    if (crl->size() > kMostCrl) return refuse("is longer than 64 MiB");
    crl_text = std::move(*crl);
    const Own<BIO> lists = reader_of(crl_text);
    if (lists == nullptr) throw std::bad_alloc();
    std::size_t found = 0;
    for (; Own<X509_CRL> one{PEM_read_bio_X509_CRL(lists.get(), nullptr, handles::no_passphrase, nullptr)}; ++found) {
      std::tm parts{};
      const ASN1_TIME* const until = X509_CRL_get0_nextUpdate(one.get());
      if (until != nullptr && ASN1_TIME_to_tm(until, &parts) == 1)
        auth->crl_until_ = std::min(auth->crl_until_, static_cast<std::int64_t>(::timegm(&parts)));
      if (X509_STORE_add_crl(auth->store_, one.get()) != 1) return refuse("cannot be used: " + take_reason());
    }
    if (!ended_well()) return refuse("is damaged: " + take_reason());
    if (found == 0) return refuse("has no list of revoked certificates in PEM (\"-----BEGIN X509 CRL-----\")");
    if (X509_STORE_set_flags(auth->store_, X509_V_FLAG_CRL_CHECK) != 1) throw std::bad_alloc();
  }
  Result<std::string> digest = sha256(std::string(mode == ClientAuthMode::require ? "require" : "request") + '\0' +
                                      std::to_string(ca->size()) + '\0' + *ca + crl_text);
  if (!digest) throw std::bad_alloc();
  auth->digest_ = std::move(*digest);
  return auth;
}

}  // namespace fiberd::tls
