#include "core/http/h2/tunnel.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "core/base/bug.hpp"
#include "core/http/file_piece.hpp"
#include "core/http/h1/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {

static constexpr std::size_t kTunnelPending = std::size_t{16} * 1024;

// ---------------------------------------------------------------------------------------------- reading

/// Under the mutex. operation_would_block: nothing is there.
Result<std::size_t> Tunnel::take(std::span<std::byte> data) noexcept {
  Stream& s = stream_;
  if (shut_down_) return fail(std::errc::operation_canceled);
  if (s.closed_ && s.in_.empty() && (!s.in_over_ || s.cut_)) return fail(s.gone_error());
  if (s.session_.lost_) return fail(std::errc::connection_reset);
  if (s.in_.empty()) {
    if (s.in_over_ || s.session_.client_ended_) return 0;
    return fail(std::errc::operation_would_block);
  }
  const std::size_t n = std::min(data.size(), s.in_.size());
  if (n != 0) std::memcpy(data.data(), s.in_.data(), n);
  s.in_.erase(0, n);
  s.received_ += n;
  drained_ = s.in_.empty();
  if (!s.whole_) (void)nghttp2_session_consume(s.session_.ng_, s.id_, n);
  s.session_.schedule_write();
  return n;
}

Result<std::size_t> Tunnel::read_some(std::span<std::byte> data, Deadline deadline,
                                      runtime::Cancellation* cancellation) noexcept {
  // As sockets do: whoever sends without end shall not make his reader miss the time.
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  Stream& s = stream_;
  Stream::Held held(s.session_.mutex_);
  for (;;) {
    Result<std::size_t> n = take(data);
    if (n || n.error() != std::errc::operation_would_block) return n;
    const runtime::Wake wake = s.wait(held, s.reader_, runtime::WaitReason::io_read, deadline, cancellation);
    if (wake != runtime::Wake::ready && s.in_.empty()) return fail(runtime::to_error(wake));
  }
}

Result<std::size_t> Tunnel::try_read(std::span<std::byte> data) noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  return take(data);
}

bool Tunnel::bytes_waiting() const noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  return !stream_.in_.empty();
}

// ---------------------------------------------------------------------------------------------- writing

Result<std::size_t> Tunnel::write_some(std::span<const std::byte> data, Deadline deadline,
                                       runtime::Cancellation* cancellation) noexcept {
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  Stream& s = stream_;
  Stream::Held held(s.session_.mutex_);
  if (shut_down_) return fail(std::errc::operation_canceled);
  if (s.is_gone() || s.eof_) return fail(s.gone_error());
  if (data.empty()) return 0;
  s.direct_ = {reinterpret_cast<const char*>(data.data()), data.size()};
  s.submit();
  while (!s.direct_.empty()) {
    if (s.is_gone() || shut_down_) {
      s.direct_ = {};
      return fail(shut_down_ ? std::make_error_code(std::errc::operation_canceled) : s.gone_error());
    }
    const runtime::Wake wake = s.wait(held, s.writer_, runtime::WaitReason::io_write, deadline, cancellation);
    if (wake == runtime::Wake::ready || s.direct_.empty()) continue;
    const std::size_t moved = data.size() - s.direct_.size();
    s.direct_ = {};
    if (moved == 0) return fail(runtime::to_error(wake));
    return moved;
  }
  return data.size();
}

Result<std::size_t> Tunnel::try_write(std::span<const std::byte> data) noexcept {
  Stream& s = stream_;
  const Stream::Held held(s.session_.mutex_);
  if (shut_down_) return fail(std::errc::operation_canceled);
  if (s.is_gone() || s.eof_) return fail(s.gone_error());
  if (data.empty()) return 0;
  const std::size_t n = std::min(data.size(), kTunnelPending - std::min(kTunnelPending, s.pending_.size()));
  if (n == 0) return fail(std::errc::operation_would_block);
  try {
    s.pending_.append(reinterpret_cast<const char*>(data.data()), n);
  } catch (const std::bad_alloc&) {
    return fail(std::errc::not_enough_memory);
  }
  s.submit();
  return n;
}

Result<std::size_t> Tunnel::writev_some(std::span<const iovec> parts, Deadline deadline,
                                        runtime::Cancellation* cancellation) noexcept {
  for (const iovec& part : parts)
    if (part.iov_len != 0)
      return write_some({static_cast<const std::byte*>(part.iov_base), part.iov_len}, deadline, cancellation);
  return 0;
}

Result<std::size_t> Tunnel::sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                          runtime::Cancellation* cancellation) noexcept {
  std::array<char, 8192> piece;
  const std::size_t wanted = std::min<std::uint64_t>(count, piece.size());
  const std::int64_t n = read_piece(fd, piece.data(), wanted, offset);
  if (n < 0) return fail_errno(static_cast<int>(n));
  if (n == 0) return 0;
  return write_some({reinterpret_cast<const std::byte*>(piece.data()), static_cast<std::size_t>(n)}, deadline,
                    cancellation);
}

Result<void> Tunnel::shutdown_write() noexcept {
  Stream& s = stream_;
  const Stream::Held held(s.session_.mutex_);
  s.eof_ = true;
  s.submit();
  return {};
}

// ---------------------------------------------------------------------------------------------- the rest

bool Tunnel::go_idle(const runtime::IdleHandler& /*handler*/, void* /*argument*/, Deadline /*deadline*/) noexcept {
  report_bug("an upgraded stream was sent idle");
  return false;
}

Result<void> Tunnel::watch_hang_up(runtime::HangUpWatch& /*watch*/) noexcept {
  return fail(std::errc::operation_not_supported);
}

bool Tunnel::hung_up() const noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  return stream_.in_over_ || stream_.is_gone() || stream_.session_.client_ended_;
}

bool Tunnel::was_reset() const noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  return stream_.is_gone();
}

void Tunnel::shutdown() noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  shut_down_ = true;
  stream_.wake_reader();
  stream_.wake_writer();
}

bool Tunnel::is_shut_down() const noexcept {
  const Stream::Held held(stream_.session_.mutex_);
  return shut_down_ || stream_.session_.lost_;
}

Result<net::ByteStream*> Stream::upgrade(std::string_view protocol, std::span<const Field> fields) {
  if (head_.protocol().empty() || !equals_ignore_case(head_.protocol(), protocol) || tunnel_ != nullptr)
    return fail(std::errc::operation_not_permitted);
  AnswerStart start;
  start.head.fields = fields;
  start.server = site_->options().server_name;
  auto tunnel = std::make_unique<Tunnel>(*this);
  upgraded_ = true;
  if (const Result<void> done = send_head(start); !done) {
    upgraded_ = false;
    return fail(done.error());
  }
  const Held held(session_.mutex_);
  tunnel_ = std::move(tunnel);
  submit();
  return tunnel_.get();
}

}  // namespace fiberd::http::h2
