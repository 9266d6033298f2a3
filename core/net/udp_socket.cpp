#include "core/net/udp_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/context/waits.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

using runtime::Cancellation;
using runtime::Direction;
using runtime::WaitReason;

/// What a wait under `ctx` ended with, said as the context says it.
static std::error_code told_by(const context::Context& ctx, std::error_code error) noexcept {
  if (error == std::make_error_code(std::errc::timed_out)) return context::to_error(runtime::Wake::timeout, ctx);
  if (error == std::make_error_code(std::errc::operation_canceled) && ctx.done()) return ctx.err();
  return error;
}

// ------------------------------------------------------------------------------------------------ DatagramBatch

DatagramBatch::DatagramBatch(std::size_t count, std::size_t size)
    : each_(size), data_(new std::byte[count * size]), slots_(count), messages_(count) {}

void DatagramBatch::prepare() noexcept {
  filled_ = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    slot.part = {data_.get() + i * each_, each_};
    msghdr& header = messages_[i].msg_hdr;
    header.msg_name = &slot.address;
    header.msg_namelen = sizeof slot.address;
    header.msg_iov = &slot.part;
    header.msg_iovlen = 1;
    header.msg_control = slot.control;
    header.msg_controllen = sizeof slot.control;
    header.msg_flags = 0;
  }
}

std::span<const std::byte> DatagramBatch::operator[](std::size_t i) const noexcept {
  return {data_.get() + i * each_, std::min<std::size_t>(messages_[i].msg_len, each_)};
}

bool DatagramBatch::truncated(std::size_t i) const noexcept {
  return (messages_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}

Endpoint DatagramBatch::peer(std::size_t i) const noexcept {
  return Endpoint::from(reinterpret_cast<const sockaddr*>(&slots_[i].address), messages_[i].msg_hdr.msg_namelen);
}

// ------------------------------------------------------------------------------------------------ UdpSocket

Result<UdpSocket> UdpSocket::take(int fd) noexcept {
  const Result<runtime::PollDescriptor*> descriptor = runtime::PollDescriptor::open(fd);
  if (!descriptor) {
    sys::close(fd);
    return fail(descriptor.error());
  }
  UdpSocket s;
  s.fd_ = fd;
  s.descriptor_ = *descriptor;
  return s;
}

Result<UdpSocket> UdpSocket::open(const Endpoint& endpoint) noexcept {
  if (endpoint.family() != AF_INET && endpoint.family() != AF_INET6) return fail(std::errc::invalid_argument);
  const int fd = sys::socket(endpoint.family(), SOCK_DGRAM, 0);
  if (fd < 0) return fail_errno(fd);
  return take(fd);
}

Result<UdpSocket> UdpSocket::bind(const Endpoint& endpoint, const UdpOptions& options) {
  Result<UdpSocket> s = open(endpoint);
  if (!s) return s;
  int r = 0;
  if (endpoint.family() == AF_INET6) r = sys::setsockopt(s->fd_, IPPROTO_IPV6, IPV6_V6ONLY, options.dual_stack ? 0 : 1);
  if (r == 0 && options.receive_buffer > 0) r = sys::setsockopt(s->fd_, SOL_SOCKET, SO_RCVBUF, options.receive_buffer);
  if (r == 0) r = sys::setsockopt(s->fd_, SOL_SOCKET, SO_RXQ_OVFL, 1);
  if (r == 0) r = sys::bind(s->fd_, endpoint.data(), endpoint.size());
  if (r < 0) return fail_errno(r);
  return s;
}

Result<UdpSocket> UdpSocket::adopt(int fd, const UdpOptions& options) {
  Result<UdpSocket> s = take(fd);
  if (!s) return s;
  int r = sys::make_own(fd);
  if (r == 0 && options.receive_buffer > 0) r = sys::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer);
  if (r == 0) r = sys::setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
  if (r < 0) return fail_errno(r);
  // What was dropped before us is not ours to count.
  s->told_drops_ = sys::dropped(fd);
  return s;
}

