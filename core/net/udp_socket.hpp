#pragma once
// UdpSocket: datagrams for fibers, one by one or many with one system call.
//
// As in TcpStream, a call is tried first and waits only when the kernel says so; after a batch that was not full the
// queue was empty, so the next receive waits at once. What the kernel dropped because the socket's buffer was full is
// counted (SO_RXQ_OVFL, socket(7)): the kernel tells it with the datagrams that follow, so a loss behind the last one
// is not known yet.
//
// At most one fiber receives and one sends at a time. shutdown() may come from any other fiber; the socket must not be
// moved or destroyed while a call is inside.
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

struct UdpOptions {
  int receive_buffer = 0;  ///< bytes (SO_RCVBUF, capped by net.core.rmem_max); 0: the system's default
  bool dual_stack = true;  ///< "[::]" takes IPv4 too
};

struct Datagram {
  std::size_t size = 0;    ///< bytes stored
  bool truncated = false;  ///< it was longer than the room for it; the rest is lost
  Endpoint peer;           ///< who sent it
};

/// Room for the datagrams of one receive_batch(). Not thread-safe; movable.
class DatagramBatch {
 public:
  /// For up to `count` (1 … 1024) datagrams of `size` bytes. Throws std::bad_alloc.
  DatagramBatch(std::size_t count, std::size_t size);
  DatagramBatch(DatagramBatch&&) noexcept = default;
  DatagramBatch& operator=(DatagramBatch&&) noexcept = default;

  /// Of the last receive_batch(). They hold until the next.
  [[nodiscard]] std::size_t size() const noexcept { return filled_; }
  [[nodiscard]] std::span<const std::byte> operator[](std::size_t i) const noexcept;
  [[nodiscard]] bool truncated(std::size_t i) const noexcept;
  [[nodiscard]] Endpoint peer(std::size_t i) const noexcept;

 private:
  friend class UdpSocket;
  struct Slot {
    iovec part;
    sockaddr_storage address;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(std::uint32_t))];
  };
  void prepare() noexcept;
  std::size_t each_;
  std::size_t filled_ = 0;
  std::unique_ptr<std::byte[]> data_;
  std::vector<Slot> slots_;
  std::vector<mmsghdr> messages_;
};

class UdpSocket {
 public:
  /// Not open: every call answers bad_file_descriptor.
  UdpSocket() noexcept = default;
  /// For receiving and sending. Port 0: a free one, see local(). Errors: address_in_use, permission_denied,
  /// address_not_available, invalid_argument (a Unix socket), …
  [[nodiscard]] static Result<UdpSocket> bind(const Endpoint& endpoint, const UdpOptions& options = {});
  /// One that another process has bound, `fd`, which is its own from now on, also when it fails. Errors: of the system.
  [[nodiscard]] static Result<UdpSocket> adopt(int fd, const UdpOptions& options = {});
  /// For send(): datagrams go to `peer`, and only its datagrams come in. Never waits.
  [[nodiscard]] static Result<UdpSocket> connect(const Endpoint& peer);
  UdpSocket(UdpSocket&& other) noexcept;
  UdpSocket& operator=(UdpSocket&& other) noexcept;
  ~UdpSocket();

  /// Waits for one datagram. On a fiber. Errors: timed_out, operation_canceled (also by shutdown()), those of
  /// recvmsg(2); for a connected socket also what ICMP answered to an earlier send (connection_refused).
  [[nodiscard]] Result<Datagram> receive_from(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                              runtime::Cancellation* cancellation = nullptr) noexcept;
  /// Errors of the context: context::errc. One that is done already makes no system call.
  [[nodiscard]] Result<Datagram> receive_from(const context::Context& ctx, std::span<std::byte> data) noexcept;
  /// Waits for at least one datagram and takes as many as there are, at most `batch` has room for; how many.
  [[nodiscard]] Result<std::size_t> receive_batch(DatagramBatch& batch, Deadline deadline = Deadline::never(),
                                                  runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] Result<std::size_t> receive_batch(const context::Context& ctx, DatagramBatch& batch) noexcept;
  /// As receive_batch, but never waits: operation_would_block instead.
  [[nodiscard]] Result<std::size_t> try_receive_batch(DatagramBatch& batch) noexcept;

  /// One datagram, whole or not at all; waits while the socket's buffer is full. Success says that the kernel took it.
  /// Errors: message_size (no datagram is that large), timed_out, operation_canceled, those of sendto(2).
  [[nodiscard]] Result<void> send_to(std::span<const std::byte> data, const Endpoint& peer,
                                     Deadline deadline = Deadline::never(),
                                     runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] Result<void> send_to(const context::Context& ctx, std::span<const std::byte> data,
                                     const Endpoint& peer) noexcept;
  /// As send_to, to the peer of connect(); connection_refused: nobody listened there when an earlier one arrived.
  [[nodiscard]] Result<void> send(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                  runtime::Cancellation* cancellation = nullptr) noexcept;

  /// SO_RCVBUF, as UdpOptions. Errors: of the system.
  [[nodiscard]] Result<void> set_receive_buffer(int bytes) const noexcept;
  /// From any fiber: waits inside and later ones end with operation_canceled.
  void shutdown() noexcept;
  /// Not while a call is inside.
  void close() noexcept;

  /// Datagrams that the kernel has dropped for want of room, as far as it has told. Of the receiving fiber.
  [[nodiscard]] std::uint64_t kernel_drops() const noexcept { return drops_; }
  /// With the port that was chosen for port 0.
  [[nodiscard]] Endpoint local() const noexcept;
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  /// -1 when closed. For options; do not close it.
  [[nodiscard]] int native_handle() const noexcept { return fd_; }

 private:
  /// `fd` is its own, also when that fails.
  [[nodiscard]] static Result<UdpSocket> take(int fd) noexcept;
  [[nodiscard]] static Result<UdpSocket> open(const Endpoint& endpoint) noexcept;
  [[nodiscard]] Result<void> send_bytes(std::span<const std::byte> data, const sockaddr* address, socklen_t size,
                                        Deadline deadline, runtime::Cancellation* cancellation) noexcept;
  void note_drops(const mmsghdr* messages, std::size_t count) noexcept;
  int fd_ = -1;
  runtime::PollDescriptor* descriptor_ = nullptr;
  std::uint64_t drops_ = 0;
  std::uint32_t told_drops_ = 0;  // the kernel's count as it last told it; wraps
  bool drained_ = false;
};

}  // namespace fiberd::net
