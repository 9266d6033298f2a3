#include "core/http/server.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "core/http/errc.hpp"
#include "core/http/h1/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

Result<std::unique_ptr<Server>> Server::make(ServerOptions options, std::vector<Route> routes) {
  auto site = Site::make(static_cast<SiteOptions&>(options), std::move(routes));
  if (!site) return fail(site.error());
  return make_for(options, std::move(*site));
}

std::unique_ptr<Server> Server::make_for(const ServerOptions& options, std::shared_ptr<const Site> site) {
  return std::unique_ptr<Server>(new Server(options, std::move(site)));
}

Server::Server(const ServerOptions& options, std::shared_ptr<const Site> site)
    : fiber_name_(options.fiber_name),
      kept_fiber_name_(options.kept_fiber_name),
      claim_(options.claim),
      half_close_cancels_(options.half_close_cancels),
      metrics_(site->options().metrics),
      site_(std::move(site)),
      all_(context::with_cancel(options.context)),
      drain_(context::with_cancel(all_.context)) {
  note(**site_.read());
}

Server::~Server() { all_.cancel(); }

void Server::note(const Site& site) noexcept {
  const SiteOptions& o = site.options();
  ask_site_.store(site.wants_client() || o.timeouts.age.count() != 0 || o.requests != 0, std::memory_order_relaxed);
}

void Server::use(std::shared_ptr<const Site> site) {
  note(*site);
  site_.store(std::move(site));
  site_version_.fetch_add(1, std::memory_order_release);
}

std::shared_ptr<const Site> Server::site() const { return *site_.read(); }

void Server::unlist(Connection& c) noexcept { connections_.unlist(c); }

void Server::destroy(Connection& c) noexcept {
  delete &c;
  connections_.gone();
}

void Server::serve(net::Admitted&& connection) noexcept {
  Result<net::TcpStream> stream = connection.take_stream();
  net::PeerAddress peer(connection.client());
  if (ask_site_.load(std::memory_order_relaxed) && stream && !peer.known() && (*site_.read())->wants_client())
    peer = net::PeerAddress(stream->peer());
  start(stream ? new (std::nothrow) Connection(*this, std::move(*stream), connection.take_place(), peer) : nullptr);
}

void Server::serve(net::TcpStream stream, net::Place place, const net::Endpoint& client) noexcept {
  net::TcpStream ours = std::move(stream);  // if nobody takes it, it is closed before the place goes back
  start(new (std::nothrow) Connection(*this, std::move(ours), std::move(place), net::PeerAddress(client)));
}

void Server::serve(std::unique_ptr<net::ByteStream> stream, net::Place place, const net::Endpoint& client) noexcept {
  std::unique_ptr<net::ByteStream> ours = std::move(stream);  // as above
  start(new (std::nothrow) Connection(*this, std::move(ours), std::move(place), net::PeerAddress(client)));
}

/// Null: it could not be made, and whoever asked for it closes and counts off what it was to have.
void Server::start(Connection* c) noexcept {
  if (c == nullptr) {
    count(metrics_.spawn_refused);
    return;
  }
  if (ask_site_.load(std::memory_order_relaxed)) c->set_lifetime((*site_.read())->options());
  connections_.add(*c);
  c->start();
}

void Server::waiting_since(Waiting what, std::vector<std::int64_t>& out) {
  connections_.each([&](Connection& c) {
    if (const std::int64_t since = c.waiting_since(what); since != 0) out.push_back(since);
  });
}

std::size_t Server::close_waiting(Waiting what, std::int64_t until, std::size_t most) noexcept {
  List<Connection> ours;
  std::size_t n = 0;
  connections_.each([&](Connection& c) {
    if (n == most) return false;
    if (!c.claim_waiting(what, until)) return true;
    ++n;
    if (what != Waiting::for_request) return true;  // its fiber ends it
    List<Connection>::remove(c);
    ours.push_back(c);
    return true;
  });
  while (Connection* const c = ours.front()) {
    if (c->close_if_silent()) continue;
    --n;
    connections_.relist(*c);
    c->restart_claimed();
  }
  return n;
}

void Server::measure_queues(net::QueueSizes& sizes) noexcept {
  connections_.each([&](Connection& c) { sizes.add(c.queued()); });
}

std::size_t Server::cut_queues(std::size_t least, std::uint64_t& wanted) noexcept {
  std::size_t n = 0;
  connections_.each([&](Connection& c) {
    if (const std::size_t bytes = c.queued(); bytes >= least) {
      c.abort();
      ++n;
      wanted -= std::min<std::uint64_t>(wanted, bytes);
    }
    return wanted != 0;
  });
  return n;
}

void Server::begin_stop() noexcept {
  std::int64_t not_yet = 0;
  (void)stop_begun_.compare_exchange_strong(not_yet, monotonic_now(), std::memory_order_relaxed);
  stopping_.store(true, std::memory_order_seq_cst);
}

/// Of the idle ones some whose time is over. True: there may be more of them.
bool Server::part_idle(std::int64_t now, bool hard) noexcept {
  // Parting needs the list's lock again, so they are taken one batch at a time.
  std::array<Connection*, 64> idle{};
  std::size_t n = 0;
  const std::int64_t grace = (*site_.read())->options().timeouts.drain.count();
  const std::int64_t begun = stop_begun_.load(std::memory_order_relaxed);
  connections_.each([&](Connection& c) {
    // What speaks HTTP/2 is told at once, and asked whether more is on its way (h2/session.cpp).
    if (!hard &&
        (c.parted() || (!c.is_http2() && std::max(c.waiting_since(Waiting::for_request), begun) > now - grace)))
      return true;
    if (c.claim_idle()) idle[n++] = &c;
    return n < idle.size();
  });
  for (std::size_t i = 0; i < n; ++i) {
    if (hard)
      idle[i]->close_claimed();
    else
      idle[i]->part();
  }
  return n == idle.size();
}

std::size_t Server::stop(const std::atomic<std::int64_t>& deadline) {
  static constexpr std::int64_t kLook = 20'000'000;  // a look at ten thousand connections takes about 1 ms
  begin_stop();
  drain_.cancel(errc::draining);
  std::size_t cut = 0;
  bool hard = false;
  std::int64_t looked = 0;
  while (!connections_.empty()) {
    const std::int64_t now = monotonic_now();
    if (!hard && now >= deadline.load(std::memory_order_relaxed)) {
      hard = true;
      all_.cancel();
      connections_.each([&](Connection& c) {
        if (c.waiting_since(Waiting::for_request) != 0) return;
        c.abort();
        ++cut;
      });
    }
    // A connection that goes idle meanwhile is found by a later look.
    if (hard || now - looked >= kLook) {
      if (part_idle(now, hard)) continue;
      looked = now;
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(connections_.size() != 0 ? 2 : 0));
  }
  all_.cancel();
  site()->stop();
  return cut;
}

}  // namespace fiberd::http
