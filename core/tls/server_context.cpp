#include "core/tls/server_context.hpp"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/kernel_tls.hpp"
#include "core/tls/key_handles.hpp"
#include "core/tls/pem.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::take_reason;

/// What the callbacks of a context look at.
struct ServerContext::Shared {
  Shared(const ServerOptions& options, std::string protocols)
      : table(options.certificates),
        tickets(options.tickets),
        strict_sni(options.strict_sni),
        alpn(std::move(protocols)),
        challenges(options.challenges),
        names(options.names),
        chooses(table.certificates().size() > 1 || strict_sni || challenges != nullptr || names != nullptr),
        crl_until(options.client_auth != nullptr ? options.client_auth->crl_until() : INT64_MAX) {}
  const CertificateTable table;
  const std::shared_ptr<TicketKeys> tickets;
  const bool strict_sni;
  const std::string alpn;  // as it goes over the wire (RFC 7301)
  const std::shared_ptr<const ChallengeSource> challenges;
  const std::shared_ptr<NameSource> names;
  const bool chooses;  // a certificate by the client's hello
  const std::int64_t crl_until;
};

namespace {

using Kept = std::shared_ptr<const void>;

void free_kept(void* /*context*/, void* kept, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*n*/, void* /*argument*/) {
  delete static_cast<Kept*>(kept);  // NOLINT(cppcoreguidelines-owning-memory)
}
int kept_index() noexcept {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_kept);
  return index;
}

std::int64_t now_in_seconds() noexcept {
  return std::chrono::duration_cast<std::chrono::seconds>(wall_now().time_since_epoch()).count();
}

