#pragma once
// HeldStream: a ByteStream held in place, in 24 bytes, whatever carries it: a socket's stream, or any other through one
// that passes the calls on. Beside a pointer to either of the two this saves the pointer, and a load at each call.
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "core/net/byte_stream.hpp"
#include "core/net/socket_stream.hpp"

namespace fiberd::net {

/// Passes everything on. What note_readable() has said is told when it is next read.
class ForwardedStream final : public ByteStream {
 public:
  explicit ForwardedStream(std::unique_ptr<ByteStream> stream) noexcept : stream_(std::move(stream)) {}

  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept override {
    if (!drained_) stream_->note_readable();
    return note_drained(stream_->read_some(data, deadline, cancellation));
  }
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override {
    if (!drained_) stream_->note_readable();
    return note_drained(stream_->try_read(data));
  }
  [[nodiscard]] bool bytes_waiting() const noexcept override { return stream_->bytes_waiting(); }
  [[nodiscard]] std::size_t queued() noexcept override { return stream_->queued(); }
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline,
                                               runtime::Cancellation* cancellation) noexcept override {
    return stream_->write_some(data, deadline, cancellation);
  }
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override {
    return stream_->try_write(data);
  }
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline,
                                                runtime::Cancellation* cancellation) noexcept override {
    return stream_->writev_some(parts, deadline, cancellation);
  }
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                  runtime::Cancellation* cancellation) noexcept override {
    return stream_->sendfile_some(fd, offset, count, deadline, cancellation);
  }
  [[nodiscard]] Result<void> take_leave(Deadline deadline, runtime::Cancellation* cancellation) noexcept override {
    return stream_->take_leave(deadline, cancellation);
  }
  Result<void> shutdown_write() noexcept override { return stream_->shutdown_write(); }
  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override {
    return stream_->go_idle(handler, argument, deadline);
  }
  [[nodiscard]] bool claim_idle() noexcept override { return stream_->claim_idle(); }
  [[nodiscard]] bool is_idle() const noexcept override { return stream_->is_idle(); }
  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override {
    return stream_->watch_hang_up(watch);
  }
  void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept override { stream_->unwatch_hang_up(watch); }
  [[nodiscard]] bool hung_up() const noexcept override { return stream_->hung_up(); }
  [[nodiscard]] bool was_reset() const noexcept override { return stream_->was_reset(); }
  [[nodiscard]] Endpoint peer() const noexcept override { return stream_->peer(); }
  [[nodiscard]] std::string_view application_protocol() const noexcept override {
    return stream_->application_protocol();
  }
  [[nodiscard]] const TlsPeer* tls_peer() const noexcept override { return stream_->tls_peer(); }
  [[nodiscard]] bool is_early() const noexcept override { return stream_->is_early(); }
  [[nodiscard]] Result<void> finish_handshake(Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept override {
    const Result<void> done = stream_->finish_handshake(deadline, cancellation);
    drained_ = stream_->drained();
    return done;
  }
  void shutdown() noexcept override { stream_->shutdown(); }
  [[nodiscard]] bool is_shut_down() const noexcept override { return stream_->is_shut_down(); }
  void close() noexcept override { stream_->close(); }

 private:
  Result<std::size_t> note_drained(Result<std::size_t> n) noexcept {
    drained_ = stream_->drained();
    return n;
  }
  std::unique_ptr<ByteStream> stream_;
};

/// Not movable: what it holds is used by others.
class HeldStream {
 public:
  /// One fiber at a time uses and closes it: set_single_owner().
  explicit HeldStream(SocketStream&& socket) noexcept {
    ::new (static_cast<void*>(room_)) SocketStream(std::move(socket));
    static_cast<SocketStream&>(**this).set_single_owner();
  }
  explicit HeldStream(std::unique_ptr<ByteStream> stream) noexcept {
    ::new (static_cast<void*>(room_)) ForwardedStream(std::move(stream));
  }
  HeldStream(const HeldStream&) = delete;
  HeldStream& operator=(const HeldStream&) = delete;
  ~HeldStream() { (**this).~ByteStream(); }

  [[nodiscard]] ByteStream& operator*() noexcept { return *std::launder(reinterpret_cast<ByteStream*>(room_)); }
  [[nodiscard]] const ByteStream& operator*() const noexcept {
    return *std::launder(reinterpret_cast<const ByteStream*>(room_));
  }
  [[nodiscard]] ByteStream* operator->() noexcept { return &**this; }
  [[nodiscard]] const ByteStream* operator->() const noexcept { return &**this; }

 private:
  static_assert(sizeof(ForwardedStream) <= sizeof(SocketStream));
  alignas(SocketStream) std::byte room_[sizeof(SocketStream)];
};

static_assert(sizeof(HeldStream) == 24);

}  // namespace fiberd::net
