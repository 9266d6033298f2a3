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
// Before anybody is refused, for want of a place or of descriptors, the owner is asked to close connections that nobody
// will miss (MakeRoom). The kernel gives the lowest free number, so an accepted descriptor's number tells how many are
// in use: when few are left (kSpare) room is made, for files and upstreams need descriptors too. It is made in batches,
// since finding the longest-idle means a look at all; where none could be closed nobody asks again for a while.
#include "core/net/listener.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
#include "core/net/sys.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/settle.hpp"

namespace fiberd::net {

static constexpr int kUnsent = 128 * 1024;
static constexpr std::uint32_t kMaxBurst = 32;
static constexpr std::uint32_t kFirstPatience = 4;
static constexpr std::uint32_t kMaxPatience = 64;
static constexpr std::int64_t kFirstBackoff = 5'000'000;
static constexpr std::int64_t kMaxBackoff = 1'000'000'000;
static constexpr std::int64_t kLogPeriod = 1'000'000'000;
static constexpr std::int64_t kRoomPause = 50'000'000;
static constexpr rlim_t kSpare = 256;          // descriptors for files and upstreams; a sixteenth of a small limit
static constexpr std::size_t kRoomShare = 16;  // of the connections, closed at a time
static constexpr std::int64_t kHandshakePatience = 1'000'000'000;  // a round trip to the other side of the world, twice

struct Listener::Socket : runtime::Timer {
  Socket(Listener& l, int f) : Timer(&Listener::on_backoff_over), listener(l), fd(f) {}
  ~Socket() { close(); }
  void unregister() noexcept {
    cancel();
    // The pointer stays while the destructor waits for callbacks: they may be about to suspend.
    delete registration.load(std::memory_order_acquire);
    registration.store(nullptr, std::memory_order_release);
    cancel();  // armed by a callback after the first
  }
  /// Watches the socket, or not, as is wanted now. A pause's end, a pause and the end of a backoff may be at it at the
  /// same time, so each looks again after it has acted: whoever acts last acts on what is wanted last.
  void settle() noexcept {
    auto* const r = registration.load(std::memory_order_acquire);
    if (r == nullptr) return;
    runtime::settle([this] { return !listener.stopped_.load() && !listener.paused_.load(); },
                    [r](bool watch) { watch ? r->resume() : r->suspend(); });
  }
  void close() noexcept {
    unregister();
    if (auto* const d = descriptor.exchange(nullptr); d != nullptr) d->close();
    if (fd >= 0) sys::close(std::exchange(fd, -1));
  }
  Listener& listener;
  int fd;
  std::atomic<runtime::AcceptorRegistration*> registration{nullptr};
  std::atomic<std::uint32_t> burst{1};
  std::atomic<std::uint32_t> singles{kFirstPatience};         // bursts of one still to be used up before two are tried
  std::atomic<std::uint32_t> patience{kFirstPatience};        // what `singles` begins with
  std::atomic<runtime::PollDescriptor*> descriptor{nullptr};  // for accept()
  std::atomic<std::uint32_t> inside{0};                       // accept() calls
};

static int open_reserve() noexcept { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

Listener::Listener(runtime::Runtime& runtime, ListenerOptions options)
    : runtime_(runtime), options_(std::move(options)), shared_(std::make_shared<Shared>()), reserve_(open_reserve()) {
  shared_->gauge = options_.metrics.connections;
  rlimit limit{};
  if (options_.make_room.close_some != nullptr && ::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    few_left_ = static_cast<int>(std::min<rlim_t>(limit.rlim_cur - std::min(limit.rlim_cur / 16, kSpare), INT32_MAX));
}

/// The kernel doubles a process's table of descriptors as they come, and each time all threads that open one wait for
/// an RCU grace period: 10 to 20 ms, just when a crowd arrives. So it is grown before anybody is served.
static void grow_descriptor_table(int fd, std::size_t connections) noexcept {
  static constexpr std::size_t kOthers = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == 0) return;
  const auto last = std::min<rlim_t>({connections + kOthers, limit.rlim_cur - 1, INT32_MAX});
  // That this number, or none above it, is free means nothing: then the table is as large already.
  if (const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(last)); copy >= 0) ::close(copy);
}

static std::error_code from_errno(int negative) noexcept { return {-negative, std::system_category()}; }

/// A socket file that nobody listens on is left over from a crash: it is replaced. One that answers is in use.
std::error_code Listener::prepare_unix_path(const Endpoint& endpoint) {
  const std::string path(endpoint.path());
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode)) return std::make_error_code(std::errc::file_exists);
  const int probe = sys::socket(AF_UNIX, SOCK_STREAM, 0);
  if (probe < 0) return from_errno(probe);
  const int r = sys::connect(probe, endpoint.data(), endpoint.size());
  sys::close(probe);
  if (r != -ECONNREFUSED) return std::make_error_code(std::errc::address_in_use);
  if (::unlink(path.c_str()) != 0) return {errno, std::system_category()};
  return {};
}

