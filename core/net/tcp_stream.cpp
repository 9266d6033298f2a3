#include "core/net/tcp_stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "core/base/bug.hpp"
#include "core/net/keep_alive.hpp"
#include "core/net/parts.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

using runtime::Cancellation;
using runtime::Direction;
using runtime::WaitReason;

/// A call that is inside: while it lives the descriptor's number is ours.
class TcpStream::Use {
 public:
  explicit Use(TcpStream& stream) noexcept : stream_(stream), entered_(stream.enter()) {}
  ~Use() {
    if (entered_) stream_.exit();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const noexcept { return entered_; }

 private:
  TcpStream& stream_;
  bool entered_;
};

bool TcpStream::enter() noexcept {
  if (state_.load(std::memory_order_relaxed) == kSingleOwner) return true;
  if ((state_.fetch_add(1, std::memory_order_acquire) & kClosed) == 0) [[likely]]
    return true;
  exit();
  return false;
}

void TcpStream::exit() noexcept {
  if (state_.load(std::memory_order_relaxed) == kSingleOwner) return;
  // The last call out of a closed stream closes the descriptor.
  if (state_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) destroy();
}

void TcpStream::destroy() noexcept {
  // A failed enter() may have counted up meanwhile; then its exit() passes this way again.
  std::uint32_t expected = kClosed;
  if (!state_.compare_exchange_strong(expected, kClosed | kDestroyed, std::memory_order_acq_rel)) return;
  descriptor_->close();
  sys::close(fd_);
  descriptor_ = nullptr;
  fd_ = -1;
}

Result<TcpStream> TcpStream::adopt(int fd) noexcept {
  const Result<runtime::PollDescriptor*> descriptor = runtime::PollDescriptor::open(fd);
  if (!descriptor) {
    sys::close(fd);
    return fail(descriptor.error());
  }
  TcpStream s;
  s.fd_ = fd;
  s.descriptor_ = *descriptor;
  s.state_.store(0, std::memory_order_release);
  return s;
}

TcpStream::TcpStream(TcpStream&& o) noexcept
    : ByteStream(),
      fd_(std::exchange(o.fd_, -1)),
      state_(o.state_.exchange(kClosed | kDestroyed, std::memory_order_acq_rel)),
      descriptor_(std::exchange(o.descriptor_, nullptr)),
      read_deadline_(o.read_deadline_),
      write_deadline_(o.write_deadline_),
      told_peer_(std::move(o.told_peer_)) {
  drained_ = o.drained_;
  (void)FIBERD_BUG_IF((state_.load(std::memory_order_relaxed) & ~kFlags) != 0);
}

TcpStream& TcpStream::operator=(TcpStream&& o) noexcept {
  if (this == &o) return *this;
  close();
  (void)FIBERD_BUG_IF((o.state_.load(std::memory_order_relaxed) & ~kFlags) != 0);
  fd_ = std::exchange(o.fd_, -1);
  descriptor_ = std::exchange(o.descriptor_, nullptr);
  read_deadline_ = o.read_deadline_;
  write_deadline_ = o.write_deadline_;
  told_peer_ = std::move(o.told_peer_);
  drained_ = o.drained_;
  state_.store(o.state_.exchange(kClosed | kDestroyed, std::memory_order_acq_rel), std::memory_order_release);
  return *this;
}

TcpStream::~TcpStream() {
  close();
  (void)FIBERD_BUG_IF((state_.load(std::memory_order_acquire) & ~kFlags) != 0);
}

void TcpStream::close() noexcept {
  std::uint32_t state = state_.load(std::memory_order_acquire);
  do {
    if ((state & kClosed) != 0) return;
  } while (!state_.compare_exchange_weak(state, (state | kClosed) & ~kSingleOwner, std::memory_order_acq_rel));
  if (state == 0 || state == kSingleOwner) {
    destroy();
    return;
  }
  // Calls are inside: they wake, and the last one closes. We hold a count ourselves while we use the descriptor.
  if ((state_.fetch_add(1, std::memory_order_acq_rel) & kDestroyed) == 0) descriptor_->shutdown();
  exit();
}

void TcpStream::shutdown() noexcept {
  const Use use(*this);
  if (use) descriptor_->shutdown();
}

static bool would_block(ssize_t r) noexcept { return r == -EAGAIN || r == -EWOULDBLOCK; }

Result<std::size_t> TcpStream::try_read(std::span<std::byte> data) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  for (;;) {
    const ssize_t n = sys::recv(fd_, data.data(), data.size());
    if (n == -EINTR) continue;
    if (n >= 0) {
      drained_ = n != 0 && static_cast<std::size_t>(n) < data.size() && !descriptor_->hung_up();
      return static_cast<std::size_t>(n);
    }
    if (would_block(n)) {
      drained_ = true;
      return fail(std::errc::operation_would_block);
    }
    return fail_errno(static_cast<int>(n));
  }
}

