// A listener for fibers: one for each connection (serve()), or one that asks for the next itself (accept()).
#include <cerrno>
#include <functional>
#include <memory>
#include <utility>

#include "core/context/waits.hpp"
#include "core/net/listener.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

Result<void> Listener::serve(std::function<void(TcpStream)> handler) {
  shared_->handler = std::move(handler);
  return start(&Listener::serve_one, this);
}

void Listener::serve_one(void* argument, Admitted&& connection) noexcept {
  auto& l = *static_cast<Listener*>(argument);
  Result<TcpStream> stream = connection.take_stream();
  if (!stream) return count(l.options_.metrics.errors);
  struct Session {
    std::shared_ptr<Shared> shared;  // outlives the place that is counted in it
    Place place;
    TcpStream stream;
  };
  const Result<void> spawned =
      runtime::spawn("tcp", [session = Session{l.shared_, connection.take_place(), std::move(*stream)}]() mutable {
        session.shared->handler(std::move(session.stream));
        session.stream.close();
      });
  // A refused spawn destroyed the session: closed and counted off. It is still told.
  if (!spawned) count(l.options_.metrics.errors);
}

Result<TcpStream> Listener::accept(Deadline deadline, runtime::Cancellation* cancellation) {
  if ((*serving_.read())->connections_per_address != 0) return fail(std::errc::invalid_argument);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  Socket& socket = *sockets_.front();
  struct Inside {
    std::atomic<std::uint32_t>& count;
    explicit Inside(std::atomic<std::uint32_t>& c) noexcept : count(c) { count.fetch_add(1); }
    ~Inside() { count.fetch_sub(1); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
  };
  const Inside inside(socket.inside);
  if (stopped_.load()) return fail(std::errc::bad_file_descriptor);
  runtime::PollDescriptor* descriptor = socket.descriptor.load();
  if (descriptor == nullptr) {
    const Result<runtime::PollDescriptor*> opened = runtime::PollDescriptor::open(socket.fd);
    if (!opened) return fail(opened.error());
    descriptor = *opened;
    socket.descriptor.store(descriptor);
  }
  for (;;) {
    // stop() may have come before there was a descriptor to wake us by.
    if (stopped_.load()) return fail(std::errc::operation_canceled);
    const int fd = sys::accept4(socket.fd, nullptr, nullptr);
    if (fd >= 0) {
      if (!count_in(fd, **serving_.read())) continue;
      runtime::spend_budget();
      Result<TcpStream> stream = TcpStream::adopt(fd);
      if (!stream) release();
      return stream;
    }
    if (fd == -EINTR || fd == -ECONNABORTED || fd == -EPROTO) continue;
    if (fd != -EAGAIN) {
      count(options_.metrics.errors);
      return fail_errno(fd);
    }
    if (const std::error_code error =
            error_of(descriptor->wait(runtime::Direction::read, runtime::WaitReason::accept, deadline, cancellation)))
      return fail(error);
  }
}

Result<TcpStream> Listener::accept(const context::Context& ctx, Deadline own) {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  Result<TcpStream> stream = accept(own.earlier(ctx.deadline()), ctx.wait_point());
  if (!stream) return fail(context::to_error(stream.error(), ctx, own));
  return stream;
}

}  // namespace fiberd::net