/// What marks a connection whose early data may be a replay.
int replay_index() noexcept {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// What marks a connection of who looks at a challenge.
int acme_index() noexcept {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}
bool at_challenge(const SSL* ssl) noexcept { return SSL_get_ex_data(ssl, acme_index()) != nullptr; }

/// What marks a connection whose handshake may stop before it signs.
int aside_index() noexcept {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// Whether the client is likely to be signed for with RSA, of these: what it offers first decides. With TLS 1.2 the
/// cipher does, too; one step too many aside costs little.
bool signs_with_rsa(SSL* ssl, const CertificateChoice& choice) noexcept {
  const auto has = [&](KeyKind kind) {
    const auto all = choice.all();
    return std::any_of(all.begin(), all.end(), [kind](const Certificate* one) { return one->key_kind() == kind; });
  };
  if (!has(KeyKind::rsa)) return false;
  if (choice.all().size() == 1 || SSL_version(ssl) != TLS1_3_VERSION) return true;
  const int shared = SSL_get_shared_sigalgs(ssl, 0, nullptr, nullptr, nullptr, nullptr, nullptr);
  for (int i = 0; i < shared; ++i) {
    int key = NID_undef;
    (void)SSL_get_shared_sigalgs(ssl, i, &key, nullptr, nullptr, nullptr, nullptr);
    if (key == EVP_PKEY_EC && has(KeyKind::ecdsa)) return false;
    if (key == EVP_PKEY_ED25519 && has(KeyKind::ed25519)) return false;
    if (key == EVP_PKEY_RSA || key == EVP_PKEY_RSA_PSS) return true;
  }
  return true;
}

bool put(SSL* ssl, const CertificateChoice& choice) noexcept {
  for (const Certificate* const one : choice.all()) {
    X509* const leaf = one->leaf();
    if (leaf == nullptr || SSL_use_cert_and_key(ssl, leaf, one->key(), one->chain(), 1) != 1) return false;
  }
  return true;
}

/// A name that the client said; empty: none. OpenSSL has refused those with a NUL or of more than 255 bytes.
std::string_view name_said(const SSL* ssl) noexcept {
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? std::string_view(name) : std::string_view();
}

}  // namespace

// The callbacks' argument is the context's Shared, which the SSL_CTX keeps.
struct ServerCallbacks {
  /// Before all else: whether the client offers kAcmeProtocol alone (RFC 8737 section 3). Authorities have no
  /// certificate of their own to show, so none is asked for there; and what was begun without one is resumed by nobody.
  static int on_hello(SSL* ssl, int* alert, void* argument) noexcept {
    static constexpr std::string_view kOffer(
        "\x00\x0b\x0a"
        "acme-tls/1",
        13);
    const unsigned char* offer = nullptr;
    std::size_t size = 0;
    const bool looks =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offer, &size) == 1 &&
        std::string_view(reinterpret_cast<const char*>(offer), size) == kOffer;
    if (!looks && !at_challenge(ssl)) return SSL_CLIENT_HELLO_SUCCESS;
    // The second hello of one handshake offers what the first did: else who looked first would be served then, with
    // nothing asked of it.
    static constexpr std::string_view kNobody("acme");
    if (looks && SSL_set_ex_data(ssl, acme_index(), argument) == 1 && SSL_set_num_tickets(ssl, 0) == 1 &&
        SSL_set_session_id_context(ssl, reinterpret_cast<const unsigned char*>(kNobody.data()),
                                   static_cast<unsigned>(kNobody.size())) == 1) {
      (void)SSL_set_options(ssl, SSL_OP_NO_TICKET);
      SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
      return SSL_CLIENT_HELLO_SUCCESS;
    }
    *alert = looks ? SSL_AD_INTERNAL_ERROR : SSL_AD_ILLEGAL_PARAMETER;
    return SSL_CLIENT_HELLO_ERROR;
  }

  template <class Shared>
  static int on_name(SSL* ssl, int* alert, void* argument) noexcept {
    const auto& shared = *static_cast<const Shared*>(argument);
    if (shared.table.find(name_said(ssl)) != nullptr || at_challenge(ssl)) return SSL_TLSEXT_ERR_OK;
    if (!shared.strict_sni) return SSL_TLSEXT_ERR_NOACK;
    if (shared.names != nullptr && shared.names->find(name_said(ssl)) != nullptr) return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  template <class Shared>
  static int on_certificate(SSL* ssl, void* argument) noexcept {
    const auto& shared = *static_cast<const Shared*>(argument);
    if (at_challenge(ssl)) return put_challenge(ssl, shared);
    const CertificateChoice* const choice = shared.table.find(name_said(ssl));
    if (choice == nullptr && shared.names != nullptr)
      if (const std::shared_ptr<const Certificate> one = shared.names->find(name_said(ssl)))
        return put_one(ssl, *one) ? 1 : 0;
    if (SSL_get_ex_data(ssl, aside_index()) != nullptr) {
      (void)SSL_set_ex_data(ssl, aside_index(), nullptr);
      if (signs_with_rsa(ssl, choice != nullptr ? *choice : shared.table.by_default())) return -1;
    }
    if (choice == nullptr) return 1;  // the first, which is there already
    const Certificate* const first = choice->all().front();
    const auto there = shared.table.by_default().all();
    if (first == there.front() && choice->all().size() == there.size()) return 1;
    SSL_certs_clear(ssl);
    return put(ssl, *choice) ? 1 : 0;
  }

  template <class Shared>
  static int on_protocols(SSL* ssl, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                          unsigned offered_size, void* argument) noexcept {
    const auto& shared = *static_cast<const Shared*>(argument);
    if (at_challenge(ssl)) {
      *out = reinterpret_cast<const unsigned char*>(kAcmeProtocol.data());
      *size = static_cast<unsigned char>(kAcmeProtocol.size());
      return SSL_TLSEXT_ERR_OK;
    }
    if (shared.alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): OpenSSL's parameter is what is only read
    if (SSL_select_next_proto(
            const_cast<unsigned char**>(out), size, reinterpret_cast<const unsigned char*>(shared.alpn.data()),
            static_cast<unsigned>(shared.alpn.size()), offered, offered_size) == OPENSSL_NPN_NEGOTIATED)
      return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301 section 3.2: no_application_protocol
  }

  /// Whether early data is taken; all else that speaks against it OpenSSL has looked at: the ticket's age and name, the
  /// protocol, a second hello.
  template <class Shared>
  static int on_early_data(SSL* ssl, void* argument) noexcept {
    const auto& shared = *static_cast<const Shared*>(argument);
    std::array<unsigned char, SSL3_RANDOM_SIZE> random{};
    const std::size_t size = SSL_get_client_random(ssl, random.data(), random.size());
    if (size == random.size() &&
        shared.tickets->replays().take(random, now_in_seconds()) == ReplayRecord::Verdict::fresh)
      return 1;
    (void)SSL_set_ex_data(ssl, replay_index(), argument);
    return 0;
  }

  /// The OCSP response of the certificate that was chosen.
  template <class Shared>
  static int on_status(SSL* ssl, void* argument) noexcept {
    const auto& shared = *static_cast<const Shared*>(argument);
    const X509* const chosen = SSL_get_certificate(ssl);
    const CertificateChoice* choice = shared.table.find(name_said(ssl));
    if (choice == nullptr) choice = &shared.table.by_default();
    for (const Certificate* const one : choice->all()) {
      if (one->leaf() != chosen) continue;
      const std::span<const unsigned char> staple = one->staple(now_in_seconds());
      if (staple.empty()) break;
      void* const copy = OPENSSL_memdup(staple.data(), staple.size());
      if (copy == nullptr) break;
      (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(staple.size()));
      return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
  }

  /// RFC 5077 section 4: AES-256-CBC, then HMAC-SHA256.
  static int seal(TicketKeys& keys, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac) noexcept {
    TicketKey key = keys.newest();
    int done = 0;
    if (RAND_bytes(iv, 16) == 1 && EVP_EncryptInit_ex(cipher, cbc(), nullptr, key.aes.data(), iv) == 1 &&
        set_mac(mac, key)) {
      std::copy(key.name.begin(), key.name.end(), name);
      done = 1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return done != 0 ? 1 : -1;
  }
  /// With TLS 1.3 a ticket is good for one connection (RFC 8446 appendix C.4), so who comes with one is given another:
  /// else each second handshake would be a whole one.
  static int open(const SSL* ssl, const TicketKeys& keys, const unsigned char* name, unsigned char* iv,
                  EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) noexcept {
    TicketKey key;
    const TicketKeys::Found found = keys.find(name, key);
    if (found == TicketKeys::Found::no) return 0;  // a full handshake, then
    const bool set = set_mac(mac, key) && EVP_DecryptInit_ex(cipher, cbc(), nullptr, key.aes.data(), iv) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    if (!set) return -1;
    return found == TicketKeys::Found::newest && SSL_version(ssl) != TLS1_3_VERSION ? 1
                                                                                    : 2;  // 2: it is given a new one
  }
  template <class Shared>
  static int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                       int sealing) noexcept {
    const auto* const kept = static_cast<const Kept*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), kept_index()));
    TicketKeys& keys = *static_cast<const Shared*>(kept->get())->tickets;
    return sealing != 0 ? seal(keys, name, iv, cipher, mac) : open(ssl, keys, name, iv, cipher, mac);
  }

  // Who resumes by an older key is given a new ticket, which with TLS 1.3 is good for two hours again: without an end
  // of its own a certificate that was shown once would be good for ever, whatever has ended or been revoked meanwhile.
  /// Notes in the ticket when the client's certificate was proved: the first one of a row knows.
  static int on_proved(SSL* ssl, void* /*argument*/) noexcept {
    SSL_SESSION* const session = SSL_get_session(ssl);
    const std::int64_t now = now_in_seconds();
    return SSL_session_reused(ssl) != 0 || SSL_SESSION_set1_ticket_appdata(session, &now, sizeof now) == 1 ? 1 : 0;
  }
  /// A whole handshake, which proves it anew, once that is over.
  template <class Shared>
  static SSL_TICKET_RETURN on_opened(SSL* /*ssl*/, SSL_SESSION* session, const unsigned char* /*name*/,
                                     std::size_t /*size*/, SSL_TICKET_STATUS status, void* argument) noexcept {
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
    const std::int64_t now = now_in_seconds();
    void* noted = nullptr;
    std::size_t size = 0;
    std::int64_t proved = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &noted, &size) == 1 && size == sizeof proved)
      std::memcpy(&proved, noted, size);
    const X509* const peer = SSL_SESSION_get0_peer(session);
    const bool good = proved <= now &&
                      now - proved<kTicketLife&& static_cast<const Shared*>(argument)->crl_until> now &&
                      (peer == nullptr || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0);
    if (!good) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
  }

 private:
  /// 0 ends the handshake: there is none of this name.
  template <class Shared>
  static int put_challenge(SSL* ssl, const Shared& shared) noexcept {
    const std::shared_ptr<const Certificate> one = shared.challenges->challenge(name_said(ssl));
    return one != nullptr && put_one(ssl, *one) ? 1 : 0;
  }
  /// OpenSSL has its own count of what it is given.
  static bool put_one(SSL* ssl, const Certificate& one) noexcept {
    X509* const leaf = one.leaf();
    SSL_certs_clear(ssl);
    return leaf != nullptr && SSL_use_cert_and_key(ssl, leaf, one.key(), one.chain(), 1) == 1;
  }
  /// Found once: to look for it takes longer than to use it.
  static const EVP_CIPHER* cbc() noexcept {
    static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
    return cipher;
  }
  static bool set_mac(EVP_MAC_CTX* mac, TicketKey& key) noexcept {
    static constexpr char kSha256[] = "SHA256";
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): OpenSSL's parameters are only read
    const std::array<OSSL_PARAM, 3> parameters{
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac.data(), key.hmac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(kSha256), 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
  }
};

