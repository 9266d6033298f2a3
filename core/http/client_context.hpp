#pragma once
// ClientContext: the context of one connection's client, for handlers that ask (Exchange::context, client_context).
// Made by the first that does, so connections whose handlers never ask pay nothing; kept until the connection ends.
//
// When the client goes away it is done, with the cause connection_reset (a reset, an error) or connection_aborted (a
// FIN). What a FIN means nobody can know: the client may have closed, or only have ended its side and still read. As in
// Go and nginx it counts as gone; but an answer is sent all the same, and a handler that does not ask for the context
// never learns of it. A FIN behind bytes that are not read yet (more requests of a pipeline, the rest of a body) says
// nothing about this request; it is looked at again when they have been read. ServerOptions::half_close_cancels = false
// leaves only resets.
//
// It is told by the Poller: the connection is in epoll for reading anyway, edge-triggered, so watching costs no system
// call, but for the epoll_ctl that a connection's first wait would have made. While a connection is idle its handler
// is told instead, and closes.
#include <atomic>

#include "core/context/context.hpp"
#include "core/runtime/poll_descriptor.hpp"

namespace fiberd::net {
class ByteStream;
}

namespace fiberd::http {

class ClientContext : private runtime::HangUpWatch {
 public:
  /// Throws std::bad_alloc.
  ClientContext(const context::Context& server, net::ByteStream& stream, bool half_close_cancels);
  /// The connection ends: whoever still waits under the context is told.
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  [[nodiscard]] const context::Context& context() const noexcept { return client_.context; }
  /// The connection's fiber is busy with a request: `more` tells whether bytes behind it have been read already.
  void watch(bool more) noexcept;
  /// Those bytes have been used up, or not.
  void note_more(bool more) noexcept;
  /// Before the connection goes idle.
  void unwatch() noexcept;

 private:
  void hung_up(bool reset) noexcept;

  net::ByteStream& stream_;
  const context::Cancelable client_;
  const bool half_close_cancels_;
  bool watched_ = false;
  std::atomic<bool> more_{false};
};

}  // namespace fiberd::http
