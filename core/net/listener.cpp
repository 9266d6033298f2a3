// Accepting happens inside the scheduler, before any fiber exists: the socket is in every Poller with EPOLLEXCLUSIVE,
// so the kernel wakes one Processor per arrival, and the callback accepts right there. A fiber that accepted would cost
// a switch per connection and would be the one place through which all connections must pass.
//
// The socket is level-triggered and accepts in bursts that adapt: one accept per event while connections come singly
// (a second call that answers EAGAIN would be a fifth of the cost of a short connection), doubling to 32 while each
// burst is used up. A single arrival uses up a burst of one, too, so going from one to two waits for a number of such
// events that grows each time the second call was in vain. No more than 32, for each brings a fiber that runs before
// events are looked for again: a thousand clients who come at once shall not keep everybody else waiting.
//
// When descriptors run out, accept4 fails and the connection stays in the queue: the event comes again at once, for
// ever, on every Processor. So a reserve descriptor is kept: it is given up to accept the client and close it (it
// learns at once that it is refused), and the socket rests for a time that doubles from 5 ms to 1 s; a success resets
// it. The log says so at most once a second, with a count.
//
// Who is served is a snapshot that a burst reads once. replace() stores another and waits until the last burst that
// read the old one is over: its owner may then destroy what it points to. A lock around "look, then call" would be held
// while foreign code runs; a count kept beside a plain pointer would have a gap between the two.
//
// Before anybody is refused, for want of a place or of descriptors, the owner is asked to close connections that nobody
// will miss (MakeRoom). The kernel gives the lowest free number, so an accepted descriptor's number tells how many are
// in use: when few are left (kSpare) room is made, for files and upstreams need descriptors too. It is made in batches,
// since finding the longest-idle means a look at all; where none could be closed nobody asks again for a while.
#include "core/net/listener.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/net/handshakes.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/replace_snapshot.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/settle.hpp"

