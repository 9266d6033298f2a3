// How a Stream drives OpenSSL.
//
// By a BIO of its own over the socket, which never waits: OpenSSL is called under lock_, does what can be done at once,
// and says what it lacks; the waiting is done outside, on the socket's poll word, as everywhere. So one fiber may wait
// to read while another writes. Memory BIOs were turned down: they copy each byte once more, and hold what they copied.
// OpenSSL's own socket BIO was turned down, too: it calls read(2) and write(2), and the latter raises SIGPIPE.
//
// System calls. A request is one read and one send: OpenSSL reads ahead as much as a record can have, and a read that
// came short is believed (SocketStream::drained), so that nobody asks the kernel for what it does not have.
//
// Memory. SSL_MODE_RELEASE_BUFFERS: an idle connection holds neither of the two 16 KiB buffers.
//
// drained() is: no plaintext waits, and the kernel's last read came short. Part of a record that waits for its rest is
// nothing that could be read, so it does not count as plaintext; its rest makes a new edge.
//
// Writes. OpenSSL encrypts a record and sends it; what the socket does not take stays encrypted, and that plaintext is
// counted as taken when the rest has gone. A caller who goes on with other bytes would send the old ones in their
// place, unseen. So a hash of what is owed is kept, and compared.
//
// Long crypto. What a server does between a client's hello and its own answer holds a Processor for 0.37 ms with a key
// on P-256, 0.65 ms with RSA of 2048 bits, 2.4 ms of 3072 and 5.5 ms of 4096 (medians of 200, CPU time, OpenSSL 3.0.19,
// cold; the signatures alone 0.03, 0.4, 2.1 and 5.7 ms). Two switches of threads cost a small part of that. So
// that step goes there when the key is RSA. What is signed on P-256 stays: others wait for it no longer than for much
// else that fibers do without a pause (sysmon gives a Processor away after 10 ms). The step behind it, which proves
// that the client has the same keys, takes 0.1 ms. Where there is one certificate its key says so; where there are
// several whoever chooses stops there once (ServerContext::may_step_aside()) if the choice may be RSA.
//
// The end. close_notify is the end of the stream; a FIN without it is errc::truncated, since anybody on the way can
// make one. What is broken stays broken: OpenSSL must not be called again after a fatal error.
#include "core/tls/stream.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "core/base/hash.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/server_context.hpp"
#include "core/tls/socket_bio.hpp"
#include "core/tls/stream_early.hpp"

namespace fiberd::tls {

using runtime::Cancellation;
using runtime::Direction;
using runtime::WaitReason;

static constexpr std::size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
static constexpr std::size_t kMostAtOnce = 4 * kRecord;

void FreeSsl::operator()(ssl_st* session) const noexcept { SSL_free(session); }
void FreeSsl::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }

Stream::Stream(net::SocketStream&& socket, SslHandle session) noexcept
    : socket_(std::move(socket)), session_(std::move(session)) {
  socket_.set_single_owner();
}

Result<std::unique_ptr<Stream>> Stream::make(net::SocketStream&& socket, SslHandle session) noexcept {
  net::SocketStream ours = std::move(socket);
  if (session == nullptr) return fail(std::errc::not_enough_memory);
  std::unique_ptr<Stream> stream(new (std::nothrow) Stream(std::move(ours), std::move(session)));
  if (stream == nullptr || !SocketBio::attach(*stream)) {
    ERR_clear_error();
    return fail(std::errc::not_enough_memory);
  }
  SSL* const ssl = stream->session_.get();
  SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                        SSL_MODE_AUTO_RETRY);
  SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_set_read_ahead(ssl, 1);
  return stream;
}

Stream::~Stream() { close(); }

// ---------------------------------------------------------------------------------------------- what OpenSSL says

/// Of the thread's queue of errors: hardly ever is one there, and to look takes a tenth of the time.
static void forget_errors() noexcept {
  if (ERR_peek_error() != 0) [[unlikely]]
    ERR_clear_error();
}

