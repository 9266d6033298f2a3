#include "core/net/socket_stream.hpp"
#include "core/base/probe.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/probe.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

using runtime::Cancellation;
using runtime::Direction;
using runtime::WaitReason;

bool SocketStream::enter() noexcept {
  if (state_.load(std::memory_order_relaxed) == kSingleOwner) return true;
  if ((state_.fetch_add(1, std::memory_order_acquire) & kClosed) == 0) [[likely]]
    return true;
  exit();
  return false;
}

void SocketStream::exit() noexcept {
  if (state_.load(std::memory_order_relaxed) == kSingleOwner) return;
  // The last call out of a closed stream closes the descriptor.
  if (state_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) destroy();
}

void SocketStream::destroy() noexcept {
  // A failed enter() may have counted up meanwhile; then its exit() passes this way again.
  std::uint16_t expected = kClosed;
  if (!state_.compare_exchange_strong(expected, kClosed | kDestroyed, std::memory_order_acq_rel)) return;
  descriptor_->close();
  FIBERD_PROBE1(conn__close, fd_);
  sys::close(fd_);
  descriptor_ = nullptr;
  fd_ = -1;
}

SocketStream::SocketStream(SocketStream&& o) noexcept
    : ByteStream(),
      state_(o.state_.exchange(kClosed | kDestroyed, std::memory_order_acq_rel)),
      fd_(std::exchange(o.fd_, -1)),
      descriptor_(std::exchange(o.descriptor_, nullptr)) {
  drained_ = o.drained_;
  (void)FIBERD_BUG_IF((state_.load(std::memory_order_relaxed) & ~kFlags) != 0);
}

SocketStream& SocketStream::operator=(SocketStream&& o) noexcept {
  if (this == &o) return *this;
  close();
  (void)FIBERD_BUG_IF((o.state_.load(std::memory_order_relaxed) & ~kFlags) != 0);
  fd_ = std::exchange(o.fd_, -1);
  descriptor_ = std::exchange(o.descriptor_, nullptr);
  drained_ = o.drained_;
  state_.store(o.state_.exchange(kClosed | kDestroyed, std::memory_order_acq_rel), std::memory_order_release);
  return *this;
}

SocketStream::~SocketStream() {
  close();
  (void)FIBERD_BUG_IF((state_.load(std::memory_order_acquire) & ~kFlags) != 0);
}

void SocketStream::close() noexcept {
  std::uint16_t state = state_.load(std::memory_order_acquire);
  do {
    if ((state & kClosed) != 0) return;
  } while (!state_.compare_exchange_weak(state, static_cast<std::uint16_t>((state | kClosed) & ~kSingleOwner),
                                         std::memory_order_acq_rel));
  if (state == 0 || state == kSingleOwner) {
    destroy();
    return;
  }
  // Calls are inside: they wake, and the last one closes. We hold a count ourselves while we use the descriptor.
  if ((state_.fetch_add(1, std::memory_order_acq_rel) & kDestroyed) == 0) descriptor_->shutdown();
  exit();
}

void SocketStream::shutdown() noexcept {
  const Use use(*this);
  if (use) descriptor_->shutdown();
}

Result<std::size_t> SocketStream::try_read(std::span<std::byte> data) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  for (;;) {
    const ssize_t n = sys::recv(fd_, data.data(), data.size());
    if (n == -EINTR) continue;
    if (n >= 0) {
      drained_ = n != 0 && static_cast<std::size_t>(n) < data.size() && !descriptor_->hung_up();
      return static_cast<std::size_t>(n);
    }
    if (sys::would_block(n)) {
      drained_ = true;
      return fail(std::errc::operation_would_block);
    }
    return fail_errno(static_cast<int>(n));
  }
}

Result<std::size_t> SocketStream::read_some(std::span<std::byte> data, Deadline deadline,
                                            Cancellation* cancellation) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  for (;;) {
    if (!drained_) {
      const ssize_t n = sys::recv(fd_, data.data(), data.size());
      if (n >= 0) {
        // A short read emptied the queue; what comes later is a new edge. But a FIN may have come with the edge that
        // was already used up, and it will not be told again.
        drained_ = n != 0 && static_cast<std::size_t>(n) < data.size() && !descriptor_->hung_up();
        runtime::spend_budget();
        return static_cast<std::size_t>(n);
      }
      if (n == -EINTR) continue;
      if (!sys::would_block(n)) return fail_errno(static_cast<int>(n));
    }
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::read, WaitReason::io_read, deadline, cancellation)))
      return fail(error);
    drained_ = false;
  }
}

