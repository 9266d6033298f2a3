#pragma once
// A client over TLS that blocks its thread, as HttpClient does, on OpenSSL alone: none of the server's code is in it.
#include <openssl/ssl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/http_fixture.hpp"
#include "tests/support/test_certificates.hpp"

namespace fiberd::test {

class TlsClient final : public AnswerReader {
 public:
  /// Shakes hands; `protocol`: what it offers by ALPN, nothing when empty. Certificates are not looked at.
  explicit TlsClient(std::uint16_t port, std::string_view protocol = {})
      : socket_(port, 0, std::chrono::seconds(20)), context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free) {
    ssl_ = {SSL_new(context_.get()), &SSL_free};
    if (!protocol.empty()) {
      std::string list(1, static_cast<char>(protocol.size()));
      list += protocol;
      (void)SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(list.data()),
                                static_cast<unsigned>(list.size()));
    }
    (void)SSL_set_fd(ssl_.get(), socket_.fd());
    if (SSL_connect(ssl_.get()) != 1) throw std::runtime_error("no TLS handshake");
  }
  bool send(std::string_view bytes) override {
    return bytes.empty() || SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
  }
  void finish_sending() override { (void)SSL_shutdown(ssl_.get()); }
  bool more() override {
    char data[16384];
    const int n = SSL_read(ssl_.get(), data, sizeof data);
    if (n > 0) {
      buffer_.append(data, static_cast<std::size_t>(n));
      return true;
    }
    ended_ = SSL_get_error(ssl_.get(), n) == SSL_ERROR_ZERO_RETURN;
    if (!ended_) error_ = errno != 0 ? errno : ECONNRESET;
    return false;
  }
  /// What the server has chosen.
  [[nodiscard]] std::string_view protocol() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }

 private:
  HttpClient socket_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, &SSL_free};
};

}  // namespace fiberd::test