namespace fiberd::net {

static constexpr std::uint32_t kMaxBurst = 32;
static constexpr std::uint32_t kMaxPatience = 64;
static constexpr std::int64_t kFirstBackoff = 5'000'000;
static constexpr std::int64_t kMaxBackoff = 1'000'000'000;
static constexpr std::int64_t kLogPeriod = 1'000'000'000;
static constexpr std::int64_t kRoomPause = 50'000'000;
static constexpr rlim_t kSpare = 256;          // descriptors for files and upstreams; a sixteenth of a small limit
static constexpr std::size_t kRoomShare = 16;  // of the connections, closed at a time
static constexpr std::int64_t kHandshakePatience = 1'000'000'000;  // a round trip to the other side of the world, twice

static int open_reserve() noexcept { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

Listener::Listener(runtime::Runtime& runtime, ListenerOptions options, bool local)
    : runtime_(runtime),
      options_(std::move(options)),
      shared_(std::make_shared<Shared>(options_.metrics.connections)),
      serving_(std::make_shared<const Serving>(
          completed({.connections = options_.connections,
                     .connections_per_address = local ? 0 : options_.connections_per_address,
                     .gate = options_.gate,
                     .make_room = options_.make_room}))),
      reserve_(open_reserve()) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    few_left_ = static_cast<int>(std::min<rlim_t>(limit.rlim_cur - std::min(limit.rlim_cur / 16, kSpare), INT32_MAX));
}

/// With the listener's own where it says nothing.
Serving Listener::completed(const Serving& serving) const noexcept {
  Serving all = serving;
  if (all.counts == nullptr) all.counts = &shared_->counts;
  if (all.metrics == nullptr) all.metrics = &options_.metrics;
  if (all.name.empty()) all.name = options_.name;
  return all;
}

Listener::~Listener() {
  stop();
  if (reserve_ >= 0) sys::close(reserve_);
}

Result<void> Listener::start(OnAccept on_accept, void* argument) {
  Serving serving = **serving_.read();
  serving.on_accept = on_accept;
  serving.argument = argument;
  return start(serving);
}

Result<void> Listener::start(OnAcceptFrom on_accept, void* argument) {
  Serving serving = **serving_.read();
  serving.on_accept_from = on_accept;
  serving.argument = argument;
  return start(serving);
}

Result<void> Listener::start(const Serving& serving) {
  replace(serving);
  return start();
}

Result<void> Listener::start() noexcept {
  for (auto& socket : sockets_) {
    auto registration =
        runtime::AcceptorRegistration::add(runtime_.scheduler(), socket->fd, &Listener::on_readable, socket.get());
    if (!registration) return fail(registration.error());
    socket->registration.store(registration->release(), std::memory_order_release);
  }
  return {};
}

Result<void> Listener::serve(std::function<void(TcpStream)> handler) {
  shared_->handler = std::move(handler);
  return start(&Listener::serve_one, this);
}

void pause_for(std::chrono::nanoseconds time) noexcept {
  if (runtime::on_fiber()) {
    (void)runtime::sleep_for(time);
    return;
  }
  const timespec t{0, static_cast<long>(time.count())};
  (void)::nanosleep(&t, nullptr);
}

void Listener::replace(const Serving& next) {
  auto fresh = std::make_shared<Serving>(completed(next));
  if (local_.family() == AF_UNIX) fresh->connections_per_address = 0;
  replace_and_wait<Serving>(serving_, std::move(fresh));
}

void Listener::serve_one(void* argument, int fd, void* place) noexcept {
  auto& l = *static_cast<Listener*>(argument);
  Result<TcpStream> stream = TcpStream::adopt(fd);
  if (!stream) {
    count(l.options_.metrics.errors);
    release(place);
    return;
  }
  struct Session {
    std::shared_ptr<Shared> shared;
    TcpStream stream;
    void* place;
    Session(std::shared_ptr<Shared> s, TcpStream t, void* p) noexcept
        : shared(std::move(s)), stream(std::move(t)), place(p) {}
    Session(Session&&) noexcept = default;
    Session& operator=(Session&&) = delete;
    ~Session() {
      if (shared == nullptr) return;
      stream.close();
      release(place);
    }
  };
  const Result<void> spawned =
      runtime::spawn("tcp", [session = Session(l.shared_, std::move(*stream), place)]() mutable {
        session.shared->handler(std::move(session.stream));
      });
  // A refused spawn destroyed the session: closed and counted off. It is still told.
  if (!spawned) count(l.options_.metrics.errors);
}

void Listener::on_readable(void* argument) noexcept {
  auto& socket = *static_cast<Socket*>(argument);
  socket.listener.accept_burst(socket);
}

void Listener::accept_burst(Socket& socket) noexcept {
  static constexpr auto kRelaxed = std::memory_order_relaxed;  // a lost update costs one call at most
  const auto serving = serving_.read();
  const std::uint32_t burst = socket.burst.load(kRelaxed);
  for (std::uint32_t i = 0; i < burst; ++i) {
    if (accept_one(socket, **serving)) continue;
    if (burst > 1 && i <= 1) {
      const std::uint32_t patience = std::min(socket.patience.load(kRelaxed) * 2, kMaxPatience);
      socket.patience.store(patience, kRelaxed);
      socket.singles.store(patience, kRelaxed);
    }
    socket.burst.store(std::max(i, 1U), kRelaxed);
    return;
  }
  if (burst == 1) {
    const std::uint32_t singles = socket.singles.load(kRelaxed);
    if (singles > 1) {
      socket.singles.store(singles - 1, kRelaxed);
      return;
    }
  } else {
    socket.patience.store(kFirstPatience, kRelaxed);
  }
  socket.burst.store(std::min(burst * 2, kMaxBurst), kRelaxed);
}

/// Has some of `of` connections closed; returns how many.
std::size_t Listener::make_room(const MakeRoom& room, Shortage shortage, std::size_t of) noexcept {
  const std::int64_t now = runtime::coarse_now();
  if (room.close_some == nullptr || now < room_again_.load(std::memory_order_relaxed)) return 0;
  const std::size_t closed = room.close_some(room.argument, shortage, std::max<std::size_t>(of / kRoomShare, 1));
  if (closed == 0) room_again_.store(now + kRoomPause, std::memory_order_relaxed);
  return closed;
}

/// The first gate: counts the connection, or closes it.
bool Listener::count_in(int fd, const Serving& serving) noexcept {
  ConnectionCounts& counts = *serving.counts;
  if (!counts.take(serving.connections) &&
      (make_room(serving.make_room, Shortage::places, serving.connections) == 0 || !counts.take(serving.connections))) {
    sys::close(fd);
    count(serving.metrics->refused_limit);
    return false;
  }
  if (fd >= few_left_) (void)make_room(serving.make_room, Shortage::descriptors, static_cast<std::size_t>(few_left_));
  count(serving.metrics->accepted);
  return true;
}

/// The next connection's socket, or -errno; `client` stays unspecified unless somebody asks for it.
int Listener::accept_client(const Socket& socket, Endpoint& client, const Serving& serving) noexcept {
  if (serving.on_accept_from == nullptr && serving.connections_per_address == 0 && !serving.gate.wants_client)
    return sys::accept4(socket.fd, nullptr, nullptr);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const int fd = sys::accept4(socket.fd, reinterpret_cast<sockaddr*>(&address), &size);
  if (fd >= 0) client = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  return fd;
}

/// Hands the connection to who serves it, if no limit forbids it.
void Listener::admit(int fd, const Endpoint& client, const Serving& serving) noexcept {
  if (serving.gate.admit != nullptr && !serving.gate.admit(serving.gate.argument, client)) {
    sys::close(fd);
    count(serving.metrics->refused_gate);
    return;
  }
  AddressCounts::Entry* place = &serving.counts->anybody();
  if (serving.connections_per_address != 0 && client.family() != AF_UNSPEC) {
    // Before the listener's own limit: one address at its bound must not cost others their idle connections.
    place = serving.counts->take_of(client, serving.connections_per_address);
    if (place == nullptr) {
      sys::close(fd);
      count(serving.metrics->refused_address);
      return;
    }
  }
  if (count_in(fd, serving)) {
    if (serving.on_accept_from != nullptr)
      serving.on_accept_from(serving.argument, fd, place, client);
    else
      serving.on_accept(serving.argument, fd, place);
  } else if (place->table != nullptr) {
    place->table->give_back(*place);
  }
}

/// False when there is nothing (more) to accept now.
bool Listener::accept_one(Socket& socket, const Serving& serving) noexcept {
  int fd = -1;
  Endpoint client;
  if (backoff_ns_.load(std::memory_order_acquire) == 0) [[likely]] {
    fd = accept_client(socket, client, serving);
  } else {
    // In turn, or a Processor would take the number that another has just freed for its refusal.
    const LockGuard guard(reserve_lock_);
    fd = accept_client(socket, client, serving);
    if (fd >= 0) {
      backoff_ns_.store(0, std::memory_order_release);
      if (reserve_ < 0) reserve_ = open_reserve();
    }
  }
  if (fd >= 0) {
    admit(fd, client, serving);
    return true;
  }
  switch (-fd) {
    case EAGAIN: return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO: return true;  // that client is gone; the next may be there
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      if (make_room(serving.make_room, Shortage::descriptors, serving.counts->open()) != 0) return true;
      out_of_descriptors(socket, -fd, serving);
      return false;
    default:
      count(serving.metrics->errors);
      out_of_descriptors(socket, -fd, serving);
      return false;
  }
}

void Listener::out_of_descriptors(Socket& socket, int error, const Serving& serving) noexcept {
  const std::int64_t now = monotonic_now();
  std::int64_t backoff = 0;
  {
    const LockGuard guard(reserve_lock_);
    const std::int64_t before = backoff_ns_.load(std::memory_order_relaxed);
    backoff = before == 0 ? kFirstBackoff : std::min(before * 2, kMaxBackoff);
    backoff_ns_.store(backoff, std::memory_order_release);
    if ((error == EMFILE || error == ENFILE) && reserve_ >= 0) {
      sys::close(std::exchange(reserve_, -1));
      const int fd = sys::accept4(socket.fd, nullptr, nullptr);
      if (fd >= 0) {
        sys::close(fd);
        count(serving.metrics->refused_descriptors);
      }
    }
    // Somebody else in the process may have been faster; then it is tried again each time.
    if (reserve_ < 0) reserve_ = open_reserve();
  }
  unlogged_.fetch_add(1, std::memory_order_relaxed);
  std::int64_t last = last_log_.load(std::memory_order_relaxed);
  if (now - last >= kLogPeriod && last_log_.compare_exchange_strong(last, now, std::memory_order_relaxed)) {
    char line[256];
    const int n = std::snprintf(
        line, sizeof line,
        "listener %.*s: accept failed %llu times: %s; raise the descriptor limit (LimitNOFILE) or "
        "lower limits.connections; pausing up to %lld ms",
        static_cast<int>(serving.name.size()), serving.name.data(),
        static_cast<unsigned long long>(unlogged_.exchange(0, std::memory_order_relaxed)),
        std::error_code(error, std::system_category()).message().c_str(), static_cast<long long>(backoff / 1'000'000));
    log(LogLevel::warning, {line, static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(sizeof line) - 1))});
  }
  // None yet while start() is still at it: then the event comes again.
  if (auto* const registration = socket.registration.load(std::memory_order_acquire); registration != nullptr) {
    registration->suspend();
    socket.arm(Deadline::at(now + backoff));
  }
}