ServerContext::~ServerContext() { SSL_CTX_free(context_); }

bool ServerContext::looks_at_challenge(const ssl_st* session) noexcept { return at_challenge(session); }

bool ServerContext::chooses(const ssl_st* session) noexcept {
  const auto* const kept = static_cast<const Kept*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), kept_index()));
  return kept != nullptr && static_cast<const Shared*>(kept->get())->chooses;
}

void ServerContext::may_step_aside(ssl_st* session) noexcept {
  if (aside_index() >= 0 && chooses(session)) (void)SSL_set_ex_data(session, aside_index(), session);
}

bool ServerContext::replayed(const ssl_st* session) noexcept {
  return SSL_get_ex_data(session, replay_index()) != nullptr;
}

const CertificateTable& ServerContext::table() const noexcept { return shared_->table; }

Result<std::shared_ptr<const ServerContext>> ServerContext::make(ServerOptions options, std::string& why) {
  const Forgotten none;
  ERR_clear_error();
  if (options.certificates.empty()) {
    why = "there is no certificate";
    return fail(std::errc::invalid_argument);
  }
  std::shared_ptr<ServerContext> context(new ServerContext(std::move(options)));
  if (const Result<void> set = context->set_up(why); !set) return fail(set.error());
  return context;
}

Result<std::shared_ptr<const ServerContext>> ServerContext::make(const ServerContextOptions& options) {
  CertificateLoader loader;
  CertificateFlaw flaw;
  auto certificate = loader.parse({"certificate", "key"}, options.certificate, options.key, {}, now_in_seconds(), flaw);
  if (!certificate) return fail(certificate.error());
  std::string why;
  return make(ServerOptions{.certificates = {std::move(*certificate)}, .alpn = options.protocols}, why);
}

