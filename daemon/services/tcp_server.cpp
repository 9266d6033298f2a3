#include "daemon/services/tcp_server.hpp"

#include <new>

#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

void TcpServer::on_accept(void* server, int fd, void* place) noexcept {
  static_cast<TcpServer*>(server)->accept(fd, place);
}

void TcpServer::accept(int fd, void* place) noexcept {
  Result<net::TcpStream> stream = net::TcpStream::adopt(fd);
  Session* const session = stream ? new (std::nothrow) Session(*this, std::move(*stream), place) : nullptr;
  if (session == nullptr) {
    if (refused_ != nullptr) refused_->add();
    net::Listener::release(place);
    return;
  }
  {
    const LockGuard guard(lock_);
    sessions_.push_back(*session);
  }
  count_.fetch_add(1, std::memory_order_relaxed);
  const Result<void> spawned = runtime::spawn("tcp", [session] {
    TcpServer& server = session->server;
    if (server.stopping_.load(std::memory_order_acquire)) (void)session->stream.shutdown_read();
    server.service_(session->stream, server.idle_timeout_);
    server.end(session);
  });
  if (spawned) return;
  if (refused_ != nullptr) refused_->add();
  end(session);
}

void TcpServer::end(Session* session) noexcept {
  {
    const LockGuard guard(lock_);
    List<Session>::remove(*session);
  }
  session->stream.close();
  net::Listener::release(session->place);
  delete session;
  count_.fetch_sub(1, std::memory_order_release);
}

std::size_t TcpServer::stop(const std::atomic<std::int64_t>& deadline) {
  stopping_.store(true, std::memory_order_seq_cst);
  {
    const LockGuard guard(lock_);
    for (Session* s = sessions_.front(); s != nullptr; s = sessions_.after(*s)) (void)s->stream.shutdown_read();
  }
  std::size_t cut = 0;
  bool hard = false;
  while (count_.load(std::memory_order_acquire) != 0) {
    if (!hard && monotonic_now() >= deadline.load(std::memory_order_relaxed)) {
      hard = true;
      const LockGuard guard(lock_);
      for (Session* s = sessions_.front(); s != nullptr; s = sessions_.after(*s)) {
        s->stream.shutdown();
        ++cut;
      }
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  }
  return cut;
}

}  // namespace fiberd::daemon
