#pragma once
// SocketStream: a connected stream socket (TCP or Unix) as a ByteStream, and nothing beside: what an idle connection of
// a server keeps of it. TcpStream (tcp_stream.hpp) is the one to work with: it adds deadlines of its own, contexts and
// a peer that was told.
//
// Every operation tries the system call first and waits only when the kernel says so; after a short read the queue was
// empty, so the next read waits at once. Every wait obeys the call's deadline and the cancellation. At most one fiber
// reads and one writes at a time; close and shutdown may come from a third.
//
// Closing from another fiber. The descriptor's number must not be given to somebody else while a call uses it. `state_`
// counts the calls inside; close() marks it closed, wakes them with operation_canceled, and the last one out closes.
// Two atomic operations a call: a server whose connection has one fiber, which closes it too, saves them by
// set_single_owner().
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

class SocketStream : public ByteStream {
 public:
  /// Not connected: every call answers bad_file_descriptor.
  SocketStream() noexcept = default;
  /// Movable while no call is inside. Of a TcpStream: what that adds is left behind.
  SocketStream(SocketStream&& other) noexcept;
  SocketStream& operator=(SocketStream&& other) noexcept;
  ~SocketStream() override;

  /// Up to data.size() bytes; 0 at the end of the stream. Errors: timed_out, operation_canceled (also when the stream
  /// is closed meanwhile), bad_file_descriptor after close(), connection_reset, …
  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                              runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// As read_some, but never waits: operation_would_block instead.
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override;
  /// At least one byte of `data`, as many as the kernel takes at once.
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                               runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// As write_some, but never waits: operation_would_block instead.
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override;
  /// As many bytes of the parts, at most 1,024 of them, as the kernel takes at once; at least one unless all are empty.
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline = Deadline::never(),
                                                runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// Up to `count` bytes of the file `fd` from `offset`; 0 when the file ends there.
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count,
                                                  Deadline deadline = Deadline::never(),
                                                  runtime::Cancellation* cancellation = nullptr) noexcept override;

  /// From now on the calls are not counted: all of them, close() and the destructor included, come from one fiber at a
  /// time. Others may call shutdown(), shutdown_read() and queued() only, and only while they know, by a lock of their
  /// own, that the owner has not begun to close. Before the first call.
  void set_single_owner() noexcept { state_.store(kSingleOwner, std::memory_order_release); }

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
  /// The socket's peer.
  [[nodiscard]] Endpoint peer() const noexcept override;
  [[nodiscard]] Endpoint local() const noexcept;
  /// -1 when closed. For options; do not close it.
  [[nodiscard]] int native_handle() const noexcept { return fd_; }
  /// Whether the kernel holds bytes that were not read yet.
  [[nodiscard]] bool bytes_waiting() const noexcept override;
  [[nodiscard]] std::size_t queued() noexcept override;
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

 protected:
  friend class AsioStream;
  /// Takes over a connected, non-blocking socket and its descriptor.
  SocketStream(int fd, runtime::PollDescriptor& descriptor) noexcept : state_(0), fd_(fd), descriptor_(&descriptor) {}
  /// A call that is inside: while it lives the descriptor's number is ours.
  class Use {
   public:
    explicit Use(SocketStream& stream) noexcept
        : stream_(stream),
          how_(stream.state_.load(std::memory_order_relaxed) == kSingleOwner ? How::uncounted
               : stream.enter()                                              ? How::counted
                                                                             : How::not_at_all) {}
    /// Who was not counted does not count off, whatever the owner has done meanwhile.
    ~Use() {
      if (how_ == How::counted) stream_.exit();
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    explicit operator bool() const noexcept { return how_ != How::not_at_all; }

   private:
    enum class How : std::uint8_t { not_at_all, uncounted, counted };
    SocketStream& stream_;
    const How how_;
  };

 private:
  static constexpr std::uint16_t kClosed = 0x8000;
  static constexpr std::uint16_t kDestroyed = 0x4000;
  static constexpr std::uint16_t kSingleOwner = 0x2000;
  static constexpr std::uint16_t kFlags = kClosed | kDestroyed | kSingleOwner;
  [[nodiscard]] bool enter() noexcept;
  void exit() noexcept;
  void destroy() noexcept;
  template <class Call>
  [[nodiscard]] Result<std::size_t> written_by(Call call, Deadline deadline,
                                               runtime::Cancellation* cancellation) noexcept;
  template <class Call>
  [[nodiscard]] Result<void> called(Call call) noexcept;
  // Calls inside, and flags. One that reads, one that writes, and threads that shut it down: 8,191 are never there.
  std::atomic<std::uint16_t> state_{kClosed | kDestroyed};
  int fd_ = -1;
  runtime::PollDescriptor* descriptor_ = nullptr;
};

// One for each connection of a server, and most are idle.
static_assert(sizeof(SocketStream) == 24);

}  // namespace fiberd::net
