#include "daemon/services/tcp_server.hpp"

#include <algorithm>
#include <exception>
#include <new>

#include "core/base/log.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

void TcpServer::on_accept(void* server, net::Admitted&& connection) noexcept {
  auto& self = *static_cast<TcpServer*>(server);
  Result<net::TcpStream> stream = connection.take_stream();
  if (!stream) return count(self.metrics_.refused);
  self.accept(std::move(*stream), connection.take_place());
}

void TcpServer::on_stream(void* server, net::TcpStream&& stream, net::Place&& place,
                          const net::Endpoint& client) noexcept {
  auto& self = *static_cast<TcpServer*>(server);
  if (stream.set_peer(client)) return self.accept(std::move(stream), std::move(place));
  stream.close();
  count(self.metrics_.refused);
}

void TcpServer::accept(net::TcpStream&& stream, net::Place place) noexcept {
  net::TcpStream ours = std::move(stream);  // if nobody takes it, it is closed before the place goes back
  const std::shared_ptr<const TcpSite> site = *site_.read();
  if (site->gate != nullptr && site->gate->full()) return;
  Session* const session = new (std::nothrow) Session(*this, site, std::move(ours), std::move(place));
  if (session == nullptr) return count(metrics_.refused);
  sessions_.add(*session);
  const Result<void> spawned = runtime::spawn("tcp", [session] {
    TcpServer& server = session->server;
    server.serve(*session);
    server.end(session);
  });
  if (spawned) return;
  count(metrics_.refused);
  end(session);
}

void TcpServer::serve(Session& session) noexcept {
  if (stopping_.load(std::memory_order_acquire)) (void)session.stream.shutdown_read();
  http::Gate* const gate = session.site->gate.get();
  if (gate == nullptr) return serve_now(session);
  const http::GateRequest nobody{http::HeaderView(), 0};
  flow::Permit permit;
  if (!gate->try_take_place(permit) && gate->wait_for_place(gate->open(), nobody, permit)) return;
  (void)gate->run(gate->open(), [&] { serve_now(session); });
}

void TcpServer::serve_now(Session& session) noexcept {
  if (session.site->handler != nullptr)
    call_handler(session);
  else
    session.site->service(session.stream, session.site->idle_timeout, session.site->pressure);
}

namespace {

/// A connection's context: done when its client has reset the connection, and when the handler has returned. A FIN ends
/// what can be read and nothing else: what it means the protocol knows.
class SessionContext : private runtime::HangUpWatch {
 public:
  SessionContext(const context::Context& server, runtime::PollDescriptor& descriptor)
      : descriptor_(descriptor), session_(context::with_cancel(server)) {
    on_hang_up = [](runtime::HangUpWatch& watch, bool reset) noexcept {
      if (reset) static_cast<SessionContext&>(watch).session_.cancel(std::make_error_code(std::errc::connection_reset));
    };
    // Without it (epoll is full) the client's leaving is noticed by reading and writing.
    (void)descriptor_.watch_hang_up(*this);
  }
  ~SessionContext() {
    // The handler may have closed the stream.
    descriptor_.unwatch_hang_up(*this);
    session_.cancel();
  }
  SessionContext(const SessionContext&) = delete;
  SessionContext& operator=(const SessionContext&) = delete;
  [[nodiscard]] const context::Context& context() const noexcept { return session_.context; }

 private:
  runtime::PollDescriptor& descriptor_;
  const context::Cancelable session_;
};

}  // namespace

void TcpServer::call_handler(Session& session) noexcept {
  bool threw = true;
  try {
    const SessionContext connection(all_.context, *session.stream.descriptor());
    session.site->handler->serve(connection.context(), session.stream);
    threw = false;
  } catch (...) {
    const runtime::Recovered thrown(std::current_exception());
    try {
      log(LogLevel::error,
          "TCP handler " + session.site->name + " threw: " + thrown.what() + "; thrown at:" + thrown.trace());
    } catch (...) {
      log(LogLevel::error, "a TCP handler threw, and memory to describe it is out");
    }
  }
  if (threw && metrics_.exceptions != nullptr) metrics_.exceptions->add();
}

void TcpServer::end(Session* session) noexcept {
  sessions_.unlist(*session);
  session->stream.close();
  if (metrics_.lived != nullptr)
    metrics_.lived->observe(static_cast<std::uint64_t>(std::max<std::int64_t>(monotonic_now() - session->begun, 0)));
  delete session;
  sessions_.gone();
}

/// Who still waits for a place, or for a worker, is told to give up.
void TcpServer::abort_gates() noexcept {
  // One at a time, outside the lock: a gate that was told has nobody who waits for long.
  const auto present = site_.read();
  if ((*present)->gate != nullptr) (*present)->gate->abort();
  std::shared_ptr<http::Gate> last;
  for (;;) {
    std::shared_ptr<http::Gate> next;
    sessions_.each([&](Session& s) {
      if (s.site->gate != nullptr && !s.site->gate->open().done()) next = s.site->gate;
      return next == nullptr;
    });
    if (next == nullptr || next == last) return;
    next->abort();
    last = std::move(next);
  }
}

void TcpServer::measure(net::QueueSizes& sizes) noexcept {
  sessions_.each([&](Session& s) { sizes.add(s.stream.queued()); });
}

std::size_t TcpServer::cut(std::size_t least, std::uint64_t& wanted) noexcept {
  std::size_t n = 0;
  sessions_.each([&](Session& s) {
    if (const std::size_t bytes = s.stream.queued(); bytes >= least) {
      s.stream.shutdown();
      ++n;
      wanted -= std::min<std::uint64_t>(wanted, bytes);
    }
    return wanted != 0;
  });
  return n;
}

std::size_t TcpServer::stop(const std::atomic<std::int64_t>& deadline) {
  stopping_.store(true, std::memory_order_seq_cst);
  sessions_.each([](Session& s) { (void)s.stream.shutdown_read(); });
  std::size_t cut = 0;
  bool hard = false;
  while (!sessions_.empty()) {
    if (!hard && monotonic_now() >= deadline.load(std::memory_order_relaxed)) {
      hard = true;
      all_.cancel();
      abort_gates();
      sessions_.each([&](Session& s) {
        s.stream.shutdown();
        ++cut;
      });
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  }
  if (const auto site = site_.read(); (*site)->gate != nullptr) (*site)->gate->stop();
  return cut;
}

}  // namespace fiberd::daemon