/// Of a call that did not succeed: what it lacks, or what is wrong for good. Under lock_.
std::error_code Stream::classify(int result, Want& want) noexcept {
  if (refused_ != errc{}) [[unlikely]] {
    ERR_clear_error();
    return broken_ = refused_;
  }
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ: want = Want::read; return {};
    case SSL_ERROR_WANT_WRITE: want = Want::write; return {};
    case SSL_ERROR_WANT_X509_LOOKUP: want = Want::aside; return {};
    case SSL_ERROR_ZERO_RETURN: ended_ = true; return {};
    case SSL_ERROR_SYSCALL:
      broken_ = socket_error_ != 0 ? std::error_code(-socket_error_, std::system_category())
                                   : make_error_code(established_ ? errc::truncated : errc::ended);
      break;
    default:
      openssl_error_ = ERR_peek_error();
      broken_ = reason_of(openssl_error_);
      break;
  }
  ERR_clear_error();
  return broken_;
}

std::error_code Stream::reason_of(unsigned long error) const noexcept {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL)
    return ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE ? std::make_error_code(std::errc::not_enough_memory)
                                                         : make_error_code(errc::malformed);
  const int reason = ERR_GET_REASON(error);
  switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return established_ ? errc::truncated : errc::ended;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST: return errc::plain_http;
    case SSL_R_WRONG_VERSION_NUMBER:
      // Methods that OpenSSL does not know are text as well.
      if (established_) return errc::malformed;
      return hello_.first() >= 'A' && hello_.first() <= 'Z' ? errc::plain_http : errc::not_tls;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_NO_PROTOCOLS_AVAILABLE: return errc::version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM: return errc::cipher;
    case SSL_R_NO_APPLICATION_PROTOCOL: return errc::protocol;
    case SSL_R_CALLBACK_FAILED:
      // Who looks for a challenge is refused by the callback for hellos: his second one is another.
      return ServerContext::looks_at_challenge(session_.get()) ? errc::malformed : errc::server_name;
    case SSL_R_CERT_CB_ERROR: return errc::server_name;  // who looks for a challenge that there is none of
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return errc::no_certificate;
    case SSL_R_CERTIFICATE_VERIFY_FAILED: return errc::certificate;
    case ERR_R_MALLOC_FAILURE: return std::make_error_code(std::errc::not_enough_memory);
    default: break;
  }
  return reason > SSL_AD_REASON_OFFSET ? errc::alert : errc::malformed;
}

std::string Stream::failure() const {
  if (openssl_error_ == 0) return {};
  if (broken_ == errc::certificate) return X509_verify_cert_error_string(SSL_get_verify_result(session_.get()));
  const char* const text = ERR_reason_error_string(openssl_error_);
  return text != nullptr ? text : "unknown";
}

/// Until the socket may have what `want` says, or take it.
Result<void> Stream::wait(Want want, Deadline deadline, Cancellation* cancellation) noexcept {
  const bool writes = want == Want::write;
  const WaitReason reason = writes ? WaitReason::io_write : WaitReason::io_read;
  Turn& turn = writes ? to_write_ : to_read_;
  // Hardly ever a reader has to send something (a new key), or a writer to read (the rest of a message that asks for
  // one), and meets the other here. Who comes second waits for the first, and tries again when he does.
  runtime::Ticket second{};
  {
    const LockGuard guard(lock_);
    if (turn.taken)
      turn.second = second = runtime::prepare_park(reason);
    else
      turn.taken = true;
  }
  if (second) [[unlikely]] {
    const std::error_code error = runtime::to_error(runtime::park_until(second, deadline, cancellation));
    const LockGuard guard(lock_);
    if (turn.second == second) turn.second = {};
    return as_result(error);
  }
  Result<void> waited =
      socket_.descriptor()->wait(writes ? Direction::write : Direction::read, reason, deadline, cancellation);
  {
    const LockGuard guard(lock_);
    turn.taken = false;
    second = std::exchange(turn.second, {});
    if (waited && !writes) socket_.note_readable();
  }
  if (second) [[unlikely]]
    (void)runtime::wake(second);
  return waited;
}

// ---------------------------------------------------------------------------------------------- handshake

std::error_code Stream::handshake_now(Want& want) noexcept {
  const LockGuard guard(lock_);
  if (broken_) return broken_;
  if (early_ != nullptr) [[unlikely]]
    return shake_early(want);
  ERR_clear_error();
  const int result = SSL_do_handshake(session_.get());
  if (result != 1) {
    if (const std::error_code error = classify(result, want)) return error;
    if (want == Want::nothing) broken_ = errc::ended;  // a warning that says goodbye
    return broken_;
  }
  established_ = true;
  plaintext_waits_.store(SSL_has_pending(session_.get()) != 0, std::memory_order_relaxed);
  return {};
}