/// Before listen(2): nobody may connect while the file has another mode or owner than it shall have.
std::error_code Listener::finish_unix_path(const Endpoint& endpoint) {
  const std::string path(endpoint.path());
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {errno, std::system_category()};
  path_inode_ = st.st_ino;
  path_device_ = st.st_dev;
  // What the umask took away.
  if (::chmod(path.c_str(), options_.mode) != 0) return {errno, std::system_category()};
  if ((options_.owner || options_.group) && ::chown(path.c_str(), options_.owner.value_or(static_cast<uid_t>(-1)),
                                                    options_.group.value_or(static_cast<gid_t>(-1))) != 0)
    return {errno, std::system_category()};
  return {};
}

Result<int> Listener::open_socket(const Endpoint& endpoint, bool join_group) {
  const bool tcp = endpoint.family() != AF_UNIX;
  const int fd = sys::socket(endpoint.family(), SOCK_STREAM, 0);
  if (fd < 0) return fail_errno(fd);
  int r = 0;
  if (tcp) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (r == 0 && endpoint.family() == AF_INET6)
    r = sys::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, options_.dual_stack ? 0 : 1);
  if (r == 0 && join_group) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  // Linux makes the file with the socket's own mode, less the umask.
  if (!tcp && ::fchmod(fd, options_.mode) != 0) r = -errno;
  if (r == 0) r = sys::bind(fd, endpoint.data(), endpoint.size());
  if (r == 0 && !tcp)
    if (const std::error_code error = finish_unix_path(endpoint)) r = -error.value();
  // The first socket of a group is bound alone, so that a port somebody else has is an error; then it opens the group.
  if (r == 0 && options_.reuse_port && tcp && !join_group) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  // Accepted sockets inherit it: no setsockopt per connection. Answers must never wait for an acknowledgement.
  if (r == 0 && tcp) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // And a client that does not read must not make the kernel hold megabytes for it. What is not sent yet is all this
  // bounds, so a fast one is as fast as before (300 slow readers of a large file: 1.1 GB of kernel memory, 55 MB so).
  if (r == 0 && tcp) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsent);
  // And one that has vanished (power, cable, a firewall that forgot it) must not stay for ever.
  if (r == 0 && tcp) r = set_keep_alive(fd, options_.keep_alive);
  if (r == 0 && tcp && options_.defer_accept) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
  if (r == 0) r = sys::listen(fd, options_.backlog);
  if (r == 0) return fd;
  sys::close(fd);
  return fail_errno(r);
}

Result<std::unique_ptr<Listener>> Listener::bind(runtime::Runtime& runtime, const Endpoint& endpoint,
                                                 ListenerOptions options) {
  if (endpoint.family() == AF_UNSPEC) return fail(std::errc::invalid_argument);
  std::unique_ptr<Listener> l(new Listener(runtime, std::move(options)));
  const bool unix_socket = endpoint.family() == AF_UNIX;
  if (unix_socket) l->options_.connections_per_address = 0;
  if (unix_socket)
    if (const std::error_code error = l->prepare_unix_path(endpoint)) return fail(error);
  if (unix_socket) l->local_ = endpoint;
  const Result<int> first = l->open_socket(endpoint, false);
  if (!first) return fail(first.error());
  grow_descriptor_table(*first, l->options_.connections);
  l->sockets_.push_back(std::make_unique<Socket>(*l, *first));
  if (unix_socket) return l;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (const int r = sys::getsockname(*first, reinterpret_cast<sockaddr*>(&address), &size); r < 0) return fail_errno(r);
  l->local_ = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  for (unsigned i = 1; l->options_.reuse_port && i < runtime.gomaxprocs(); ++i) {
    const Result<int> sibling = l->open_socket(l->local_, true);
    if (!sibling) return fail(sibling.error());
    l->sockets_.push_back(std::make_unique<Socket>(*l, *sibling));
  }
  return l;
}

Listener::~Listener() {
  stop();
  if (reserve_ >= 0) sys::close(reserve_);
}

Result<void> Listener::start(OnAccept on_accept, void* argument) {
  on_accept_ = on_accept;
  argument_ = argument;
  return start();
}

