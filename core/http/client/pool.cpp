#include "core/http/client/pool.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/cache_line.hpp"
#include "core/base/clock.hpp"
#include "core/base/thread_locals.hpp"
#include "core/context/waits.hpp"
#include "core/http/client/errc.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::http {
namespace client_detail {

using Connection = PooledConnection;
using ConnectionPointer = std::unique_ptr<Connection>;

/// The idle connections of one origin on one Processor.
class alignas(kCacheLine) Shelf {
 public:
  [[nodiscard]] bool empty() const noexcept { return size_.load(std::memory_order_relaxed) == 0; }

  /// Shelves it. Gives it back when there are bytes, or was an edge.
  [[nodiscard]] ConnectionPointer put(ConnectionPointer connection, const runtime::IdleHandler& handler,
                                      Deadline until) noexcept {
    const LockGuard guard(lock_);
    connection->shelf = this;  // before: the Poller may have won it when this returns
    if (!connection->stream->go_idle(handler, connection.get(), until)) return connection;
    list_.push_front(*connection.release());
    size_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  /// The last one that was shelved and that nobody else has won.
  [[nodiscard]] ConnectionPointer take() noexcept {
    if (empty()) return nullptr;
    const LockGuard guard(lock_);
    for (Connection* c = list_.front(); c != nullptr; c = list_.after(*c))
      if (c->stream->claim_idle()) return unhang(*c);
    return nullptr;
  }
  /// By the Poller, which has won it.
  [[nodiscard]] ConnectionPointer take_won(Connection& connection) noexcept {
    const LockGuard guard(lock_);
    return unhang(connection);
  }

 private:
  ConnectionPointer unhang(Connection& connection) noexcept {
    List<Connection>::remove(connection);
    size_.fetch_sub(1, std::memory_order_relaxed);
    connection.shelf = nullptr;
    return ConnectionPointer(&connection);
  }
  Lock lock_;
  List<Connection> list_ FIBERD_GUARDED_BY(lock_);
  std::atomic<std::uint32_t> size_{0};
};

/// One that waits: it is given a connection, or a place, or an error.
struct Applicant : sync::Waiter {
  ConnectionPointer connection;
  std::error_code error;
};

/// What all connections share, for as long as any of them lives: the Poller may be closing one while its pool dies.
struct PoolState : std::enable_shared_from_this<PoolState> {
  PoolState(const PoolOptions& o, const ClientMetrics& m) : options(o), metrics(m) {}
  const PoolOptions options;
  const ClientMetrics metrics;
  std::atomic<bool> closed{false};

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };
  struct alignas(kCacheLine) Part {
    mutable Lock lock;
    std::unordered_map<std::string, std::shared_ptr<Origin>, Hash, std::equal_to<>> origins FIBERD_GUARDED_BY(lock);
  };
  static constexpr std::size_t kParts = 16;
  static constexpr std::size_t kKept = 64;  // origins of a part that may be there without a connection
  std::array<Part, kParts> parts;

  /// nullptr: closed. Throws std::bad_alloc.
  [[nodiscard]] std::shared_ptr<Origin> origin(std::string_view name);
};

class Origin : public std::enable_shared_from_this<Origin> {
 public:
  explicit Origin(std::shared_ptr<PoolState> state)
      : state_(std::move(state)),
        shelf_count_(std::max(1U, runtime::gomaxprocs())),
        shelves_(std::make_unique<Shelf[]>(shelf_count_)) {}
  ~Origin() { queue_.dies("a client's pool died while requests waited for a connection"); }
  Origin(const Origin&) = delete;
  Origin& operator=(const Origin&) = delete;

  [[nodiscard]] const PoolState& state() const noexcept { return *state_; }
  [[nodiscard]] bool unused() const noexcept { return places_.load(std::memory_order_relaxed) == 0; }
  [[nodiscard]] std::size_t idle() const noexcept { return idle_.load(std::memory_order_relaxed); }