/// Whether the answer to a client's hello is for another thread.
static bool signs_slowly(const SSL* ssl) noexcept {
  const EVP_PKEY* const key =
      SSL_is_server(ssl) != 0 && !ServerContext::chooses(ssl) ? SSL_get_privatekey(ssl) : nullptr;
  return key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
}

Result<void> Stream::handshake(Deadline deadline, Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  expect_early(deadline);
  if (SSL_is_server(session_.get()) != 0) ServerContext::may_step_aside(session_.get());
  bool aside = signs_slowly(session_.get());
  for (;;) {
    if (runtime::past(deadline)) return fail(std::errc::timed_out);
    Want want = Want::nothing;
    std::error_code error;
    try {
      error = aside ? runtime::blocking([&] { return handshake_now(want); }) : handshake_now(want);
    } catch (const std::exception&) {  // there is no thread to be had
      error = handshake_now(want);
    }
    if (error) return fail(error);
    if (want == Want::nothing) return {};
    if (want == Want::aside) {
      aside = true;
      continue;
    }
    const OSSL_HANDSHAKE_STATE state = SSL_get_state(session_.get());
    aside = aside && (state == TLS_ST_BEFORE || state == TLS_ST_SR_CLNT_HELLO);
    if (const Result<void> waited = wait(want, deadline, cancellation); !waited) return waited;
  }
}

// ---------------------------------------------------------------------------------------------- reading

/// Under lock_: up to data.size() bytes of as many records as are here; 0: the end, or `want` tells what is missing.
Result<std::size_t> Stream::take_plaintext(std::span<std::byte> data, Want& want) noexcept {
  if (early_ != nullptr) [[unlikely]]
    if (const std::optional<Result<std::size_t>> early = take_early(data, want)) return *early;
  std::size_t taken = 0;
  while (!ended_ && !broken_) {
    std::size_t n = 0;
    forget_errors();
    const int result = SSL_read_ex(session_.get(), data.data() + taken, data.size() - taken, &n);
    if (result != 1) {
      (void)classify(result, want);
      break;
    }
    talk_ = 0;
    taken += n;
    if (taken == data.size() || SSL_has_pending(session_.get()) == 0) break;
  }
  const bool more = taken == data.size() && SSL_has_pending(session_.get()) != 0;
  plaintext_waits_.store(more, std::memory_order_relaxed);
  // An end that is known already is read by the next call.
  drained_ = !more && !ended_ && !broken_ && socket_.drained();
  if (taken != 0) {
    want = Want::nothing;
    return taken;
  }
  if (broken_) return fail(broken_);
  return std::size_t{0};
}

Result<std::size_t> Stream::read_now(std::span<std::byte> data, Want& want) noexcept {
  const LockGuard guard(lock_);
  return take_plaintext(data, want);
}

Result<std::size_t> Stream::try_read(std::span<std::byte> data) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  const LockGuard guard(lock_);
  if (!drained_ && !plaintext_waits_.load(std::memory_order_relaxed)) socket_.note_readable();
  Want want = Want::nothing;
  Result<std::size_t> n = take_plaintext(data, want);
  if (want == Want::nothing) return n;
  drained_ = want == Want::read;
  return fail(std::errc::operation_would_block);
}

Result<std::size_t> Stream::read_some(std::span<std::byte> data, Deadline deadline,
                                      Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  // What note_readable() said of this stream holds for the socket; else that no plaintext waits any more is all.
  if (!drained_ && !plaintext_waits_.load(std::memory_order_relaxed)) {
    const LockGuard guard(lock_);
    socket_.note_readable();
  }
  for (;;) {
    Want want = Want::nothing;
    Result<std::size_t> n = read_now(data, want);
    if (want == Want::nothing) {
      runtime::spend_budget();
      return n;
    }
    if (const Result<void> waited = wait(want, deadline, cancellation); !waited) return fail(waited.error());
  }
}

/// Whether a look finds plaintext. From anywhere: it does not wait for who is inside, who reads then.
bool Stream::peek() noexcept {
  if (!lock_.try_lock()) return true;
  bool found = false;
  if (established_ && !ended_ && !broken_) {
    std::byte one{};
    std::size_t n = 0;
    ERR_clear_error();
    socket_.note_readable();
    const int result = SSL_peek_ex(session_.get(), &one, 1, &n);
    Want want = Want::nothing;
    if (result != 1) (void)classify(result, want);
    plaintext_waits_.store(found = result == 1, std::memory_order_relaxed);
  }
  lock_.unlock();
  return found;
}