/// `call` until the kernel takes something.
template <class Call>
Result<std::size_t> SocketStream::written_by(Call call, Deadline deadline, Cancellation* cancellation) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  for (;;) {
    const ssize_t n = call();
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    if (n == -EINTR) continue;
    if (!sys::would_block(n)) return fail_errno(static_cast<int>(n));
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::write, WaitReason::io_write, deadline, cancellation)))
      return fail(error);
  }
}

Result<std::size_t> SocketStream::write_some(std::span<const std::byte> data, Deadline deadline,
                                             Cancellation* cancellation) noexcept {
  if (data.empty()) return is_open() ? Result<std::size_t>(0) : fail(std::errc::bad_file_descriptor);
  return written_by([&] { return sys::send(fd_, data.data(), data.size()); }, deadline, cancellation);
}

Result<std::size_t> SocketStream::try_write(std::span<const std::byte> data) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  for (;;) {
    const ssize_t n = sys::send(fd_, data.data(), data.size());
    if (n == -EINTR) continue;
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    return sys::would_block(n) ? fail(std::errc::operation_would_block) : fail_errno(static_cast<int>(n));
  }
}

Result<std::size_t> SocketStream::writev_some(std::span<const iovec> parts, Deadline deadline,
                                              Cancellation* cancellation) noexcept {
  static constexpr std::size_t kMaxParts = 1024;  // IOV_MAX
  return written_by([&] { return sys::sendmsg(fd_, parts.data(), std::min(parts.size(), kMaxParts)); }, deadline,
                    cancellation);
}

Result<std::size_t> SocketStream::sendfile_some(int file, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                Cancellation* cancellation) noexcept {
  // One call moves at most 2 GiB; less at a time keeps the deadline's notion of progress.
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 20U;
  return written_by([&] { return sys::sendfile(fd_, file, static_cast<off_t>(offset), std::min(count, kMost)); },
                    deadline, cancellation);
}

template <class Call>
Result<void> SocketStream::called(Call call) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const int r = call(fd_);
  return as_result(r < 0 ? std::error_code(-r, std::system_category()) : std::error_code{});
}

Result<void> SocketStream::shutdown_write() noexcept {
  return called([](int fd) { return sys::shutdown_write(fd); });
}

Result<void> SocketStream::shutdown_read() noexcept {
  return called([](int fd) { return sys::shutdown_read(fd); });
}

Result<void> SocketStream::set_no_delay(bool on) noexcept {
  return called([on](int fd) { return sys::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0); });
}

template <class Call>
static Endpoint address_of(int fd, Call call) noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (call(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) return {};
  return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
}

bool SocketStream::bytes_waiting() const noexcept { return sys::unread(fd_) > 0; }

std::size_t SocketStream::queued() noexcept {
  const Use use(*this);
  if (!use) return 0;
  return static_cast<std::size_t>(std::max(sys::unread(fd_), 0)) +
         static_cast<std::size_t>(std::max(sys::unacknowledged(fd_), 0));
}

/// For dumps: whom a fiber waits for that hangs at a descriptor.
static void describe_wait(const void* object, std::string& text) {
  const int fd = static_cast<const runtime::PollDescriptor*>(object)->fd();
  const Endpoint peer = address_of(fd, sys::getpeername);
  text = "descriptor " + std::to_string(fd);
  if (peer.family() != AF_UNSPEC) {
    text += ", peer " + peer.to_string();
  } else if (const Endpoint local = address_of(fd, sys::getsockname); local.family() != AF_UNSPEC) {
    text += ", bound to " + local.to_string();
  }
}

[[maybe_unused]] static const bool socket_stream_described = [] {
  for (const auto reason : {runtime::WaitReason::io_read, runtime::WaitReason::io_write, runtime::WaitReason::connect,
                            runtime::WaitReason::accept, runtime::WaitReason::resolve})
    runtime::set_wait_description(reason, &describe_wait);
  return true;
}();

Endpoint SocketStream::peer() const noexcept { return address_of(fd_, sys::getpeername); }
Endpoint SocketStream::local() const noexcept { return address_of(fd_, sys::getsockname); }

}  // namespace fiberd::net
