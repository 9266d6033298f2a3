#include "tests/support/tls_handshake.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace fiberd::test {

void FreeSession::operator()(ssl_session_st* session) const noexcept { SSL_SESSION_free(session); }

namespace {

std::string reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return text != nullptr ? text : "no reason";
}

void connect_by_memory(SSL* a, SSL* b) {
  BIO* to_a = BIO_new(BIO_s_mem());
  BIO* to_b = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(to_a, -1);
  BIO_set_mem_eof_return(to_b, -1);
  BIO_up_ref(to_a);
  BIO_up_ref(to_b);
  SSL_set_bio(a, to_a, to_b);
  SSL_set_bio(b, to_b, to_a);
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto& kept = *static_cast<TlsSession*>(SSL_get_app_data(ssl));
  kept.reset(session);
  return 1;
}

void use_identity(SSL_CTX* context, const TlsWishes& wishes) {
  BIO* const certificate = BIO_new_mem_buf(wishes.certificate.data(), static_cast<int>(wishes.certificate.size()));
  BIO* const key = BIO_new_mem_buf(wishes.key.data(), static_cast<int>(wishes.key.size()));
  X509* const x509 = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
  EVP_PKEY* const pkey = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
  if (SSL_CTX_use_certificate(context, x509) != 1 || SSL_CTX_use_PrivateKey(context, pkey) != 1)
    throw std::runtime_error("the client's certificate");
  X509_free(x509);
  EVP_PKEY_free(pkey);
  BIO_free(certificate);
  BIO_free(key);
}

std::string names_of(X509* certificate) {
  std::string names;
  auto* const all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all); ++i) {
    const ASN1_STRING* const name = sk_GENERAL_NAME_value(all, i)->d.dNSName;
    names += (names.empty() ? "" : ",") + std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)),
                                                      static_cast<std::size_t>(ASN1_STRING_length(name)));
  }
  GENERAL_NAMES_free(all);
  return names;
}

/// One step of a side; false: it has failed. `over`: it needs nothing more.
bool step(SSL* ssl, bool& over, std::string& error) {
  const int result = SSL_do_handshake(ssl);
  over = result == 1;
  if (result == 1) return true;
  const int why = SSL_get_error(ssl, result);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return true;
  error = reason();
  return false;
}

void read_what_comes(SSL* ssl, std::string& error) {
  char byte[64];
  const int n = SSL_read(ssl, byte, sizeof byte);
  if (n <= 0 && SSL_get_error(ssl, n) == SSL_ERROR_SSL) error = reason();
  ERR_clear_error();
}

void describe(SSL* client, TlsOutcome& out) {
  out.version = SSL_get_version(client);
  out.cipher = SSL_get_cipher_name(client);
  out.resumed = SSL_session_reused(client) != 0;
  out.early_accepted = SSL_get_early_data_status(client) == SSL_EARLY_DATA_ACCEPTED;
  const unsigned char* text = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client, &text, &size);
  out.alpn.assign(reinterpret_cast<const char*>(text), size);
  X509* const shown = SSL_get0_peer_certificate(client);
  if (shown != nullptr) {
    out.names = names_of(shown);
    out.key = EVP_PKEY_get0_type_name(X509_get0_pubkey(shown));
  }
  const unsigned char* response = nullptr;
  const long length = SSL_get_tlsext_status_ocsp_resp(client, &response);
  if (length > 0) out.status.assign(reinterpret_cast<const char*>(response), static_cast<std::size_t>(length));
}

}  // namespace