  /// An idle connection; nullptr: a place for one was taken.
  [[nodiscard]] Result<ConnectionPointer> acquire(const context::Context& ctx, bool ask) {
    if (waiting_.load(std::memory_order_seq_cst) == 0) {
      bool stolen = false;
      if (ConnectionPointer c = take_idle(ask, &stolen)) {
        if (stolen) metric::count(state_->metrics.stolen);
        return c;
      }
    }
    Applicant applicant;
    {
      const LockGuard guard(lock_);
      if (state_->closed.load(std::memory_order_acquire)) return fail(client_errc::client_closed);
      const std::uint32_t most = state_->options.connections;
      if (queue_.empty() && (most == 0 || places_.load(std::memory_order_relaxed) < most)) {
        places_.fetch_add(1, std::memory_order_relaxed);
        return ConnectionPointer();
      }
      if (waiting_.load(std::memory_order_relaxed) >= state_->options.waiting)
        return fail(client_errc::too_many_waiting);
      waiting_.fetch_add(1, std::memory_order_seq_cst);
      queue_.add(applicant, runtime::WaitReason::pool, this);
    }
    metric::count(state_->metrics.waited);
    // One may have been shelved between the look and the queue.
    match();
    return wait_for(ctx, applicant, ask);
  }

  void keep(ConnectionPointer connection) noexcept {
    if (state_->closed.load(std::memory_order_acquire) || connection->stream->hung_up())
      return end(std::move(connection));
    if (waiting_.load(std::memory_order_seq_cst) != 0 && give(connection)) return;
    shelve(std::move(connection));
    if (state_->closed.load(std::memory_order_seq_cst)) close_idle();
    if (waiting_.load(std::memory_order_seq_cst) != 0) match();
  }

  /// Of the place of a connection that has ended, or never was: the first who waits has it.
  void give_place_back() noexcept {
    sync::WakeChain chain;
    {
      const LockGuard guard(lock_);
      if (Applicant* const first = pop()) {
        chain.add(*first);  // with the place, which stays taken
      } else {
        places_.fetch_sub(1, std::memory_order_relaxed);
      }
    }
    chain.wake();
  }

  void end(ConnectionPointer connection) noexcept {
    if (state_->metrics.connections != nullptr) state_->metrics.connections->sub();
    const std::shared_ptr<Origin> keep_alive = std::move(connection->origin);
    connection.reset();
    give_place_back();
  }

  /// Closes what is idle and turns away who waits.
  void close() noexcept {
    close_idle();
    sync::WakeChain chain;
    {
      const LockGuard guard(lock_);
      while (Applicant* const a = pop()) {
        a->error = client_errc::client_closed;
        chain.add(*a);
      }
    }
    chain.wake();
  }

 private:
  [[nodiscard]] Shelf& own_shelf() noexcept { return shelves_[thread_locals()->shard % shelf_count_]; }

  [[nodiscard]] Result<ConnectionPointer> wait_for(const context::Context& ctx, Applicant& applicant, bool ask) {
    const context::Cancelable patience = context::with_timeout(ctx, state_->options.wait);
    const std::error_code ended = sync::wait(lock_, applicant, &patience.context);
    patience.cancel();
    if (ended) {
      // Out of the queue, and with nothing.
      waiting_.fetch_sub(1, std::memory_order_seq_cst);
      if (const std::error_code outer = ctx.err()) return fail(outer);
      return fail(client_errc::wait_timeout);
    }
    if (applicant.error) return fail(applicant.error);
    if (const std::error_code outer = ctx.err()) {
      // Granted and ended at once: it is for the next.
      if (applicant.connection != nullptr) {
        keep(std::move(applicant.connection));
      } else {
        give_place_back();
      }
      return fail(outer);
    }
    if (ask && applicant.connection != nullptr && !is_silent(*applicant.connection)) {
      // Not fit for it: the place is for a new one.
      metric::count(state_->metrics.idle_ended);
      if (state_->metrics.connections != nullptr) state_->metrics.connections->sub();
      applicant.connection.reset();
    }
    return std::move(applicant.connection);
  }

  /// The first who waits, out of the queue. Under the lock.
  [[nodiscard]] Applicant* pop() noexcept FIBERD_REQUIRES(lock_) {
    Applicant* const first = queue_.pop();
    if (first != nullptr) waiting_.fetch_sub(1, std::memory_order_seq_cst);
    return first;
  }

  /// To the first who waits, as it is. False: nobody does.
  [[nodiscard]] bool give(ConnectionPointer& connection) noexcept {
    sync::WakeChain chain;
    {
      const LockGuard guard(lock_);
      Applicant* const first = pop();
      if (first == nullptr) return false;
      first->connection = std::move(connection);
      chain.add(*first);
    }
    chain.wake();
    return true;
  }

