#include "core/http/server.hpp"

#include <new>

#include "core/http/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

Result<std::unique_ptr<Server>> Server::make(ServerOptions options, std::vector<Route> routes) {
  std::vector<RouteSpec> specs;
  specs.reserve(routes.size());
  for (const Route& r : routes) {
    if (r.handler == nullptr) return fail(std::errc::invalid_argument);
    specs.push_back(r.spec);
  }
  Result<Router> router = Router::make(specs);
  if (!router) return fail(router.error());
  return std::unique_ptr<Server>(new Server(std::move(options), std::move(routes), std::move(*router)));
}

Server::Server(ServerOptions options, std::vector<Route> routes, Router router)
    : options_(std::move(options)),
      routes_(std::move(routes)),
      router_(std::move(router)),
      workspaces_(options_.head),
      all_(context::with_cancel(options_.context)) {
  for (Route& r : routes_) r.gated = r.gate != nullptr || options_.gate != nullptr;
}

Server::~Server() { all_.cancel(); }

void Server::add(Connection& c) noexcept {
  const LockGuard guard(lock_);
  connections_.push_back(c);
  count_.fetch_add(1, std::memory_order_relaxed);
}

void Server::unlist(Connection& c) noexcept {
  const LockGuard guard(lock_);
  List<Connection>::remove(c);
}

void Server::destroy(Connection& c) noexcept {
  delete &c;
  // Last: stop() lets go of the server when it reads 0.
  count_.fetch_sub(1, std::memory_order_release);
}

void Server::serve(int fd, OnClosed on_closed, void* argument) noexcept {
  Result<net::TcpStream> stream = net::TcpStream::adopt(fd);
  Connection* const c =
      stream ? new (std::nothrow) Connection(*this, std::move(*stream), on_closed, argument) : nullptr;
  if (c == nullptr) {
    if (options_.metrics.spawn_refused != nullptr) options_.metrics.spawn_refused->add();
    if (on_closed != nullptr) on_closed(argument);
    return;  // adopt() closes what it could not take; the stream's destructor does the rest
  }
  add(*c);
  c->start();
}

void Server::waiting_since(Waiting what, std::vector<std::int64_t>& out) {
  const LockGuard guard(lock_);
  for (Connection* c = connections_.front(); c != nullptr; c = connections_.after(*c))
    if (const std::int64_t since = c->waiting_since(what); since != 0) out.push_back(since);
}

std::size_t Server::close_waiting(Waiting what, std::int64_t until, std::size_t most) noexcept {
  List<Connection> ours;
  std::size_t n = 0;
  {
    const LockGuard guard(lock_);
    Connection* next = connections_.front();
    while (next != nullptr && n < most) {
      Connection& c = *next;
      next = connections_.after(c);
      if (!c.claim_waiting(what, until)) continue;
      ++n;
      if (what != Waiting::for_request) continue;  // its fiber ends it
      List<Connection>::remove(c);
      ours.push_back(c);
    }
  }
  while (Connection* const c = ours.front()) {
    if (c->close_if_silent()) continue;
    --n;
    {
      const LockGuard guard(lock_);
      List<Connection>::remove(*c);
      connections_.push_back(*c);
    }
    c->restart_claimed();
  }
  return n;
}

std::size_t Server::stop(const std::atomic<std::int64_t>& deadline) {
  stopping_.store(true, std::memory_order_seq_cst);
  std::size_t cut = 0;
  bool hard = false;
  while (count_.load(std::memory_order_acquire) != 0) {
    // Closing needs the list's lock again, so idle ones are taken off one batch at a time. A connection that goes idle
    // after the flag was set sees it itself; one that did so at that very moment is found by the next round.
    std::array<Connection*, 64> idle{};
    std::size_t n = 0;
    {
      const LockGuard guard(lock_);
      for (Connection* c = connections_.front(); c != nullptr && n < idle.size(); c = connections_.after(*c))
        if (c->claim_idle()) idle[n++] = c;
    }
    for (std::size_t i = 0; i < n; ++i) idle[i]->restart_claimed();
    if (n == idle.size()) continue;
    if (!hard && monotonic_now() >= deadline.load(std::memory_order_relaxed)) {
      hard = true;
      all_.cancel();
      const LockGuard guard(lock_);
      for (Connection* c = connections_.front(); c != nullptr; c = connections_.after(*c)) {
        c->abort();
        ++cut;
      }
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(count_.load(std::memory_order_relaxed) != 0 ? 2 : 0));
  }
  all_.cancel();
  if (options_.gate != nullptr) options_.gate->stop();
  for (const Route& r : routes_)
    if (r.gate != nullptr) r.gate->stop();
  workspaces_.stop();
  return cut;
}

}  // namespace fiberd::http
