#pragma once
// TcpStream: a connected stream socket (TCP or Unix) for fibers: calls that read as if they blocked.
//
// Every operation tries the system call first and waits only when the kernel says so; after a short read the queue was
// empty, so the next read waits at once. Every wait obeys the call's deadline, the stream's own deadline (the earlier
// wins) and the cancellation. At most one fiber reads and one writes at a time; close and shutdown may come from a
// third.
//
// Under a Context. Each call has a form that takes a context first and, last, a deadline of its own (never, if none).
// A context that is done, or whose deadline is past, makes no system call. Of the deadlines (the context's, the call's,
// the stream's) the earliest counts, and the error says which: context::errc::deadline_exceeded, the context's, also
// when it equals another; std::errc::timed_out, the call's or the stream's. context::errc::canceled: the context was
// cancelled; std::errc::operation_canceled: the stream was shut down or closed. Each condition of std::errc matches
// both of a pair. The loops (read_full, write_all, …) look at the context before each step.
//
// Closing from another fiber. The descriptor's number must not be given to somebody else while a call uses it. `state_`
// counts the calls inside; close() marks it closed, wakes them with operation_canceled, and the last one out closes.
// Two atomic operations a call: a server whose connection has one fiber, which closes it too, saves them by
// set_single_owner().
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

class TcpStream final : public ByteStream {
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
  /// Movable while no call is inside.
  TcpStream(TcpStream&& other) noexcept;
  TcpStream& operator=(TcpStream&& other) noexcept;
  ~TcpStream() override;

  /// Up to data.size() bytes; 0 at the end of the stream. Errors: timed_out, operation_canceled (also when the stream
  /// is closed meanwhile), bad_file_descriptor after close(), connection_reset, …
  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                              runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// As read_some, but never waits: operation_would_block instead.
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override;
  /// Exactly data.size() bytes. Error connection_aborted when the stream ends before.
  [[nodiscard]] Result<void> read_full(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                       runtime::Cancellation* cancellation = nullptr) noexcept;
  /// At least one byte of `data`, as many as the kernel takes at once.
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                               runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// As write_some, but never waits: operation_would_block instead.
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override;
  [[nodiscard]] Result<void> write_all(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                       runtime::Cancellation* cancellation = nullptr) noexcept;
  /// As many bytes of the parts, at most 1,024 of them, as the kernel takes at once; at least one unless all are empty.
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline = Deadline::never(),
                                                runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// All parts in order, in as few calls as the kernel takes. `parts` is used up (its entries change).
  [[nodiscard]] Result<void> writev_all(std::span<iovec> parts, Deadline deadline = Deadline::never(),
                                        runtime::Cancellation* cancellation = nullptr) noexcept;
  /// Up to `count` bytes of the file `fd` from `offset`; 0 when the file ends there.
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count,
                                                  Deadline deadline = Deadline::never(),
                                                  runtime::Cancellation* cancellation = nullptr) noexcept override;
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

  /// From now on the calls are not counted: all of them, close() and the destructor included, come from one fiber at a
  /// time. Others may call shutdown() and shutdown_read() only, and only while they know, by a lock of their own, that
  /// the owner has not begun to close. Before the first call.
  void set_single_owner() noexcept { state_.store(kSingleOwner, std::memory_order_release); }

  /// Deadlines for all later waits, beside each call's own. One store.
  void set_read_deadline(Deadline d) noexcept { read_deadline_ = d; }
  void set_write_deadline(Deadline d) noexcept { write_deadline_ = d; }
  void set_deadline(Deadline d) noexcept { read_deadline_ = write_deadline_ = d; }

  /// Sends FIN; reading goes on.
  Result<void> shutdown_write() noexcept override;
  /// From any fiber: reading ends once what has arrived is read; a read that waits sees the end of the stream.
  Result<void> shutdown_read() noexcept;
  /// From any fiber: waits inside and later ones end with operation_canceled. The socket stays open until close().
  void shutdown() noexcept override;
  /// From any fiber, also while others are inside: they end with operation_canceled. Idempotent.
  void close() noexcept override;
  [[nodiscard]] bool is_open() const noexcept { return (state_.load(std::memory_order_acquire) & kClosed) == 0; }

  Result<void> set_no_delay(bool on) noexcept;
  /// Who is at the other end: the socket's peer, or who was told to be behind it.
  [[nodiscard]] Endpoint peer() const noexcept override;
  /// The client for whom a proxy connected: peer() from now on. Before the first call. False: no memory.
  [[nodiscard]] bool set_peer(const Endpoint& client) noexcept;
  [[nodiscard]] Endpoint local() const noexcept;
  /// -1 when closed. For options; do not close it.
  [[nodiscard]] int native_handle() const noexcept { return fd_; }
  /// Whether the kernel holds bytes that were not read yet.
  [[nodiscard]] bool bytes_waiting() const noexcept override;
  [[nodiscard]] runtime::PollDescriptor* descriptor() const noexcept { return descriptor_; }

  // The descriptor's own (poll_descriptor.hpp), while the stream is open.
  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override {
    return descriptor_->go_idle(handler, argument, deadline);
  }
  [[nodiscard]] bool claim_idle() noexcept override { return descriptor_->claim_idle(); }
  [[nodiscard]] bool is_idle() const noexcept override { return descriptor_->is_idle(); }
  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override {
    return descriptor_->watch_hang_up(watch);
  }
  void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept override { descriptor_->unwatch_hang_up(watch); }
  [[nodiscard]] bool hung_up() const noexcept override { return descriptor_->hung_up(); }
  [[nodiscard]] bool was_reset() const noexcept override { return descriptor_->was_reset(); }
  [[nodiscard]] bool is_shut_down() const noexcept override { return descriptor_->is_shut_down(); }

 private:
  friend class AsioStream;
  static constexpr std::uint32_t kClosed = 0x8000'0000;
  static constexpr std::uint32_t kDestroyed = 0x4000'0000;
  static constexpr std::uint32_t kSingleOwner = 0x2000'0000;
  static constexpr std::uint32_t kFlags = kClosed | kDestroyed | kSingleOwner;
  class Use;
  [[nodiscard]] bool enter() noexcept;
  void exit() noexcept;
  void destroy() noexcept;
  int fd_ = -1;
  std::atomic<std::uint32_t> state_{kClosed | kDestroyed};  // calls inside, and flags
  runtime::PollDescriptor* descriptor_ = nullptr;
  Deadline read_deadline_;
  Deadline write_deadline_;
  std::unique_ptr<const Endpoint> told_peer_;  // few have one, so the others pay for a pointer
};

// One per connection: 10,000 of them count.
static_assert(sizeof(TcpStream) <= 64);

}  // namespace fiberd::net
