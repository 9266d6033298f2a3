#pragma once
// A client over TLS that sends early data (0-RTT), on OpenSSL alone, and holds back the rest of its handshake until it
// is told to go on: what a server sends before that it sends to who has proved nothing. It blocks its thread.
#include <openssl/ssl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/http_fixture.hpp"

namespace fiberd::test {

struct FreeEarly {
  void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
  void operator()(SSL* p) const noexcept { SSL_free(p); }
  void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
};
using EarlySession = std::unique_ptr<SSL_SESSION, FreeEarly>;

class EarlyClient final : public AnswerReader {
 public:
  /// `session`: of an earlier connection; null: none. Certificates are not looked at.
  explicit EarlyClient(std::uint16_t port, std::string_view protocol = {}, SSL_SESSION* session = nullptr,
                       int receive_buffer = 0)
      : socket_(port, receive_buffer, std::chrono::seconds(20)), context_(SSL_CTX_new(TLS_client_method())) {
    ssl_.reset(SSL_new(context_.get()));
    if (!protocol.empty()) {
      std::string list(1, static_cast<char>(protocol.size()));
      list += protocol;
      (void)SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(list.data()),
                                static_cast<unsigned>(list.size()));
    }
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
    if (session != nullptr) {
      const EarlySession copy(SSL_SESSION_dup(session));
      (void)SSL_set_session(ssl_.get(), copy.get());
    }
  }

  /// Its hello and this; nothing behind it.
  bool send_early(std::string_view data) {
    std::size_t written = 0;
    if (SSL_write_early_data(ssl_.get(), data.data(), data.size(), &written) != 1) return false;
    first_ = taken_out();
    return socket_.send(first_);
  }
  /// What send_early() has sent.
  [[nodiscard]] const std::string& first() const noexcept { return first_; }
  /// Until the server has sent so many bytes, of which nothing is looked at. False: it ends.
  bool wait_for(std::size_t bytes) {
    while (received_ < bytes)
      if (!pull()) return false;
    return true;
  }
  bool shake_hands() {
    for (;;) {
      const int result = SSL_do_handshake(ssl_.get());
      if (!socket_.send(taken_out())) return false;
      if (result == 1) return true;
      if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ || !pull()) return false;
    }
  }
  bool send(std::string_view bytes) override {
    return bytes.empty() ||
           (SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0 && socket_.send(taken_out()));
  }
  void finish_sending() override {
    (void)SSL_shutdown(ssl_.get());
    (void)socket_.send(taken_out());
  }
  bool more() override {
    for (;;) {
      char data[16384];
      const int n = SSL_read(ssl_.get(), data, sizeof data);
      if (n > 0) {
        buffer_.append(data, static_cast<std::size_t>(n));
        return true;
      }
      const int why = SSL_get_error(ssl_.get(), n);
      ended_ = why == SSL_ERROR_ZERO_RETURN;
      if (why != SSL_ERROR_WANT_READ || !pull()) break;
    }
    if (!ended_) error_ = errno != 0 ? errno : ECONNRESET;
    return false;
  }
  /// To be resumed: the last one that the server has given.
  [[nodiscard]] EarlySession session() const {
    return EarlySession(
        SSL_SESSION_dup(SSL_get0_session(ssl_.get())));  // its own is good no longer than the connection
  }
  [[nodiscard]] bool accepted() const { return SSL_get_early_data_status(ssl_.get()) == SSL_EARLY_DATA_ACCEPTED; }
  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

 private:
  std::string taken_out() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    std::string bytes(data, static_cast<std::size_t>(size));
    (void)BIO_reset(out_);
    return bytes;
  }
  bool pull() {
    char data[65536];
    const ssize_t n = ::recv(socket_.fd(), data, sizeof data, 0);
    if (n <= 0) return false;
    received_ += static_cast<std::size_t>(n);
    return BIO_write(in_, data, static_cast<int>(n)) == n;
  }

  HttpClient socket_;
  std::unique_ptr<SSL_CTX, FreeEarly> context_;
  std::unique_ptr<SSL, FreeEarly> ssl_;
  BIO* in_ = nullptr;  // the SSL's
  BIO* out_ = nullptr;
  std::string first_;
  std::size_t received_ = 0;
};

}  // namespace fiberd::test