Result<UdpSocket> UdpSocket::connect(const Endpoint& peer) {
  Result<UdpSocket> s = open(peer);
  if (!s) return s;
  if (const int r = sys::connect(s->fd_, peer.data(), peer.size()); r < 0) return fail_errno(r);
  return s;
}

UdpSocket::UdpSocket(UdpSocket&& o) noexcept
    : fd_(std::exchange(o.fd_, -1)),
      descriptor_(std::exchange(o.descriptor_, nullptr)),
      drops_(o.drops_),
      told_drops_(o.told_drops_),
      drained_(o.drained_) {}

UdpSocket& UdpSocket::operator=(UdpSocket&& o) noexcept {
  if (this == &o) return *this;
  close();
  fd_ = std::exchange(o.fd_, -1);
  descriptor_ = std::exchange(o.descriptor_, nullptr);
  drops_ = o.drops_;
  told_drops_ = o.told_drops_;
  drained_ = o.drained_;
  return *this;
}

UdpSocket::~UdpSocket() { close(); }

void UdpSocket::close() noexcept {
  if (fd_ < 0) return;
  descriptor_->close();
  sys::close(fd_);
  fd_ = -1;
  descriptor_ = nullptr;
}

void UdpSocket::shutdown() noexcept {
  if (descriptor_ != nullptr) descriptor_->shutdown();
}

void UdpSocket::note_drops(const mmsghdr* messages, std::size_t count) noexcept {
  // Counted since the socket was made and sent along with each datagram once it is not 0: the last one knows most.
  for (std::size_t i = count; i-- > 0;) {
    msghdr* const header = const_cast<msghdr*>(&messages[i].msg_hdr);
    for (cmsghdr* c = CMSG_FIRSTHDR(header); c != nullptr; c = CMSG_NXTHDR(header, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL) continue;
      std::uint32_t told = 0;
      std::memcpy(&told, CMSG_DATA(c), sizeof told);
      drops_ += told - told_drops_;
      told_drops_ = told;
      return;
    }
  }
}

Result<std::size_t> UdpSocket::try_receive_batch(DatagramBatch& batch) noexcept {
  batch.filled_ = 0;
  if (fd_ < 0) return fail(std::errc::bad_file_descriptor);
  const auto room = static_cast<unsigned>(batch.messages_.size());
  for (;;) {
    batch.prepare();
    const int n = sys::recvmmsg(fd_, batch.messages_.data(), room);
    if (n == -EINTR) continue;
    if (n >= 0) {
      batch.filled_ = static_cast<std::size_t>(n);
      // An error of a connected socket is told after the datagrams that came before it, without another edge.
      drained_ = static_cast<unsigned>(n) < room && !descriptor_->hung_up();
      note_drops(batch.messages_.data(), batch.filled_);
      return batch.filled_;
    }
    drained_ = sys::would_block(n);
    if (drained_) return fail(std::errc::operation_would_block);
    return fail_errno(n);
  }
}

Result<std::size_t> UdpSocket::receive_batch(DatagramBatch& batch, Deadline deadline,
                                             Cancellation* cancellation) noexcept {
  batch.filled_ = 0;
  if (fd_ < 0) return fail(std::errc::bad_file_descriptor);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  if (cancellation != nullptr && cancellation->canceled()) return fail(std::errc::operation_canceled);
  for (;;) {
    if (!drained_) {
      const Result<std::size_t> n = try_receive_batch(batch);
      if (n) {
        runtime::spend_budget();
        return n;
      }
      if (n.error() != std::make_error_code(std::errc::operation_would_block)) return n;
    }
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::read, WaitReason::io_read, deadline, cancellation)))
      return fail(error);
    drained_ = false;
  }
}

Result<std::size_t> UdpSocket::receive_batch(const context::Context& ctx, DatagramBatch& batch) noexcept {
  batch.filled_ = 0;
  if (const std::error_code error = ctx.err()) return fail(error);
  const Result<std::size_t> n = receive_batch(batch, ctx.deadline(), ctx.cancellation());
  return n ? n : fail(told_by(ctx, n.error()));
}

