#pragma once
/// A connection of the probe: a socket that is not waited for, with TLS on it or without.

#include <openssl/ssl.h>

#include <string>
#include <string_view>

#include "tests/bench/attack/loop.hpp"

namespace attack {

/// Whose certificate it is is of no interest here. A new session each time: what is measured is a full handshake.
inline SSL_CTX* client_context() {
  static SSL_CTX* const context = [] {
    SSL_CTX* const c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(c, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    return c;
  }();
  return context;
}

class Wire {
 public:
  Wire() = default;
  Wire(int fd, bool tls) : fd_(fd), ssl_(tls ? SSL_new(client_context()) : nullptr) {
    if (ssl_ == nullptr) return;
    SSL_set_fd(ssl_, fd);
    SSL_set_connect_state(ssl_);
    SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  Wire(Wire&& other) noexcept : fd_(other.fd_), ssl_(other.ssl_) {
    other.fd_ = -1;
    other.ssl_ = nullptr;
  }
  Wire& operator=(Wire&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(ssl_, other.ssl_);
    return *this;
  }
  ~Wire() {
    if (ssl_ != nullptr) SSL_free(ssl_);
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

  /// As send() and recv(): -1 and EAGAIN while it would have to wait.
  ssize_t write(std::string_view bytes) {
    if (ssl_ == nullptr) return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return outcome(SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())));
  }
  ssize_t read(char* to, std::size_t size) {
    if (ssl_ == nullptr) return recv(fd_, to, size, 0);
    return outcome(SSL_read(ssl_, to, static_cast<int>(size)));
  }

 private:
  ssize_t outcome(int result) {
    if (result > 0) return result;
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
  }

  int fd_ = -1;
  SSL* ssl_ = nullptr;
};

}  // namespace attack
