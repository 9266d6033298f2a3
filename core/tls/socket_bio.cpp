#include "core/tls/socket_bio.hpp"

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "core/net/system_calls.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/stream.hpp"

namespace fiberd::tls {

/// Bytes without one for the reader: records that are not whole yet, tickets, new keys. More than any peer needs, and
/// few enough: OpenSSL goes on as long as they come, with the lock held, and each new key costs more to take than to
/// send.
static constexpr std::size_t kMostTalk = std::size_t{64} * 1024;

static Stream& stream_of(BIO* bio) noexcept { return *static_cast<Stream*>(BIO_get_data(bio)); }

/// Keeps the first bytes that come. False: they announce a hello that no client has. OpenSSL makes room for as much as
/// is announced, up to 128 KiB, and fills it with zeros, before any of it has come.
bool SocketBio::take_first(Stream& s, std::string_view bytes) noexcept {
  static constexpr unsigned kHandshake = 22;
  static constexpr unsigned kClientHello = 1;
  static constexpr unsigned kMostHello = 16 * 1024;
  const std::size_t n = std::min(bytes.size(), s.first_.size() - s.first_size_);
  std::memcpy(s.first_.data() + s.first_size_, bytes.data(), n);
  s.first_size_ = static_cast<std::uint8_t>(s.first_size_ + n);
  if (s.first_size_ < s.first_.size() || s.first_[0] != kHandshake || SSL_is_server(s.session_.get()) == 0) return true;
  // In a record that ends within the message's head that could not be seen.
  if (s.first_[3] == 0 && s.first_[4] < 4) return false;
  return s.first_[5] != kClientHello || (s.first_[6] == 0 && s.first_[7] * 256U + s.first_[8] <= kMostHello);
}

int SocketBio::read(BIO* bio, char* data, std::size_t size, std::size_t* taken) noexcept {
  Stream& s = stream_of(bio);
  BIO_clear_retry_flags(bio);
  *taken = 0;
  if (s.socket_.drained()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const Result<std::size_t> n = s.socket_.try_read({reinterpret_cast<std::byte*>(data), size});
  if (!n) {
    if (n.error() == std::errc::operation_would_block)
      BIO_set_retry_read(bio);
    else
      s.socket_error_ = -n.error().value();
    return -1;
  }
  if (*n == 0) {
    s.at_fin_ = true;
    return 0;
  }
  if (s.first_size_ < s.first_.size() && !take_first(s, {data, *n})) {
    s.refused_ = errc::hello_too_large;
    return -1;
  }
  if (s.established_ && (s.talk_ += *n) > kMostTalk) {
    s.refused_ = errc::malformed;
    return -1;
  }
  // Also when a writer takes them, who does not look at what is in them.
  s.plaintext_waits_.store(true, std::memory_order_relaxed);
  *taken = *n;
  return 1;
}

int SocketBio::write(BIO* bio, const char* data, std::size_t size, std::size_t* taken) noexcept {
  // Not SocketStream::try_write(): that may let others run, and the lock is held.
  Stream& s = stream_of(bio);
  BIO_clear_retry_flags(bio);
  *taken = 0;
  ssize_t n = 0;
  const int fd = s.socket_.native_handle();
  do n = s.more_ ? net::sys::send_more(fd, data, size) : net::sys::send(fd, data, size);
  while (n == -EINTR);
  if (n >= 0) {
    *taken = static_cast<std::size_t>(n);
    return 1;
  }
  if (net::sys::would_block(n))
    BIO_set_retry_write(bio);
  else
    s.socket_error_ = static_cast<int>(n);
  return -1;
}

long SocketBio::control(BIO* bio, int command, long, void*) noexcept {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return stream_of(bio).at_fin_ ? 1 : 0;
  return 0;
}

static BIO_METHOD* make_method() noexcept {
  BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fiberd socket");
  if (method == nullptr) return nullptr;
  BIO_meth_set_read_ex(method, &SocketBio::read);
  BIO_meth_set_write_ex(method, &SocketBio::write);
  BIO_meth_set_ctrl(method, &SocketBio::control);
  return method;
}

bool SocketBio::attach(Stream& stream) noexcept {
  static BIO_METHOD* const method = make_method();
  BIO* const bio = method != nullptr ? BIO_new(method) : nullptr;
  if (bio == nullptr) return false;
  BIO_set_data(bio, &stream);
  BIO_set_init(bio, 1);
  SSL_set_bio(stream.session_.get(), bio, bio);  // once for both directions
  return true;
}

}  // namespace fiberd::tls