void Listener::on_backoff_over(runtime::Timer& timer) noexcept { static_cast<Socket&>(timer).settle(); }

void Listener::pause() noexcept {
  paused_.store(true);
  for (auto& socket : sockets_) socket->settle();
}

void Listener::resume() noexcept {
  paused_.store(false);
  for (auto& socket : sockets_) socket->settle();
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

/// Accepts all that is in the queue.
void Listener::accept_rest(Socket& socket) noexcept {
  const auto serving_now = serving_.read();
  const Serving& serving = **serving_now;
  // Bounded: without the filter new ones may go on arriving meanwhile.
  for (int i = 0; i < 65'536; ++i) {
    Endpoint client;
    const int fd = accept_client(socket, client, serving);
    if (fd == -EINTR || fd == -ECONNABORTED || fd == -EPROTO) continue;
    if (fd < 0) return;
    admit(fd, client, serving);
  }
}

/// Those whom the kernel has let in, or is letting in, are served: handshakes.cpp.
void Listener::accept_the_last() noexcept {
  if (local_.family() == AF_UNIX) {
    remove_unix_path();  // nobody new finds it; connect() puts a client straight into the queue
    for (auto& socket : sockets_) accept_rest(*socket);
    return;
  }
  bool filtered = true;
  for (auto& socket : sockets_) filtered = !refuse_new_handshakes(socket->fd) && filtered;
  const std::int64_t until = monotonic_now() + kHandshakePatience;
  for (std::chrono::milliseconds pause{1};; pause = std::min(2 * pause, std::chrono::milliseconds(32))) {
    for (auto& socket : sockets_) accept_rest(*socket);
    // Without the filter there is always another one; without sock_diag nobody knows.
    const Result<unsigned> pending = filtered ? pending_handshakes(local_.port()) : Result<unsigned>(0);
    if (!pending || *pending == 0 || monotonic_now() >= until) break;
    pause_for(pause);
  }
  for (auto& socket : sockets_) accept_rest(*socket);  // what was finished between the two looks
}

void Listener::stop() noexcept {
  if (stopped_.exchange(true)) return;
  bool started = false;
  for (auto& socket : sockets_) {
    started = started || socket->registration.load(std::memory_order_acquire) != nullptr;
    socket->unregister();
  }
  if (started) accept_the_last();
  for (auto& socket : sockets_) {
    // A fiber in accept() leaves before the descriptor's number is given up.
    while (socket->inside.load() != 0) {
      if (auto* const d = socket->descriptor.load(); d != nullptr) d->shutdown();
      if (runtime::on_fiber())
        runtime::yield();
      else
        ::sched_yield();
    }
    socket->close();
  }
  if (local_.family() == AF_UNIX) remove_unix_path();
}

}  // namespace fiberd::net
