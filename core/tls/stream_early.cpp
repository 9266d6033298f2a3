// Early data (RFC 8446 section 2.3): a client that has a ticket sends bytes behind its hello, before the server has
// said anything. They are as secret as others, but whoever has recorded them can send them again (section 8), so what
// is done with them is for who reads them: ByteStream::is_early().
//
// handshake() returns with the first of them, and the rest of the handshake is driven by whoever reads. Answers leave
// meanwhile by SSL_write_early_data(), since the server's side of the keys is complete behind its own flight.
//
// Nothing that OpenSSL sends meanwhile may be left half sent. It writes through a buffer of its own as long as a
// handshake lasts, and does not say when that holds something back; and the handshake's own messages (tickets) must not
// meet a record of the writer's that is cut. So to OpenSSL the socket takes everything: what it does not take is kept
// here, no more than one record and the handshake's messages, for nothing more is written before that has gone.
//
// What a client can make of it: no more than ServerOptions::early_data of bytes are held; `limit` ends a handshake that
// does not, whoever has the stream; a replay is answered at most once (replay_record.hpp).
#include "core/tls/stream_early.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/server_context.hpp"

namespace fiberd::tls {

using runtime::Cancellation;

/// Of a server whose context takes early data. Without memory there is none.
void Stream::expect_early(Deadline limit) noexcept {
  SSL* const ssl = session_.get();
  if (early_ != nullptr || established_ || SSL_is_server(ssl) == 0 || SSL_get_max_early_data(ssl) == 0) return;
  early_.reset(new (std::nothrow) Early());
  if (early_ != nullptr) early_->limit = limit;
}

void Stream::tell_handshake(OnHandshake told) noexcept {
  const LockGuard guard(lock_);
  if (early_ != nullptr && early_->phase != Early::Phase::over)
    early_->on_end = told;
  else
    told.call(told.argument, told.began, *this, {});
}

EarlyData Stream::early_data() const noexcept {
  const SSL* const ssl = session_.get();
  if (ServerContext::replayed(ssl)) return EarlyData::replayed;
  switch (SSL_get_early_data_status(ssl)) {
    case SSL_EARLY_DATA_ACCEPTED: return EarlyData::accepted;
    case SSL_EARLY_DATA_REJECTED: return EarlyData::refused;
    default: return EarlyData::none;
  }
}

/// Under lock_: the handshake is over, or will never be.
void Stream::end_early(std::error_code why) noexcept {
  Early& e = *early_;
  if (e.phase == Early::Phase::over) return;
  e.phase = Early::Phase::over;
  if (!why) {
    established_ = true;
    unproved_.store(false, std::memory_order_release);
  }
  if (const OnHandshake told = std::exchange(e.on_end, {}); told.call != nullptr)
    told.call(told.argument, told.began, *this, why);
}

/// Under lock_: as far as it goes without waiting. Afterwards the handshake is over, or `want` says what is missing, or
/// it has failed.
std::error_code Stream::advance_early(Want& want) noexcept {
  Early& e = *early_;
  SSL* const ssl = session_.get();
  while (!broken_ && e.phase == Early::Phase::reading) {
    std::array<char, 4096> piece;
    std::size_t n = 0;
    ERR_clear_error();
    const int result = SSL_read_early_data(ssl, piece.data(), piece.size(), &n);
    if (result == SSL_READ_EARLY_DATA_FINISH) {
      e.phase = Early::Phase::finishing;
    } else if (result != SSL_READ_EARLY_DATA_SUCCESS) {
      if (!classify(0, want) && want == Want::nothing) broken_ = errc::ended;  // a warning that says goodbye
      break;
    }
    try {
      e.held.append(piece.data(), n);
    } catch (const std::bad_alloc&) {
      broken_ = std::make_error_code(std::errc::not_enough_memory);
    }
  }
  if (!broken_ && e.phase == Early::Phase::finishing) {
    ERR_clear_error();
    if (const int result = SSL_do_handshake(ssl); result == 1)
      end_early({});
    else if (!classify(result, want) && want == Want::nothing)
      broken_ = errc::ended;
  }
  // Nobody may have read for long: what has come in time counts first.
  if (!broken_ && e.phase != Early::Phase::over && want == Want::read && runtime::past(e.limit))
    broken_ = std::make_error_code(std::errc::timed_out);
  (void)send_unsent();  // a hello's answer; what it does not take now goes with what is written next
  if (broken_) end_early(broken_);
  return broken_;
}

/// Under lock_, of handshake().
std::error_code Stream::shake_early(Want& want) noexcept {
  Early& e = *early_;
  if (const std::error_code error = advance_early(want)) return error;
  if (!e.unsent.empty()) {
    want = Want::write;
  } else if (want == Want::read && e.left() != 0) {
    want = Want::nothing;
    e.handed_over = true;
    unproved_.store(true, std::memory_order_release);
  }
  if (want != Want::nothing) return {};
  plaintext_waits_.store(e.left() != 0 || SSL_has_pending(session_.get()) != 0, std::memory_order_relaxed);
  forget_early();
  return {};
}

/// Under lock_: from now on it is a stream like others.
bool Stream::forget_early() noexcept {
  if (early_->phase != Early::Phase::over || early_->left() != 0 || !early_->unsent.empty()) return false;
  early_.reset();
  return true;
}

/// Before close().
void Stream::leave_early() noexcept {
  const LockGuard guard(lock_);
  if (early_ == nullptr || early_->phase == Early::Phase::over) return;
  if (!broken_)
    broken_ = runtime::past(early_->limit) ? std::make_error_code(std::errc::timed_out) : make_error_code(errc::ended);
  end_early(broken_);
}

/// Nothing: it is all as with other streams.
std::optional<Result<std::size_t>> Stream::take_early(std::span<std::byte> data, Want& want) noexcept {
  Early& e = *early_;
  if (e.left() == 0 && e.phase != Early::Phase::over) (void)advance_early(want);
  const std::size_t n = std::min(data.size(), e.left());
  if (n == 0) {
    if (broken_) return Result<std::size_t>(fail(broken_));
    if (e.phase == Early::Phase::over) {
      (void)forget_early();
      return std::nullopt;
    }
    drained_ = want == Want::read;
    plaintext_waits_.store(false, std::memory_order_relaxed);
    return Result<std::size_t>(0);
  }
  want = Want::nothing;
  std::memcpy(data.data(), e.held.data() + e.at, n);
  e.at += n;
  if (e.left() == 0) {
    e.held.clear();
    e.at = 0;
  }
  const bool over = e.phase == Early::Phase::over;
  plaintext_waits_.store(e.left() != 0 || (over && SSL_has_pending(session_.get()) != 0), std::memory_order_relaxed);
  drained_ = e.left() == 0 && !over && !broken_ && socket_.drained();
  (void)forget_early();
  return Result<std::size_t>(n);
}

/// Under lock_. False: some is left, or the socket is broken.
bool Stream::send_unsent() noexcept {
  std::string& unsent = early_->unsent;
  std::size_t gone = 0;
  while (gone != unsent.size()) {
    const ssize_t n = net::sys::send(socket_.native_handle(), unsent.data() + gone, unsent.size() - gone);
    if (n == -EINTR) continue;
    if (n < 0) {
      if (!net::sys::would_block(n) && !broken_)
        broken_ = std::error_code(static_cast<int>(-n), std::system_category());
      break;
    }
    gone += static_cast<std::size_t>(n);
  }
  unsent.erase(0, gone);
  return unsent.empty();
}

/// Under lock_: OpenSSL's bytes for the socket. False: memory is out.
bool Stream::send_or_keep(std::string_view bytes) noexcept {
  std::string& unsent = early_->unsent;
  try {
    unsent.append(bytes);
  } catch (const std::bad_alloc&) {
    return false;
  }
  (void)send_unsent();
  return true;
}

/// One record, under lock_.
Result<std::size_t> Stream::write_early(std::span<const std::byte> data, Want& want) noexcept {
  if (owed_ != 0 && (data.size() < owed_ || hash_of_owed(data.first(owed_)) != owed_hash_)) {
    broken_ = errc::out_of_step;
    return fail(broken_);
  }
  if (!send_unsent()) {
    if (broken_) return fail(broken_);
    want = Want::write;
    return std::size_t{0};
  }
  if (owed_ != 0) return std::size_t{std::exchange(owed_, std::uint16_t{0})};
  SSL* const ssl = session_.get();
  std::size_t n = 0;
  ERR_clear_error();
  const bool over = early_->phase == Early::Phase::over;
  const int result =
      over ? SSL_write_ex(ssl, data.data(), data.size(), &n) : SSL_write_early_data(ssl, data.data(), data.size(), &n);
  if (result != 1) {
    if (const std::error_code error = classify(result, want)) return fail(error);
    return fail(std::errc::broken_pipe);
  }
  if (broken_) return fail(broken_);
  if (early_->unsent.empty()) {
    (void)forget_early();
    return n;
  }
  owed_ = static_cast<std::uint16_t>(n);
  owed_hash_ = hash_of_owed(data.first(n));
  want = Want::write;
  return std::size_t{0};
}

Result<void> Stream::finish_handshake(Deadline deadline, Cancellation* cancellation) noexcept {
  if (!socket_.is_open()) return fail(std::errc::bad_file_descriptor);
  while (is_early()) {
    if (runtime::past(deadline)) return fail(std::errc::timed_out);
    Want want = Want::nothing;
    Deadline limit = deadline;
    {
      const LockGuard guard(lock_);
      if (early_ == nullptr) break;
      if (const std::error_code error = advance_early(want)) return fail(error);
      plaintext_waits_.store(early_->left() != 0 || (want == Want::nothing && SSL_has_pending(session_.get()) != 0),
                             std::memory_order_relaxed);
      limit = deadline.earlier(early_->limit);
    }
    if (want == Want::nothing) break;
    if (const Result<void> waited = wait(want, limit, cancellation); !waited) return waited;
  }
  // What came behind the handshake may be in OpenSSL's hands: no edge tells of it.
  drained_ = false;
  return {};
}

}  // namespace fiberd::tls
