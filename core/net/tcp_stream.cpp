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

TcpStream::TcpStream(TcpStream&& o) noexcept
    : SocketStream(static_cast<SocketStream&&>(o)),
      read_deadline_(o.read_deadline_),
      write_deadline_(o.write_deadline_),
      told_peer_(std::move(o.told_peer_)) {
  o.counters_ = {};
}

TcpStream& TcpStream::operator=(TcpStream&& o) noexcept {
  if (this == &o) return *this;
  SocketStream::operator=(static_cast<SocketStream&&>(o));
  read_deadline_ = o.read_deadline_;
  write_deadline_ = o.write_deadline_;
  told_peer_ = std::move(o.told_peer_);
  counters_ = {};
  o.counters_ = {};
  return *this;
}

Result<TcpStream> TcpStream::adopt(int fd) noexcept {
  const Result<runtime::PollDescriptor*> descriptor = runtime::PollDescriptor::open(fd);
  if (!descriptor) {
    sys::close(fd);
    return fail(descriptor.error());
  }
  return TcpStream(fd, **descriptor);
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

Result<void> TcpStream::write_all(std::span<const std::byte> data, Deadline deadline,
                                  Cancellation* cancellation) noexcept {
  while (!data.empty()) {
    const Result<std::size_t> n = write_some(data, deadline, cancellation);
    if (!n) return fail(n.error());
    data = data.subspan(*n);
  }
  return {};
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
          error_of(stream->descriptor()->wait(Direction::write, WaitReason::connect, deadline, cancellation)))
    return fail(error);
  for (;;) {
    if (const int error = sys::socket_error(fd); error != 0) return fail_errno(error > 0 ? -error : error);
    // Spurious wake-ups are possible: connected is what has a peer.
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (sys::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return stream;
    if (const std::error_code error =
            error_of(stream->descriptor()->wait(Direction::write, WaitReason::connect, deadline, cancellation)))
      return fail(error);
  }
}

Endpoint TcpStream::peer() const noexcept { return told_peer_ != nullptr ? *told_peer_ : SocketStream::peer(); }
bool TcpStream::set_peer(const Endpoint& client) noexcept {
  told_peer_.reset(new (std::nothrow) Endpoint(client));
  return told_peer_ != nullptr;
}

}  // namespace fiberd::net