Result<std::shared_ptr<const ServerContext>> ServerContext::with_certificates(CertificateTable::List certificates,
                                                                              std::string& why) const {
  ServerOptions options = options_;
  options.certificates = std::move(certificates);
  return make(std::move(options), why);
}

Result<void> ServerContext::set_up(std::string& why) {
  static constexpr long kMostShownChain = 16 * 1024;  // that a client shows; OpenSSL makes room for what is announced
  // Without ECDHE a recording can be read once the key is known; CBC and DHE have been attacked too often.
  static constexpr const char* kCiphers =
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
      "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
  context_ = SSL_CTX_new(TLS_server_method());
  if (context_ == nullptr) return fail(std::errc::not_enough_memory);
  Result<std::string> protocols = alpn_list(options_.alpn);
  if (!protocols) {
    why = "an application protocol has 1 … 255 bytes";
    return fail(protocols.error());
  }
  shared_ = std::make_shared<const Shared>(options_, std::move(*protocols));
  auto kept = std::make_unique<Kept>(shared_);
  if (kept_index() < 0 || SSL_CTX_set_ex_data(context_, kept_index(), kept.get()) != 1)
    return fail(std::errc::not_enough_memory);
  (void)kept.release();
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): callbacks only read it
  void* const argument = const_cast<Shared*>(shared_.get());
  SSL_CTX* const c = context_;
  SSL_CTX_set_security_level(c, 2);  // whatever openssl.cnf says: keys of 112 bits at least, no SHA-1
  (void)SSL_CTX_set_min_proto_version(c, options_.profile == Profile::modern ? TLS1_3_VERSION : TLS1_2_VERSION);
  (void)SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION);
  (void)SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  (void)SSL_CTX_set_options(
      c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_ANTI_REPLAY);  // replay_record.hpp does that
  if (options_.kernel && options_.early_data == 0 && kernel_has_tls()) (void)SSL_CTX_set_options(c, SSL_OP_ENABLE_KTLS);
  (void)SSL_CTX_clear_options(
      c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
  const auto refuse = [&](const std::string& what) {
    why = what + ": " + take_reason();
    return fail(std::errc::invalid_argument);
  };
  if (SSL_CTX_set_cipher_list(c, kCiphers) != 1) return refuse("OpenSSL has none of the ciphers of TLS 1.2");
  if (SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384") != 1) return refuse("OpenSSL has none of the groups");
  for (const Certificate* const one : shared_->table.by_default().all()) {
    X509* const leaf = one->leaf();
    if (leaf == nullptr) return fail(std::errc::not_enough_memory);
    if (SSL_CTX_use_cert_and_key(c, leaf, one->key(), one->chain(), 1) != 1)
      return refuse("OpenSSL does not take the certificate");
  }
  // What a callback could only refuse a client for is found now.
  if (shared_->challenges != nullptr) {
    if (acme_index() < 0) return fail(std::errc::not_enough_memory);
    SSL_CTX_set_client_hello_cb(c, &ServerCallbacks::on_hello, argument);
  }
  if (shared_->chooses) SSL_CTX_set_cert_cb(c, &ServerCallbacks::on_certificate<Shared>, argument);
  (void)SSL_CTX_set_tlsext_servername_callback(c, &ServerCallbacks::on_name<Shared>);
  (void)SSL_CTX_set_tlsext_servername_arg(c, argument);
  if (!shared_->alpn.empty() || shared_->challenges != nullptr)
    SSL_CTX_set_alpn_select_cb(c, &ServerCallbacks::on_protocols<Shared>, argument);
  for (const auto& one : shared_->table.certificates()) {
    if (!one->has_staple()) continue;
    (void)SSL_CTX_set_tlsext_status_cb(c, &ServerCallbacks::on_status<Shared>);
    (void)SSL_CTX_set_tlsext_status_arg(c, argument);
    break;
  }
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  (void)SSL_CTX_set_timeout(c, kTicketLife);
  (void)SSL_CTX_set_max_early_data(c, options_.tickets != nullptr ? options_.early_data : 0);
  if (options_.early_data != 0 && options_.tickets != nullptr) {
    if (replay_index() < 0) return fail(std::errc::not_enough_memory);
    SSL_CTX_set_allow_early_data_cb(c, &ServerCallbacks::on_early_data<Shared>, argument);
  }
  if (options_.tickets != nullptr) {
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(c, &ServerCallbacks::on_ticket<Shared>);
  } else {
    (void)SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_num_tickets(c, 0);
  }
  std::string whose("fiberd");
  if (const ClientAuth* const auth = options_.client_auth.get(); auth != nullptr) {
    whose = auth->digest();
    (void)SSL_CTX_set1_verify_cert_store(c, auth->store());
    STACK_OF(X509_NAME)* const names = SSL_dup_CA_list(auth->names());
    if (names == nullptr) return fail(std::errc::not_enough_memory);
    SSL_CTX_set_client_CA_list(c, names);
    SSL_CTX_set_verify(
        c, SSL_VERIFY_PEER | (auth->mode() == ClientAuthMode::require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    SSL_CTX_set_verify_depth(c, 8);
    SSL_CTX_set_max_cert_list(c, kMostShownChain);
    if (SSL_CTX_set_session_ticket_cb(c, &ServerCallbacks::on_proved, &ServerCallbacks::on_opened<Shared>, argument) !=
        1)
      return fail(std::errc::not_enough_memory);
  }
  // A session is resumed where clients are asked for the same alone.
  if (SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>(whose.data()),
                                     static_cast<unsigned>(whose.size())) != 1)
    return refuse("the session's context");
  return {};
}

SslHandle ServerContext::new_session() const noexcept {
  SslHandle ssl(SSL_new(context_));
  if (ssl == nullptr) ERR_clear_error();
  if (ssl != nullptr) SSL_set_accept_state(ssl.get());
  return ssl;
}

}  // namespace fiberd::tls