bool Stream::bytes_waiting() const noexcept {
  // The largest record that holds no byte for the reader: an alert under TLS 1.2 with CBC and SHA-384 is 85 bytes.
  static constexpr int kNoMoreThanAnAlert = 96;
  if (plaintext_waits_.load(std::memory_order_relaxed)) return true;
  const int unread = net::sys::unread(socket_.native_handle());
  if (unread <= 0) return false;
  return unread > kNoMoreThanAnAlert || const_cast<Stream*>(this)->peek();
}

bool Stream::go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept {
  if (plaintext_waits_.load(std::memory_order_relaxed)) return false;
  {
    const LockGuard guard(lock_);
    if (ended_ || broken_ || at_fin_) return false;
    if (early_ != nullptr && is_early()) deadline = deadline.earlier(early_->limit);
  }
  return socket_.go_idle(handler, argument, deadline);
}

// ---------------------------------------------------------------------------------------------- writing

/// Under lock_: why nothing can be written.
std::error_code Stream::unwritable() const noexcept {
  return !broken_ && bye_ != Bye::unsaid ? std::make_error_code(std::errc::broken_pipe) : broken_;
}

/// Of one that the kernel encrypts. A client that has asked for new keys would have to be sent them first (RFC 8446
/// section 4.6.3).
std::error_code Stream::why_not_by_kernel() noexcept {
  const LockGuard guard(lock_);
  if (!broken_ && SSL_get_key_update_type(session_.get()) != SSL_KEY_UPDATE_NONE)
    broken_ = std::make_error_code(std::errc::not_supported);
  return unwritable();
}

/// Record by record, as many as the socket takes, which is told that more follows: so 64 KiB leave in large packets,
/// and wake who reads them once. `more`: behind `data`, too.
Result<std::size_t> Stream::write_now(std::span<const std::byte> data, Want& want, bool more) noexcept {
  const LockGuard guard(lock_);
  if (const std::error_code error = unwritable()) return fail(error);
  if (early_ != nullptr) [[unlikely]]
    return write_early(data.first(std::min(data.size(), kRecord)), want);
  std::size_t done = 0;
  while (!data.empty() && done < kMostAtOnce) {
    std::span<const std::byte> record = data.first(std::min(data.size(), kRecord));
    if (owed_ != 0) [[unlikely]] {
      if (record.size() < owed_ || hash_of_owed(record.first(owed_)) != owed_hash_) {
        broken_ = errc::out_of_step;
        return fail(broken_);
      }
      record = record.first(owed_);
    }
    more_ = more || record.size() < data.size();
    std::size_t n = 0;
    forget_errors();
    const int result = SSL_write_ex(session_.get(), record.data(), record.size(), &n);
    more_ = false;  // close_notify for one is the last of all
    if (result == 1) [[likely]] {
      owed_ = 0;
      done += n;
      data = data.subspan(n);
      continue;
    }
    const std::error_code error = classify(result, want);
    if (!error && want != Want::nothing && owed_ == 0) {
      owed_ = static_cast<std::uint16_t>(record.size());
      owed_hash_ = hash_of_owed(record);
    }
    if (done != 0) break;  // what is wrong the next call finds
    if (error) return fail(error);
    if (want == Want::nothing) return fail(std::errc::broken_pipe);
    return std::size_t{0};
  }
  want = Want::nothing;
  return done;
}

Result<std::size_t> Stream::try_write(std::span<const std::byte> data) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  if (kernel_sends_) {
    if (const std::error_code error = why_not_by_kernel()) return fail(error);
    return socket_.try_write(data);
  }
  Want want = Want::nothing;
  Result<std::size_t> n = write_now(data, want);
  if (want != Want::nothing) return fail(std::errc::operation_would_block);
  runtime::spend_budget();
  return n;
}

Result<std::size_t> Stream::write_some(std::span<const std::byte> data, Deadline deadline,
                                       Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  if (kernel_sends_) {
    if (const std::error_code error = why_not_by_kernel()) return fail(error);
    return socket_.write_some(data, deadline, cancellation);
  }
  for (;;) {
    Want want = Want::nothing;
    Result<std::size_t> n = write_now(data, want);
    if (want == Want::nothing) {
      runtime::spend_budget();
      return n;
    }
    if (const Result<void> waited = wait(want, deadline, cancellation); !waited) return fail(waited.error());
  }
}