Result<Datagram> UdpSocket::receive_from(std::span<std::byte> data, Deadline deadline,
                                         Cancellation* cancellation) noexcept {
  if (fd_ < 0) return fail(std::errc::bad_file_descriptor);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  if (cancellation != nullptr && cancellation->canceled()) return fail(std::errc::operation_canceled);
  iovec part{data.data(), data.size()};
  sockaddr_storage address{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(std::uint32_t))];
  for (;;) {
    if (!drained_) {
      mmsghdr message{};
      message.msg_hdr.msg_name = &address;
      message.msg_hdr.msg_namelen = sizeof address;
      message.msg_hdr.msg_iov = &part;
      message.msg_hdr.msg_iovlen = 1;
      message.msg_hdr.msg_control = control;
      message.msg_hdr.msg_controllen = sizeof control;
      const int n = sys::recvmmsg(fd_, &message, 1);
      if (n == 1) {
        note_drops(&message, 1);
        runtime::spend_budget();
        return Datagram{std::min<std::size_t>(message.msg_len, data.size()),
                        (message.msg_hdr.msg_flags & MSG_TRUNC) != 0,
                        Endpoint::from(reinterpret_cast<const sockaddr*>(&address), message.msg_hdr.msg_namelen)};
      }
      if (n == -EINTR) continue;
      if (!sys::would_block(n)) return fail_errno(n);
    }
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::read, WaitReason::io_read, deadline, cancellation)))
      return fail(error);
    drained_ = false;
  }
}

Result<Datagram> UdpSocket::receive_from(const context::Context& ctx, std::span<std::byte> data) noexcept {
  if (const std::error_code error = ctx.err()) return fail(error);
  Result<Datagram> got = receive_from(data, ctx.deadline(), ctx.cancellation());
  return got ? got : fail(told_by(ctx, got.error()));
}

Result<void> UdpSocket::send_bytes(std::span<const std::byte> data, const sockaddr* address, socklen_t size,
                                   Deadline deadline, Cancellation* cancellation) noexcept {
  if (fd_ < 0) return fail(std::errc::bad_file_descriptor);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  if (cancellation != nullptr && cancellation->canceled()) return fail(std::errc::operation_canceled);
  for (;;) {
    const ssize_t n = sys::sendto(fd_, data.data(), data.size(), address, size);
    if (n >= 0) {
      runtime::spend_budget();
      return {};
    }
    if (n == -EINTR) continue;
    if (!sys::would_block(n)) return fail_errno(static_cast<int>(n));
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::write, WaitReason::io_write, deadline, cancellation)))
      return fail(error);
  }
}

Result<void> UdpSocket::send_to(std::span<const std::byte> data, const Endpoint& peer, Deadline deadline,
                                Cancellation* cancellation) noexcept {
  return send_bytes(data, peer.data(), peer.size(), deadline, cancellation);
}

Result<void> UdpSocket::send_to(const context::Context& ctx, std::span<const std::byte> data,
                                const Endpoint& peer) noexcept {
  if (const std::error_code error = ctx.err()) return fail(error);
  const Result<void> sent = send_bytes(data, peer.data(), peer.size(), ctx.deadline(), ctx.cancellation());
  return sent ? sent : fail(told_by(ctx, sent.error()));
}

Result<void> UdpSocket::send(std::span<const std::byte> data, Deadline deadline, Cancellation* cancellation) noexcept {
  return send_bytes(data, nullptr, 0, deadline, cancellation);
}

Result<void> UdpSocket::set_receive_buffer(int bytes) const noexcept {
  const int r = sys::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, bytes);
  if (r < 0) return fail_errno(r);
  return {};
}

Endpoint UdpSocket::local() const noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (sys::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) < 0) return {};
  return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace fiberd::net
