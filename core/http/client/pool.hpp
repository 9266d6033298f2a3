#pragma once
// ConnectionPool: the client's connections to each origin: those that are idle, those that are in use (their places
// only), and who waits for one.
//
// Idle connections lie in a shelf per Processor, the last one back on top: it is warm, and the others may time out.
// Whoever needs one looks on its own shelf, then on the others' (that is stealing), and only then takes a place for a
// new one. A new connection costs a round trip, three system calls and the server's memory; a look at a shelf that is
// empty costs one load.
//
// An idle connection has no fiber and no buffer: it is idle in the Poller's sense (PollDescriptor::go_idle), so the
// Poller itself tells when the server closes it, sends what nobody asked for, or when it was idle for too long, and it
// is closed then and there. To take one is claim_idle(): it fails for one that the Poller has just won. So the check is
// free; but what has arrived and was not polled yet it cannot see. Therefore one that was idle for longer than `trust`
// is also asked by a read that finds nothing (as is one for a request that could not be repeated). Within `trust` the
// last read, which was short, and the edges have said all there was a moment ago; a server that answers twice in that
// time could as well do so a moment later, and nobody can see that.
//
// Places. `most` connections an origin may have, idle ones counted. Who finds neither an idle one nor a place waits, in
// order of arrival, and is *given* what comes back: a connection as it is, or the place of one that ended. So nobody
// overtakes: as long as somebody waits, newcomers queue too.
//
// Locks. An origin's lock guards places and queue; a shelf's lock its list, and everything that is done to a connection
// while it hangs there: it is shelved with go_idle(), and claimed, under the lock, and what the Poller has won takes
// itself off under it before it dies. Order: origin, then shelf. Between "nothing on the shelves" and "somebody waits"
// there is no gap: a waiter is counted before it looks a last time, and whoever shelves looks for waiters afterwards.
//
// Rejected: one list for all Processors (its lock was the most contended word of a proxy at two Processors); a
// connection that waits in a read on a fiber of its own, as Go has it (a stack each, and two switches a request).
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/client/client_metrics.hpp"
#include "core/net/byte_stream.hpp"

namespace fiberd::http {

/// What a connection's bytes go through: a socket, or TLS over one.
using ClientStream = net::ByteStream;

class ConnectionPool;

namespace client_detail {
class Origin;
class Shelf;
struct PoolState;

struct PooledConnection : ListHook {
  std::unique_ptr<ClientStream> stream;
  std::shared_ptr<Origin> origin;
  Shelf* shelf = nullptr;  // while idle
  std::int64_t idle_since = 0;
};
}  // namespace client_detail

struct PoolOptions {
  std::uint32_t connections = 0;                                  ///< of an origin, idle ones counted; 0: no bound
  std::uint32_t idle = 64;                                        ///< of these, idle; 0: none is kept
  std::uint32_t waiting = 1024;                                   ///< requests that wait for a connection to an origin
  std::chrono::nanoseconds wait = std::chrono::seconds(10);       ///< for a connection
  std::chrono::nanoseconds idle_time = std::chrono::seconds(30);  ///< idle for longer: closed. Below what servers allow
  /// A connection that was idle for less than this is used again without asking the kernel about it; 0: none is.
  std::chrono::nanoseconds trust = std::chrono::milliseconds(1);
};

/// A place among an origin's connections, and the connection in it, if there is one yet. Moved, not copied; goes back
/// when it dies, and its connection is closed then unless keep() was called. One owner at a time; any thread.
class ConnectionLease {
 public:
  /// None.
  ConnectionLease() noexcept = default;
  ConnectionLease(ConnectionLease&& o) noexcept;
  ConnectionLease& operator=(ConnectionLease&& o) noexcept;
  ~ConnectionLease() { drop(); }

  explicit operator bool() const noexcept { return origin_ != nullptr; }
  [[nodiscard]] bool connected() const noexcept { return connection_ != nullptr; }
  [[nodiscard]] ClientStream& stream() const noexcept { return *connection_->stream; }
  /// A new connection. Throws std::bad_alloc.
  void connect(std::unique_ptr<ClientStream> stream);
  /// Closes the connection and keeps the place, for another.
  void disconnect() noexcept;
  /// The exchange is over, all of it, and nothing was sent or read beyond: the connection is for the next.
  void keep() noexcept;
  /// Closes the connection, if there is one, and gives the place back.
  void drop() noexcept;

 private:
  friend class ConnectionPool;
  ConnectionLease(std::shared_ptr<client_detail::Origin> origin,
                  std::unique_ptr<client_detail::PooledConnection> connection) noexcept;
  std::shared_ptr<client_detail::Origin> origin_;
  std::unique_ptr<client_detail::PooledConnection> connection_;
};

/// All members: any fiber.
class ConnectionPool {
 public:
  ConnectionPool(const PoolOptions& options, const ClientMetrics& metrics);
  /// close().
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  /// A connection to `origin`, which is any text that names one, or a place for one. `ask`: one that was used before is
  /// looked at by a read however short it was idle, or if it comes straight from another request. Waits where there is
  /// none. Errors: too_many_waiting, wait_timeout, client_closed, context::errc. Throws std::bad_alloc.
  [[nodiscard]] Result<ConnectionLease> acquire(const context::Context& ctx, std::string_view origin, bool ask);

  /// Closes what is idle, and turns away who waits and who comes. What is in use is closed when it comes back. Never
  /// parks.
  void close() noexcept;
  /// Snapshots.
  [[nodiscard]] std::size_t idle() const noexcept;
  [[nodiscard]] std::size_t origins() const noexcept;

 private:
  std::shared_ptr<client_detail::PoolState> state_;
};

}  // namespace fiberd::http