Result<void> Listener::start(OnAcceptFrom on_accept, void* argument) {
  on_accept_from_ = on_accept;
  argument_ = argument;
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

void Listener::release(void* place) noexcept {
  auto& entry = *static_cast<AddressCounts::Entry*>(place);
  auto& shared = *static_cast<Shared*>(entry.owner);
  if (entry.table != nullptr) entry.table->give_back(entry);
  shared.release();
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
  const std::uint32_t burst = socket.burst.load(kRelaxed);
  for (std::uint32_t i = 0; i < burst; ++i) {
    if (accept_one(socket)) continue;
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
std::size_t Listener::make_room(Shortage shortage, std::size_t of) noexcept {
  const MakeRoom& room = options_.make_room;
  const std::int64_t now = runtime::coarse_now();
  if (room.close_some == nullptr || now < room_again_.load(std::memory_order_relaxed)) return 0;
  const std::size_t closed = room.close_some(room.argument, shortage, std::max<std::size_t>(of / kRoomShare, 1));
  if (closed == 0) room_again_.store(now + kRoomPause, std::memory_order_relaxed);
  return closed;
}

bool Listener::take_place() noexcept {
  if (shared_->connections.fetch_add(1, std::memory_order_relaxed) < options_.connections) return true;
  shared_->connections.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

/// The first gate: counts the connection, or closes it.
bool Listener::count_in(int fd) noexcept {
  if (!take_place() && (make_room(Shortage::places, options_.connections) == 0 || !take_place())) {
    sys::close(fd);
    count(options_.metrics.refused_limit);
    return false;
  }
  if (fd >= few_left_) (void)make_room(Shortage::descriptors, static_cast<std::size_t>(few_left_));
  count(options_.metrics.accepted);
  if (options_.metrics.connections != nullptr) options_.metrics.connections->add();
  return true;
}

/// The next connection's socket, or -errno; `client` stays unspecified unless somebody asks for it.
int Listener::accept_client(const Socket& socket, Endpoint& client) const noexcept {
  if (on_accept_from_ == nullptr && options_.connections_per_address == 0 && !options_.gate.wants_client)
    return sys::accept4(socket.fd, nullptr, nullptr);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const int fd = sys::accept4(socket.fd, reinterpret_cast<sockaddr*>(&address), &size);
  if (fd >= 0) client = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  return fd;
}

/// Hands the connection to who serves it, if no limit forbids it.
void Listener::admit(int fd, const Endpoint& client) noexcept {
  if (options_.gate.admit != nullptr && !options_.gate.admit(options_.gate.argument, client)) {
    sys::close(fd);
    count(options_.metrics.refused_gate);
    return;
  }
  AddressCounts::Entry* place = &shared_->anybody;
  if (options_.connections_per_address != 0 && client.family() != AF_UNSPEC) {
    // Before the listener's own limit: one address at its bound must not cost others their idle connections.
    place = shared_->addresses.take(client, options_.connections_per_address);
    if (place == nullptr) {
      sys::close(fd);
      count(options_.metrics.refused_address);
      return;
    }
  }
  if (count_in(fd)) {
    if (on_accept_from_ != nullptr)
      on_accept_from_(argument_, fd, place, client);
    else
      on_accept_(argument_, fd, place);
  } else if (place->table != nullptr) {
    place->table->give_back(*place);
  }
}

/// False when there is nothing (more) to accept now.
bool Listener::accept_one(Socket& socket) noexcept {
  int fd = -1;
  Endpoint client;
  if (backoff_ns_.load(std::memory_order_acquire) == 0) [[likely]] {
    fd = accept_client(socket, client);
  } else {
    // In turn, or a Processor would take the number that another has just freed for its refusal.
    const LockGuard guard(reserve_lock_);
    fd = accept_client(socket, client);
    if (fd >= 0) {
      backoff_ns_.store(0, std::memory_order_release);
      if (reserve_ < 0) reserve_ = open_reserve();
    }
  }
  if (fd >= 0) {
    admit(fd, client);
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
      if (make_room(Shortage::descriptors, shared_->connections.load(std::memory_order_relaxed)) != 0) return true;
      out_of_descriptors(socket, -fd);
      return false;
    default:
      count(options_.metrics.errors);
      out_of_descriptors(socket, -fd);
      return false;
  }
}

void Listener::out_of_descriptors(Socket& socket, int error) noexcept {
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
        count(options_.metrics.refused_descriptors);
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
        "listener %s: accept failed %llu times: %s; raise the descriptor limit (LimitNOFILE) or "
        "lower limits.connections; pausing up to %lld ms",
        options_.name.c_str(), static_cast<unsigned long long>(unlogged_.exchange(0, std::memory_order_relaxed)),
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
  if (options_.connections_per_address != 0) return fail(std::errc::invalid_argument);
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
      if (!count_in(fd)) continue;
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
  // Bounded: without the filter new ones may go on arriving meanwhile.
  for (int i = 0; i < 65'536; ++i) {
    Endpoint client;
    const int fd = accept_client(socket, client);
    if (fd == -EINTR || fd == -ECONNABORTED || fd == -EPROTO) continue;
    if (fd < 0) return;
    admit(fd, client);
  }
}

static void pause_for(std::chrono::milliseconds time) noexcept {
  if (runtime::on_fiber()) {
    (void)runtime::sleep_for(time);
    return;
  }
  const timespec t{0, static_cast<long>(time.count()) * 1'000'000};
  (void)::nanosleep(&t, nullptr);
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

void Listener::remove_unix_path() noexcept {
  const std::string path(local_.path());
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0 && st.st_ino == path_inode_ && st.st_dev == path_device_) ::unlink(path.c_str());
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
