#pragma once
// Tunnel: the bytes of a connection that has left HTTP by an upgrade: first what was read ahead already, then the
// connection's own stream. Counts both ways.
#include "core/http/h1/stream.hpp"
#include "core/net/byte_stream.hpp"

namespace fiberd::http {

class H1Stream::Tunnel final : public net::ByteStream {
 public:
  /// `ahead` must live as long as the tunnel; what is written is added to `sent`, too.
  Tunnel(net::ByteStream& stream, std::string_view ahead, std::uint64_t& sent) noexcept
      : stream_(stream), ahead_(ahead), sent_(sent) {}
  // When nobody reads or writes any more.
  [[nodiscard]] std::uint64_t read() const noexcept { return read_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept override {
    return note_read(ahead_.empty() ? stream_.read_some(data, deadline, cancellation) : take(data));
  }
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override {
    return note_read(ahead_.empty() ? stream_.try_read(data) : take(data));
  }
  [[nodiscard]] bool bytes_waiting() const noexcept override { return !ahead_.empty() || stream_.bytes_waiting(); }
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline,
                                               runtime::Cancellation* cancellation) noexcept override {
    return note_written(stream_.write_some(data, deadline, cancellation));
  }
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override {
    return note_written(stream_.try_write(data));
  }
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline,
                                                runtime::Cancellation* cancellation) noexcept override {
    return note_written(stream_.writev_some(parts, deadline, cancellation));
  }
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                  runtime::Cancellation* cancellation) noexcept override {
    return note_written(stream_.sendfile_some(fd, offset, count, deadline, cancellation));
  }
  [[nodiscard]] Result<void> take_leave(Deadline deadline, runtime::Cancellation* cancellation) noexcept override {
    return stream_.take_leave(deadline, cancellation);
  }
  Result<void> shutdown_write() noexcept override { return stream_.shutdown_write(); }

  /// Never: a handler is at work.
  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override;
  [[nodiscard]] bool claim_idle() noexcept override { return false; }
  [[nodiscard]] bool is_idle() const noexcept override { return false; }
  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override;
  void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept override;
  [[nodiscard]] bool hung_up() const noexcept override { return stream_.hung_up(); }
  [[nodiscard]] bool was_reset() const noexcept override { return stream_.was_reset(); }
  [[nodiscard]] net::Endpoint peer() const noexcept override { return stream_.peer(); }
  [[nodiscard]] std::string_view application_protocol() const noexcept override {
    return stream_.application_protocol();
  }
  [[nodiscard]] const net::TlsPeer* tls_peer() const noexcept override { return stream_.tls_peer(); }
  void shutdown() noexcept override { stream_.shutdown(); }
  [[nodiscard]] bool is_shut_down() const noexcept override { return stream_.is_shut_down(); }
  /// As shutdown(): the connection closes when the handler has returned.
  void close() noexcept override { stream_.shutdown(); }

 private:
  [[nodiscard]] std::size_t take(std::span<std::byte> data) noexcept;
  Result<std::size_t> note_read(Result<std::size_t> n) noexcept {
    read_ += n ? *n : 0;
    return n;
  }
  Result<std::size_t> note_written(Result<std::size_t> n) noexcept {
    written_ += n ? *n : 0;
    sent_ += n ? *n : 0;
    return n;
  }
  net::ByteStream& stream_;
  // Who reads and who writes may be two fibers.
  std::string_view ahead_;
  std::uint64_t read_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t& sent_;
};

}  // namespace fiberd::http