TlsOutcome shake_hands(ssl_st& server, const TlsWishes& wishes) {
  TlsOutcome out;
  const tls::SslContextHandle context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const c = context.get();
  SSL_CTX_set_security_level(c, 0);
  SSL_CTX_set_min_proto_version(c, wishes.least);
  SSL_CTX_set_max_proto_version(c, wishes.most);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(c, &keep_session);
  if (!wishes.signatures.empty() && SSL_CTX_set1_sigalgs_list(c, wishes.signatures.c_str()) != 1)
    throw std::runtime_error("signatures");
  if (!wishes.ciphers.empty() && SSL_CTX_set_cipher_list(c, wishes.ciphers.c_str()) != 1)
    throw std::runtime_error("ciphers");
  if (!wishes.certificate.empty()) use_identity(c, wishes);
  std::string alpn;
  for (const std::string& protocol : wishes.alpn) alpn += static_cast<char>(protocol.size()) + protocol;
  if (!alpn.empty())
    SSL_CTX_set_alpn_protos(c, reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  const tls::SslHandle client(SSL_new(c));
  SSL_set_app_data(client.get(), &out.session);
  if (!wishes.server_name.empty()) SSL_set_tlsext_host_name(client.get(), wishes.server_name.c_str());
  if (wishes.status) SSL_set_tlsext_status_type(client.get(), TLSEXT_STATUSTYPE_ocsp);
  if (wishes.session != nullptr) {
    const TlsSession copy(SSL_SESSION_dup(wishes.session));  // OpenSSL resumes by one once
    SSL_set_session(client.get(), copy.get());
  }
  SSL_set_connect_state(client.get());
  connect_by_memory(client.get(), &server);
  ERR_clear_error();
  if (!wishes.early.empty()) {
    std::size_t written = 0;
    if (SSL_write_early_data(client.get(), wishes.early.data(), wishes.early.size(), &written) != 1)
      out.client_error = reason();
  }
  bool client_over = false;
  bool server_over = false;
  for (int round = 0; round < 20 && !(client_over && server_over); ++round) {
    if (!client_over && !step(client.get(), client_over, out.client_error)) break;
    if (!server_over && !step(&server, server_over, out.server_error)) {
      (void)step(client.get(), client_over, out.client_error);  // it hears the alert
      break;
    }
  }
  out.done = client_over && server_over;
  if (out.done) {
    read_what_comes(&server, out.server_error);
    read_what_comes(client.get(), out.client_error);  // tickets; the refusal of its certificate
    if (wishes.renegotiate) {
      SSL_renegotiate(client.get());
      bool over = false;
      (void)step(client.get(), over, out.client_error);
      read_what_comes(&server, out.server_error);
      (void)step(client.get(), over, out.client_error);
    }
  }
  if (client_over) describe(client.get(), out);
  SSL_set_app_data(client.get(), nullptr);
  SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  // else its session is not resumed
  return out;
}

std::string why_refused(ssl_st& server, std::string_view bytes) {
  BIO* const in = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
  SSL_set_bio(&server, in, BIO_new(BIO_s_mem()));
  ERR_clear_error();
  const int result = SSL_do_handshake(&server);
  if (result == 1 || SSL_get_error(&server, result) == SSL_ERROR_WANT_READ) return "";
  return reason();
}

std::string client_hello(std::string_view server_name) {
  const auto number = [](std::size_t n, int bytes) {
    std::string text;
    for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>((n >> (8U * static_cast<unsigned>(i))) & 0xffU);
    return text;
  };
  const auto sized = [&](const std::string& text, int bytes) { return number(text.size(), bytes) + text; };
  const std::string name = std::string(1, '\0') + sized(std::string(server_name), 2);
  std::string extensions = number(0, 2) + sized(sized(name, 2), 2);                         // server_name
  extensions += number(10, 2) + sized(sized(number(23, 2), 2), 2);                          // groups: P-256
  extensions += number(13, 2) + sized(sized(number(0x0403, 2) + number(0x0804, 2), 2), 2);  // ECDSA, RSA-PSS
  std::string body = number(0x0303, 2) + std::string(32, 'r') + sized("", 1);
  body += sized(number(0xc02b, 2) + number(0xc02f, 2), 2) + sized(std::string(1, '\0'), 1) + sized(extensions, 2);
  const std::string message = number(1, 1) + sized(body, 3);
  return number(22, 1) + number(0x0301, 2) + sized(message, 2);
}

}  // namespace fiberd::test