Result<std::size_t> Stream::writev_some(std::span<const iovec> parts, Deadline deadline,
                                        Cancellation* cancellation) noexcept {
  if (kernel_sends_ && socket_.is_open()) {
    if (const std::error_code error = why_not_by_kernel()) return fail(error);
    return socket_.writev_some(parts, deadline, cancellation);
  }
  std::size_t all = 0;
  std::size_t used = 0;
  const iovec* only = nullptr;
  for (const iovec& part : parts) {
    if (part.iov_len == 0) continue;
    only = &part;
    ++used;
    all += std::min(part.iov_len, kRecord);
    if (all >= kRecord) break;
  }
  if (used == 0) return socket_.is_open() ? Result<std::size_t>(0) : fail(std::errc::bad_file_descriptor);
  // The parts of a record lie side by side. A copy of them costs less than another record, and another send.
  all = std::min(all, kRecord);
  const std::unique_ptr<std::byte[]> together(used == 1 ? nullptr : new (std::nothrow) std::byte[all]);
  if (together == nullptr) {
    if (used != 1)
      for (const iovec& part : parts)
        if (part.iov_len != 0) {
          only = &part;
          break;
        }
    return write_some({static_cast<const std::byte*>(only->iov_base), only->iov_len}, deadline, cancellation);
  }
  std::size_t filled = 0;
  for (const iovec& part : parts) {
    const std::size_t n = std::min(part.iov_len, all - filled);
    if (n != 0) std::memcpy(together.get() + filled, part.iov_base, n);
    filled += n;
  }
  return write_some({together.get(), filled}, deadline, cancellation);
}

Result<std::size_t> Stream::sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                          Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (kernel_sends_) {
    if (const std::error_code error = why_not_by_kernel()) return fail(error);
    return socket_.sendfile_some(fd, offset, count, deadline, cancellation);
  }
  if (count == 0) return std::size_t{0};
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  for (;;) {
    // One who takes them slowly keeps no large piece: it is read again when there is room.
    const std::size_t most = slow_ ? kRecord : kMostAtOnce;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(count, most));
    std::unique_ptr<std::byte[]> piece(new (std::nothrow) std::byte[size]);
    if (piece == nullptr) return fail(std::errc::not_enough_memory);
    ssize_t n = 0;
    do n = net::sys::pread(fd, piece.get(), size, offset);
    while (n == -EINTR);
    if (n < 0) return fail_errno(static_cast<int>(n));
    if (n == 0) return std::size_t{0};
    const auto there = static_cast<std::size_t>(n);
    Want want = Want::nothing;
    const Result<std::size_t> written = write_now({piece.get(), there}, want, there < count);
    slow_ = want != Want::nothing || !written || *written < there;
    if (want == Want::nothing) {
      runtime::spend_budget();
      return written;
    }
    piece.reset();
    if (const Result<void> waited = wait(want, deadline, cancellation); !waited) return fail(waited.error());
  }
}

// ---------------------------------------------------------------------------------------------- the end

/// False: it would have to wait.
bool Stream::say_goodbye() noexcept {
  const LockGuard guard(lock_);
  const auto kept_back = [this] { return early_ != nullptr && !send_unsent() && !broken_; };
  if (kept_back()) return false;
  if (bye_ == Bye::sent || !established_ || broken_ || owed_ != 0) return true;
  bye_ = Bye::waits;
  ERR_clear_error();
  const int result = SSL_shutdown(session_.get());
  if (result < 0 && SSL_get_error(session_.get(), result) == SSL_ERROR_WANT_WRITE) return false;
  ERR_clear_error();
  bye_ = Bye::sent;
  return !kept_back();
}

Result<void> Stream::take_leave(Deadline deadline, Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  if (is_early()) (void)finish_handshake(deadline, cancellation);
  while (!say_goodbye())
    if (const Result<void> waited = wait(Want::write, deadline, cancellation); !waited) return waited;
  return {};
}

Result<void> Stream::shutdown_write() noexcept {
  (void)say_goodbye();
  return socket_.shutdown_write();
}

void Stream::close() noexcept {
  if (!socket_.is_open()) return;
  (void)say_goodbye();
  leave_early();
  socket_.close();
}

}  // namespace fiberd::tls