Result<std::size_t> TcpStream::read_some(std::span<std::byte> data, Deadline deadline,
                                         Cancellation* cancellation) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  const Deadline until = deadline.earlier(read_deadline_);
  if (runtime::past(until)) return fail(std::errc::timed_out);
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
      if (!would_block(n)) return fail_errno(static_cast<int>(n));
    }
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::read, WaitReason::io_read, until, cancellation)))
      return fail(error);
    drained_ = false;
  }
}

Result<void> TcpStream::read_full(std::span<std::byte> data, Deadline deadline, Cancellation* cancellation) noexcept {
  while (!data.empty()) {
    const Result<std::size_t> n = read_some(data, deadline, cancellation);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(std::errc::connection_aborted);
    data = data.subspan(*n);
  }
  return {};
}

Result<std::size_t> TcpStream::write_some(std::span<const std::byte> data, Deadline deadline,
                                          Cancellation* cancellation) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  if (data.empty()) return std::size_t{0};
  const Deadline until = deadline.earlier(write_deadline_);
  if (runtime::past(until)) return fail(std::errc::timed_out);
  for (;;) {
    const ssize_t n = sys::send(fd_, data.data(), data.size());
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    if (n == -EINTR) continue;
    if (!would_block(n)) return fail_errno(static_cast<int>(n));
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::write, WaitReason::io_write, until, cancellation)))
      return fail(error);
  }
}

Result<std::size_t> TcpStream::try_write(std::span<const std::byte> data) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  for (;;) {
    const ssize_t n = sys::send(fd_, data.data(), data.size());
    if (n == -EINTR) continue;
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    return would_block(n) ? fail(std::errc::operation_would_block) : fail_errno(static_cast<int>(n));
  }
}

Result<void> TcpStream::write_all(std::span<const std::byte> data, Deadline deadline,
                                  Cancellation* cancellation) noexcept {
  while (!data.empty()) {
    const Result<std::size_t> n = write_some(data, deadline, cancellation);
    if (!n) return fail(n.error());
    data = data.subspan(*n);
  }
  return {};
}

Result<std::size_t> TcpStream::writev_some(std::span<const iovec> parts, Deadline deadline,
                                           Cancellation* cancellation) noexcept {
  static constexpr std::size_t kMaxParts = 1024;  // IOV_MAX
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const Deadline until = deadline.earlier(write_deadline_);
  if (runtime::past(until)) return fail(std::errc::timed_out);
  for (;;) {
    const ssize_t n = sys::sendmsg(fd_, parts.data(), std::min(parts.size(), kMaxParts));
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    if (n == -EINTR) continue;
    if (!would_block(n)) return fail_errno(static_cast<int>(n));
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::write, WaitReason::io_write, until, cancellation)))
      return fail(error);
  }
}

Result<void> TcpStream::writev_all(std::span<iovec> parts, Deadline deadline, Cancellation* cancellation) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  for (parts = behind(parts, 0); !parts.empty();) {
    const Result<std::size_t> n = writev_some(parts, deadline, cancellation);
    if (!n) return fail(n.error());
    parts = behind(parts, *n);
  }
  return {};
}

