// Peers that keep TLS busy with itself.
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "core/base/bug.hpp"
#include "core/net/system_calls.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;
using namespace std::chrono_literals;

namespace {

template <class Body>
void talk(Body body) {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    start(processors)->run([&] { body(expect); });
    INFO(processors << " Processors\n" << expect.broken());
    CHECK(expect.broken().empty());
  }
}

/// What a client of TLS 1.3 sends, record by record: OpenSSL's own does not cut a message where we want it.
class Records {
 public:
  /// Before the handshake.
  explicit Records(tls::Stream& client) : client_(client) {
    SSL* const ssl = client.session();
    (void)SSL_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256");
    secret_hex().clear();
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), [](const SSL*, const char* line) {
      static constexpr std::string_view kLabel("CLIENT_TRAFFIC_SECRET_0 ");
      const std::string_view text(line);
      if (text.substr(0, kLabel.size()) == kLabel) secret_hex() = text.substr(text.rfind(' ') + 1);
    });
  }
  /// Instead of all that the client's stream would send behind its handshake.
  bool send(std::string_view content, char type) {
    std::string secret;
    for (std::size_t i = 0; i + 1 < secret_hex().size(); i += 2)
      secret += static_cast<char>(std::stoul(secret_hex().substr(i, 2), nullptr, 16));
    const std::string key = expand(secret, "key", 16);
    std::string nonce = expand(secret, "iv", 12);
    nonce[11] = static_cast<char>(nonce[11] ^ static_cast<char>(sequence_++));
    const std::string inner = std::string(content) + type;
    std::string record("\x17\x03\x03\x00", 4);
    record += static_cast<char>(inner.size() + 16);
    std::string sealed(inner.size() + 16, '\0');
    const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int n = 0;
    (void)EVP_EncryptInit_ex(cipher.get(), EVP_aes_128_gcm(), nullptr, octets(key), octets(nonce));
    (void)EVP_EncryptUpdate(cipher.get(), nullptr, &n, octets(record), static_cast<int>(record.size()));
    (void)EVP_EncryptUpdate(cipher.get(), octets(sealed), &n, octets(inner), static_cast<int>(inner.size()));
    (void)EVP_EncryptFinal_ex(cipher.get(), octets(sealed) + n, &n);
    (void)EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, 16, octets(sealed) + inner.size());
    record += sealed;
    return !write_whole(client_.socket(), record);
  }

 private:
  static std::string& secret_hex() {
    static std::string secret;
    return secret;
  }
  static unsigned char* octets(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
  static const unsigned char* octets(const std::string& text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  }
  /// RFC 8446 section 7.1.
  static std::string expand(std::string secret, const std::string& label, std::size_t size) {
    std::string info{'\0', static_cast<char>(size), static_cast<char>(6 + label.size())};
    info += "tls13 " + label + '\0';
    std::string out(size, '\0');
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char sha256[] = "SHA256";
    const std::array<OSSL_PARAM, 5> parameters{
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret.data(), secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()), OSSL_PARAM_construct_end()};
    EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
    EVP_KDF_CTX* const context = EVP_KDF_CTX_new(kdf);
    (void)EVP_KDF_derive(context, octets(out), size, parameters.data());
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return out;
  }
  tls::Stream& client_;
  unsigned sequence_ = 0;
};

}  // namespace

TEST_CASE("who talks and says nothing is not listened to for ever", "[tls][stream]") {
  talk([](Expectations& expect) {
    TlsPair p;
    std::atomic<bool> over{false};
    Latch done(1);
    Result<std::size_t> read = std::size_t{0};
    (void)runtime::spawn("reader", [&] {
      std::string buffer(10, ' ');
      read = p.server->read_some(bytes(buffer), Deadline::in(60s));
      over.store(true);
      done.done();
    });
    // A new key, and another one: each is answered by nothing, and costs more to take than to send.
    SSL* const ssl = p.client->session();
    for (int i = 0; i < 5'000 && !over.load(); ++i) {
      if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) break;
      for (int tries = 0; SSL_do_handshake(ssl) != 1 && tries < 10'000 && !over.load(); ++tries)
        (void)runtime::sleep_for(1ms);
    }
    (void)p.client->socket().shutdown_write();
    while (!done.wait()) {
    }
    expect(!read && read.error() == tls::errc::malformed, read ? "bytes" : read.error().message());
  });
  // As many in between of what is read do no harm.
  talk([](Expectations& expect) {
    TlsPair p;
    SSL* const ssl = p.client->session();
    for (int i = 0; i < 100; ++i) {
      for (int k = 0; k < 50; ++k)
        expect(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1, "a new key");
      expect(!write_whole(*p.client, "x"), "write");
      const auto n = read_exactly(*p.server, 1);
      if (!expect(n && *n == "x", "read")) return;
    }
  });
}