  /// Brings together who waits and what is idle.
  void match() noexcept {
    while (waiting_.load(std::memory_order_seq_cst) != 0) {
      ConnectionPointer c = take_idle(false);
      if (c == nullptr) return;
      // And looks again: between the two somebody else may have queued, looked, and found nothing.
      if (!give(c)) shelve(std::move(c));
    }
  }

  void shelve(ConnectionPointer connection) noexcept {
    static constexpr runtime::IdleHandler kHandler{&Origin::on_bytes, &Origin::on_idle_timeout};
    const PoolOptions& options = state_->options;
    if (idle_.fetch_add(1, std::memory_order_relaxed) >= options.idle) {
      idle_.fetch_sub(1, std::memory_order_relaxed);
      return end(std::move(connection));
    }
    if (state_->metrics.idle != nullptr) state_->metrics.idle->add();
    Shelf& shelf = own_shelf();
    connection->idle_since = runtime::coarse_now();
    const Deadline until = Deadline::after(connection->idle_since, options.idle_time);
    // An edge of bytes that were read long ago may still stand; twice is more than that.
    for (int i = 0; i < 3; ++i) {
      connection = shelf.put(std::move(connection), kHandler, until);
      if (connection == nullptr) return;
      if (!is_silent(*connection)) break;
    }
    metric::count(state_->metrics.idle_ended);
    no_longer_idle();
    end(std::move(connection));
  }

  void no_longer_idle() noexcept {
    idle_.fetch_sub(1, std::memory_order_relaxed);
    if (state_->metrics.idle != nullptr) state_->metrics.idle->sub();
  }

  /// Whether the kernel has neither bytes nor an end. A system call.
  [[nodiscard]] static bool is_silent(Connection& c) noexcept {
    std::byte unasked;
    const Result<std::size_t> n = c.stream->try_read({&unasked, 1});
    return !n && n.error() == std::errc::operation_would_block;
  }

  [[nodiscard]] ConnectionPointer take_idle(bool ask, bool* stolen = nullptr) noexcept {
    const std::uint32_t own = thread_locals()->shard % shelf_count_;
    for (std::uint32_t i = 0; i < shelf_count_; ++i) {
      Shelf& shelf = shelves_[(own + i) % shelf_count_];
      while (ConnectionPointer c = shelf.take()) {
        no_longer_idle();
        if (is_usable(*c, ask)) {
          if (stolen != nullptr) *stolen = i != 0;
          return c;
        }
        metric::count(state_->metrics.idle_ended);
        end(std::move(c));
      }
    }
    return nullptr;
  }

  [[nodiscard]] bool is_usable(Connection& c, bool ask) const noexcept {
    if (c.stream->hung_up()) return false;
    // Not by the clock of this scheduling round: whoever computed meanwhile would believe that no time has passed.
    if (!ask && monotonic_now() - c.idle_since < state_->options.trust.count()) return true;
    return is_silent(c);
  }

  void close_idle() noexcept {
    for (std::uint32_t i = 0; i < shelf_count_; ++i)
      while (ConnectionPointer c = shelves_[i].take()) {
        no_longer_idle();
        end(std::move(c));
      }
  }

  // The Poller has won an idle connection: inside the scheduler.
  static void won(void* argument, metric::Counter* ClientMetrics::*counter) noexcept {
    auto& c = *static_cast<Connection*>(argument);
    const std::shared_ptr<Origin> origin = c.origin;
    metric::count(origin->state_->metrics.*counter);
    ConnectionPointer connection = c.shelf->take_won(c);
    origin->no_longer_idle();
    origin->end(std::move(connection));
  }
  static void on_bytes(void* argument) noexcept { won(argument, &ClientMetrics::idle_ended); }
  static void on_idle_timeout(void* argument) noexcept { won(argument, &ClientMetrics::idle_timeout); }

