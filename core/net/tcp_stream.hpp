#pragma once
// TcpStream: a connected stream socket (TCP or Unix) for fibers: calls that read as if they blocked.
//
// SocketStream (socket_stream.hpp) tells how it waits and how it is closed. Beside the call's deadline every wait obeys
// the stream's own; the earlier wins.
//
// Under a Context. Each call has a form that takes a context first and, last, a deadline of its own (never, if none).
// A context that is done, or whose deadline is past, makes no system call. Of the deadlines (the context's, the call's,
// the stream's) the earliest counts, and the error says which: context::errc::deadline_exceeded, the context's, also
// when it equals another; std::errc::timed_out, the call's or the stream's. context::errc::canceled: the context was
// cancelled; std::errc::operation_canceled: the stream was shut down or closed. Each condition of std::errc matches
// both of a pair. The loops (read_full, write_all, …) look at the context before each step.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/socket_stream.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

/// Where bytes are counted; each may be null.
struct ByteCounters {
  metric::Counter* received = nullptr;  ///< that were read
  metric::Counter* sent = nullptr;      ///< that the kernel took
};

class TcpStream final : public SocketStream {
 public:
  /// Not connected: every call answers bad_file_descriptor.
  TcpStream() noexcept = default;
  /// Takes over a connected, non-blocking socket; closes it when it fails. Error: not_enough_memory. Never parks.
  [[nodiscard]] static Result<TcpStream> adopt(int fd) noexcept;
  /// Connects, with the keep-alive probes of KeepAlive's defaults (keep_alive.hpp). On a fiber. Errors: timed_out,
  /// operation_canceled, what connect(2) said.
  [[nodiscard]] static Result<TcpStream> connect(const Endpoint& endpoint, Deadline deadline = Deadline::never(),
                                                 runtime::Cancellation* cancellation = nullptr);
  [[nodiscard]] static Result<TcpStream> connect(const context::Context& ctx, const Endpoint& endpoint,
                                                 Deadline own = Deadline::never());
  /// Movable while no call is inside. What count_bytes() was told stays behind: whoever has taken it away may outlive
  /// the counters.
  TcpStream(TcpStream&& other) noexcept;
  TcpStream& operator=(TcpStream&& other) noexcept;
  ~TcpStream() override = default;

  /// As SocketStream's, and under the stream's own deadline.
  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                              runtime::Cancellation* cancellation = nullptr) noexcept override {
    return counted(SocketStream::read_some(data, deadline.earlier(read_deadline_), cancellation), counters_.received);
  }
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override {
    return counted(SocketStream::try_read(data), counters_.received);
  }
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override {
    return counted(SocketStream::try_write(data), counters_.sent);
  }
  /// Exactly data.size() bytes. Error connection_aborted when the stream ends before.
  [[nodiscard]] Result<void> read_full(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                       runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                               runtime::Cancellation* cancellation = nullptr) noexcept override {
    return counted(SocketStream::write_some(data, deadline.earlier(write_deadline_), cancellation), counters_.sent);
  }
  [[nodiscard]] Result<void> write_all(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                       runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline = Deadline::never(),
                                                runtime::Cancellation* cancellation = nullptr) noexcept override {
    return counted(SocketStream::writev_some(parts, deadline.earlier(write_deadline_), cancellation), counters_.sent);
  }
  /// All parts in order, in as few calls as the kernel takes. `parts` is used up (its entries change).
  [[nodiscard]] Result<void> writev_all(std::span<iovec> parts, Deadline deadline = Deadline::never(),
                                        runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count,
                                                  Deadline deadline = Deadline::never(),
                                                  runtime::Cancellation* cancellation = nullptr) noexcept override {
    return counted(SocketStream::sendfile_some(fd, offset, count, deadline.earlier(write_deadline_), cancellation),
                   counters_.sent);
  }
  /// Error io_error when the file is shorter.
  [[nodiscard]] Result<void> sendfile_all(int fd, std::uint64_t offset, std::uint64_t count,
                                          Deadline deadline = Deadline::never(),
                                          runtime::Cancellation* cancellation = nullptr) noexcept;

  // The same under a context.
  [[nodiscard]] Result<std::size_t> read_some(const context::Context& ctx, std::span<std::byte> data,
                                              Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<void> read_full(const context::Context& ctx, std::span<std::byte> data,
                                       Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<std::size_t> write_some(const context::Context& ctx, std::span<const std::byte> data,
                                               Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<void> write_all(const context::Context& ctx, std::span<const std::byte> data,
                                       Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<std::size_t> writev_some(const context::Context& ctx, std::span<const iovec> parts,
                                                Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<void> writev_all(const context::Context& ctx, std::span<iovec> parts,
                                        Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<std::size_t> sendfile_some(const context::Context& ctx, int fd, std::uint64_t offset,
                                                  std::uint64_t count, Deadline own = Deadline::never()) noexcept;
  [[nodiscard]] Result<void> sendfile_all(const context::Context& ctx, int fd, std::uint64_t offset,
                                          std::uint64_t count, Deadline own = Deadline::never()) noexcept;

  /// Deadlines for all later waits, beside each call's own. One store.
  void set_read_deadline(Deadline d) noexcept { read_deadline_ = d; }
  void set_write_deadline(Deadline d) noexcept { write_deadline_ = d; }
  void set_deadline(Deadline d) noexcept { read_deadline_ = write_deadline_ = d; }

  /// Who is at the other end: the socket's peer, or who was told to be behind it.
  [[nodiscard]] Endpoint peer() const noexcept override;
  /// The client for whom a proxy connected: peer() from now on. Before the first call. False: no memory.
  [[nodiscard]] bool set_peer(const Endpoint& client) noexcept;
  /// From now on bytes are counted there, which outlives the stream. Before others use it.
  void count_bytes(const ByteCounters& counters) noexcept { counters_ = counters; }

 private:
  [[nodiscard]] static Result<std::size_t> counted(Result<std::size_t> bytes, metric::Counter* counter) noexcept {
    if (counter != nullptr && bytes) counter->add(*bytes);
    return bytes;
  }
  TcpStream(int fd, runtime::PollDescriptor& descriptor) noexcept : SocketStream(fd, descriptor) {}
  Deadline read_deadline_;
  Deadline write_deadline_;
  ByteCounters counters_;
  std::unique_ptr<const Endpoint> told_peer_;  // few have one, so the others pay for a pointer
};

}  // namespace fiberd::net
