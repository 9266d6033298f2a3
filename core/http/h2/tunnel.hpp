#pragma once
// h2::Tunnel: the bytes of a stream that an extended CONNECT has opened (RFC 8441), as a ByteStream: DATA frames both
// ways. What one WebSocket has is as on a connection of its own, but for the windows, which are the stream's.
#include "core/http/h2/stream.hpp"
#include "core/net/byte_stream.hpp"

namespace fiberd::http::h2 {

class Tunnel final : public net::ByteStream {
 public:
  explicit Tunnel(Stream& stream) noexcept : stream_(stream) {}

  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override;
  [[nodiscard]] bool bytes_waiting() const noexcept override;
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline,
                                               runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override;
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline,
                                                runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                  runtime::Cancellation* cancellation) noexcept override;
  Result<void> shutdown_write() noexcept override;
  /// Never: a handler is at work.
  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override;
  [[nodiscard]] bool claim_idle() noexcept override { return false; }
  [[nodiscard]] bool is_idle() const noexcept override { return false; }
  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override;
  void unwatch_hang_up(runtime::HangUpWatch& /*watch*/) noexcept override {}
  [[nodiscard]] bool hung_up() const noexcept override;
  [[nodiscard]] bool was_reset() const noexcept override;
  [[nodiscard]] net::Endpoint peer() const noexcept override { return stream_.peer(); }
  void shutdown() noexcept override;
  [[nodiscard]] bool is_shut_down() const noexcept override;
  void close() noexcept override { shutdown(); }

 private:
  [[nodiscard]] Result<std::size_t> take(std::span<std::byte> data) noexcept;
  Stream& stream_;
  bool shut_down_ = false;  // under the session's mutex
};

}  // namespace fiberd::http::h2