Result<std::size_t> TcpStream::sendfile_some(int file, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                             Cancellation* cancellation) noexcept {
  // One call moves at most 2 GiB; less at a time keeps the deadline's notion of progress.
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 20U;
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const Deadline until = deadline.earlier(write_deadline_);
  if (runtime::past(until)) return fail(std::errc::timed_out);
  for (;;) {
    const ssize_t n = sys::sendfile(fd_, file, static_cast<off_t>(offset), std::min(count, kMost));
    if (n >= 0) {
      runtime::spend_budget();
      return static_cast<std::size_t>(n);
    }
    if (n == -EINTR) continue;
    if (!would_block(n)) return fail_errno(static_cast<int>(n));
    if (const std::error_code error =
            error_of(descriptor_->wait(Direction::write, WaitReason::io_write, until, cancellation)))
      return fail(error);
  }
}

Result<void> TcpStream::sendfile_all(int file, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                     Cancellation* cancellation) noexcept {
  while (count != 0) {
    const Result<std::size_t> n = sendfile_some(file, offset, count, deadline, cancellation);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(std::errc::io_error);
    offset += *n;
    count -= *n;
  }
  return {};
}

Result<TcpStream> TcpStream::connect(const Endpoint& endpoint, Deadline deadline, Cancellation* cancellation) {
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  if (cancellation != nullptr && cancellation->canceled()) return fail(std::errc::operation_canceled);
  const int fd = sys::socket(endpoint.family(), SOCK_STREAM, 0);
  if (fd < 0) return fail_errno(fd);
  Result<TcpStream> stream = adopt(fd);
  if (!stream) return stream;
  // Whoever waits for an upstream that has vanished learns of it.
  if (endpoint.family() != AF_UNIX)
    if (const int r = set_keep_alive(fd, {}); r < 0) return fail_errno(r);
  const int r = sys::connect(fd, endpoint.data(), endpoint.size());
  if (r == 0) return stream;
  // A Unix socket whose queue is full says EAGAIN and will not tell when it has room; that is an error here.
  if (r != -EINPROGRESS && r != -EINTR) return fail_errno(r);
  if (const std::error_code error =
          error_of(stream->descriptor_->wait(Direction::write, WaitReason::connect, deadline, cancellation)))
    return fail(error);
  for (;;) {
    if (const int error = sys::socket_error(fd); error != 0) return fail_errno(error > 0 ? -error : error);
    // Spurious wake-ups are possible: connected is what has a peer.
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (sys::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return stream;
    if (const std::error_code error =
            error_of(stream->descriptor_->wait(Direction::write, WaitReason::connect, deadline, cancellation)))
      return fail(error);
  }
}

Result<void> TcpStream::shutdown_write() noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const int r = sys::shutdown_write(fd_);
  return as_result(r < 0 ? std::error_code(-r, std::system_category()) : std::error_code{});
}

Result<void> TcpStream::shutdown_read() noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const int r = sys::shutdown_read(fd_);
  return as_result(r < 0 ? std::error_code(-r, std::system_category()) : std::error_code{});
}

Result<void> TcpStream::set_no_delay(bool on) noexcept {
  const Use use(*this);
  if (!use) return fail(std::errc::bad_file_descriptor);
  const int r = sys::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0);
  return as_result(r < 0 ? std::error_code(-r, std::system_category()) : std::error_code{});
}

template <class Call>
static Endpoint address_of(int fd, Call call) noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (call(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) return {};
  return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
}

bool TcpStream::bytes_waiting() const noexcept { return sys::unread(fd_) > 0; }

Endpoint TcpStream::peer() const noexcept {
  return told_peer_ != nullptr ? *told_peer_ : address_of(fd_, sys::getpeername);
}
bool TcpStream::set_peer(const Endpoint& client) noexcept {
  told_peer_.reset(new (std::nothrow) Endpoint(client));
  return told_peer_ != nullptr;
}
Endpoint TcpStream::local() const noexcept { return address_of(fd_, sys::getsockname); }

}  // namespace fiberd::net