TEST_CASE("half a message of TLS's own keeps nobody from writing what has been asked for", "[tls][stream]") {
  static constexpr char kHandshake = 22;
  static constexpr char kData = 23;
  talk([](Expectations& expect) {
    const Contexts contexts;
    Pair pair;
    TlsStream server = server_over(contexts, std::move(pair.a));
    TlsStream client = client_over(contexts, std::move(pair.b));
    Records records(*client);
    TlsPair p(std::move(server), std::move(client));
    if (!expect(!p.of_server && !p.of_client, "handshake")) return;
    const std::uint64_t bugs = bug_count();
    Latch done(2);
    std::atomic<bool> begun{false};
    (void)runtime::spawn("reader", [&] {
      const auto first = read_exactly(*p.server, 1);
      expect(first && *first == "a", "the first byte");
      begun.store(true);
      const auto second = read_exactly(*p.server, 1);
      expect(!second && second.error() == std::errc::operation_canceled, second ? *second : second.error().message());
      done.done();
    });
    // A KeyUpdate, whose last byte has not come.
    expect(records.send("a", kData) && records.send(std::string_view("\x18\0\0\x01", 4), kHandshake), "records");
    while (!begun.load()) (void)runtime::sleep_for(1ms);
    while (net::sys::unread(p.server->socket().native_handle()) != 0) (void)runtime::sleep_for(1ms);
    (void)runtime::sleep_for(5ms);  // for the reader to wait for the rest
    (void)runtime::spawn("writer", [&] {
      expect(!write_whole(*p.server, "answer"), "write");
      done.done();
    });
    (void)runtime::sleep_for(20ms);  // for the writer to meet it
    expect(records.send(std::string_view("\0", 1), kHandshake), "its last byte");
    const auto answer = read_exactly(*p.client, 6);
    expect(answer && *answer == "answer", "what was written");
    p.server->shutdown();
    while (!done.wait()) {
    }
    expect(bug_count() == bugs, "no bug of ours");
  });
}

TEST_CASE("a new key that is asked for while an answer waits for room is given, and the answer goes on",
          "[tls][stream]") {
  talk([](Expectations& expect) {
    TlsPair p;
    if (!expect(!p.of_server && !p.of_client, "handshake")) return;
    const std::string sent = pattern(8'000'000);
    Latch done(2);
    std::atomic<std::size_t> written{0};
    (void)runtime::spawn("writer", [&] {
      for (std::string_view rest = sent; !rest.empty();) {
        const auto n = p.server->write_some(bytes(rest), Deadline::in(60s));
        if (!expect(n.has_value(), n ? "" : "write: " + n.error().message())) {
          (void)p.server->socket().shutdown_write();
          break;
        }
        rest.remove_prefix(*n);
        written += *n;
      }
      done.done();
    });
    (void)runtime::spawn("reader", [&] {
      const auto got = read_exactly(*p.server, 1);
      expect(got && *got == "x", got ? *got : "read: " + got.error().message());
      done.done();
    });
    for (std::size_t seen = SIZE_MAX; seen != written;) {
      seen = written;
      (void)runtime::sleep_for(20ms);
    }
    SSL* const ssl = p.client->session();
    expect(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1, "a new key");
    expect(!write_whole(*p.client, "x"), "the client's write");
    (void)runtime::sleep_for(20ms);  // for the reader to find it
    const auto got = read_exactly(*p.client, sent.size());
    expect(got && *got == sent, got ? "other bytes" : "the client's read: " + got.error().message());
    if (!got) p.server->shutdown();
    while (!done.wait()) {
    }
  });
}