  const std::shared_ptr<PoolState> state_;
  const std::uint32_t shelf_count_;
  const std::unique_ptr<Shelf[]> shelves_;
  std::atomic<std::uint32_t> idle_{0};
  std::atomic<std::uint32_t> places_{0};   // connections there are or are being made; grows under lock_
  std::atomic<std::uint32_t> waiting_{0};  // those in queue_, and those that are just leaving it
  Lock lock_;
  sync::BasicWaitQueue<Applicant> queue_ FIBERD_GUARDED_BY(lock_);
};

std::shared_ptr<Origin> PoolState::origin(std::string_view name) {
  Part& part = parts[Hash()(name) % kParts];
  {
    const LockGuard guard(part.lock);
    if (const auto found = part.origins.find(name); found != part.origins.end()) return found->second;
  }
  auto made = std::make_shared<Origin>(shared_from_this());
  const LockGuard guard(part.lock);
  // From then on an origin that is put here would keep this alive, and this it.
  if (closed.load(std::memory_order_acquire)) return nullptr;
  // Nobody can get at an origin but through here: one that nobody holds and that has no connection is forgotten.
  if (part.origins.size() >= kKept)
    std::erase_if(part.origins,
                  [](const auto& entry) { return entry.second.use_count() == 1 && entry.second->unused(); });
  return part.origins.emplace(std::string(name), std::move(made)).first->second;
}

}  // namespace client_detail

using client_detail::Origin;
using client_detail::PooledConnection;
using client_detail::PoolState;

ConnectionLease::ConnectionLease(std::shared_ptr<Origin> origin, std::unique_ptr<PooledConnection> connection) noexcept
    : origin_(std::move(origin)), connection_(std::move(connection)) {}
ConnectionLease::ConnectionLease(ConnectionLease&& o) noexcept = default;
ConnectionLease& ConnectionLease::operator=(ConnectionLease&& o) noexcept {
  if (this == &o) return *this;
  drop();
  origin_ = std::move(o.origin_);
  connection_ = std::move(o.connection_);
  return *this;
}

void ConnectionLease::connect(std::unique_ptr<ClientStream> stream) {
  connection_ = std::make_unique<PooledConnection>();
  connection_->stream = std::move(stream);
  connection_->origin = origin_;
  const ClientMetrics& m = origin_->state().metrics;
  metric::count(m.opened);
  if (m.connections != nullptr) m.connections->add();
}

void ConnectionLease::disconnect() noexcept {
  if (connection_ == nullptr) return;
  connection_.reset();
  if (metric::Gauge* const g = origin_->state().metrics.connections) g->sub();
}

void ConnectionLease::keep() noexcept {
  const std::shared_ptr<Origin> origin = std::move(origin_);
  origin_ = nullptr;
  if (connection_ != nullptr) {
    origin->keep(std::move(connection_));
  } else if (origin != nullptr) {
    origin->give_place_back();
  }
}

void ConnectionLease::drop() noexcept {
  if (origin_ == nullptr) return;
  disconnect();
  std::exchange(origin_, nullptr)->give_place_back();
}

ConnectionPool::ConnectionPool(const PoolOptions& options, const ClientMetrics& metrics)
    : state_(std::make_shared<PoolState>(options, metrics)) {}

ConnectionPool::~ConnectionPool() { close(); }

Result<ConnectionLease> ConnectionPool::acquire(const context::Context& ctx, std::string_view name, bool ask) {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  if (state_->closed.load(std::memory_order_acquire)) return fail(client_errc::client_closed);
  std::shared_ptr<Origin> origin = state_->origin(name);
  if (origin == nullptr) return fail(client_errc::client_closed);
  Result<std::unique_ptr<PooledConnection>> connection = origin->acquire(ctx, ask);
  if (!connection) return fail(connection.error());
  if (*connection != nullptr) metric::count(state_->metrics.reused);
  return ConnectionLease(std::move(origin), std::move(*connection));
}

void ConnectionPool::close() noexcept {
  state_->closed.store(true, std::memory_order_seq_cst);
  for (PoolState::Part& part : state_->parts) {
    decltype(part.origins) origins;
    {
      const LockGuard guard(part.lock);
      origins.swap(part.origins);
    }
    for (const auto& [name, origin] : origins) origin->close();
  }
}

std::size_t ConnectionPool::idle() const noexcept {
  std::size_t n = 0;
  for (const PoolState::Part& part : state_->parts) {
    const LockGuard guard(part.lock);
    for (const auto& [name, origin] : part.origins) n += origin->idle();
  }
  return n;
}

std::size_t ConnectionPool::origins() const noexcept {
  std::size_t n = 0;
  for (const PoolState::Part& part : state_->parts) {
    const LockGuard guard(part.lock);
    n += part.origins.size();
  }
  return n;
}

}  // namespace fiberd::http
