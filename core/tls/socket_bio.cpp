#include "core/tls/socket_bio.hpp"

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "core/net/system_calls.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/kernel_tls.hpp"
#include "core/tls/stream.hpp"
#include "core/tls/stream_early.hpp"

namespace fiberd::tls {

/// Bytes without one for the reader: records that are not whole yet, tickets, new keys. More than any peer needs, and
/// few enough: OpenSSL goes on as long as they come, with the lock held, and each new key costs more to take than to
/// send.
static constexpr std::size_t kMostTalk = std::size_t{64} * 1024;

static Stream& stream_of(BIO* bio) noexcept { return *static_cast<Stream*>(BIO_get_data(bio)); }

/// Whether a message that begins now may be a hello: nothing has been answered yet, or a HelloRetryRequest (with a key
/// of its own whoever is in the middle of TLS 1.3 sends no handshake in plain text).
static bool expects_hello(const SSL* ssl) noexcept {
  const OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
  return state == TLS_ST_BEFORE || state == TLS_ST_SR_CLNT_HELLO || state == TLS_ST_EARLY_DATA;
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
  if (!s.established_ && SSL_is_server(s.session_.get()) != 0 &&
      !s.hello_.see({data, *n}, expects_hello(s.session_.get()))) {
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

/// The kernel would go on with the old ones.
static bool is_new_keys(unsigned char record_type, std::string_view message) noexcept {
  return record_type == SSL3_RT_HANDSHAKE && !message.empty() && message.front() == SSL3_MT_KEY_UPDATE;
}

int SocketBio::write(BIO* bio, const char* data, std::size_t size, std::size_t* taken) noexcept {
  // Not SocketStream::try_write(): that may let others run, and the lock is held.
  Stream& s = stream_of(bio);
  BIO_clear_retry_flags(bio);
  *taken = 0;
  if (s.early_ != nullptr) [[unlikely]] {
    if (!s.send_or_keep({data, size})) return -1;
    *taken = size;
    return 1;
  }
  if (is_new_keys(s.record_type_, {data, size})) [[unlikely]] {
    s.socket_error_ = -EPROTO;
    return -1;
  }
  ssize_t n = 0;
  const int fd = s.socket_.native_handle();
  do
    n = s.record_type_ != 0 ? send_record(fd, s.record_type_, data, size)
        : s.more_           ? net::sys::send_more(fd, data, size)
                            : net::sys::send(fd, data, size);
  while (n == -EINTR);
  if (n >= 0) {
    s.record_type_ = 0;
    *taken = static_cast<std::size_t>(n);
    return 1;
  }
  if (net::sys::would_block(n))
    BIO_set_retry_write(bio);
  else
    s.socket_error_ = static_cast<int>(n);
  return -1;
}

long SocketBio::control(BIO* bio, int command, long number, void* pointer) noexcept {
  // Of these openssl/bio.h has the numbers, but no names.
  static constexpr int kSetKernelKeys = 72;    // BIO_CTRL_SET_KTLS: `number` is 0 for those that read
  static constexpr int kSetRecordType = 74;    // BIO_CTRL_SET_KTLS_TX_SEND_CTRL_MSG
  static constexpr int kClearRecordType = 75;  // BIO_CTRL_CLEAR_KTLS_TX_CTRL_MSG
  Stream& s = stream_of(bio);
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return s.at_fin_ ? 1 : 0;
    case kSetKernelKeys:
      // Where early data is taken what is encrypted may wait here.
      s.kernel_sends_ = number != 0 && s.early_ == nullptr && SSL_is_server(s.session_.get()) != 0 &&
                        give_keys_to_kernel(s.socket_.native_handle(), pointer);
      return s.kernel_sends_ ? 1 : 0;
    case BIO_CTRL_GET_KTLS_SEND: return s.kernel_sends_ ? 1 : 0;
    case kSetRecordType: s.record_type_ = static_cast<unsigned char>(number); return 0;
    case kClearRecordType: s.record_type_ = 0; return 0;
    default: return 0;
  }
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
