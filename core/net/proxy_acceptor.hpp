#pragma once
// ProxyAcceptor: stands between a Listener and who serves its connections, and reads the PROXY protocol's header that
// proxies in front of us send first (proxy_protocol.hpp). Behind it a connection is the client's: gates, the limit of
// an address, logs and handlers see who stands behind the proxy. A listener without it pays nothing for it.
//
// Who is believed
//  - Peers of ProxyPolicy::trusted alone: what others say is never read as a header. Where headers are asked for, the
//    others' connections are closed unread; where they are optional, others are served as they are, by the address
//    that they have, and a header of theirs is bytes like any other.
//  - LOCAL, UNKNOWN and UNSPEC headers, and none where that is allowed, leave the peer's own address.
//
// How it is read
//  - In the scheduler, without a fiber: mostly the header is there with the connection. A connection whose header has
//    not come whole is idle (no fiber, no stack) until bytes come, or ProxyPolicy::patience is over,
//    counted from accept.
//  - By looking (MSG_PEEK) and then taking exactly the header's bytes: what is behind it stays in the kernel, for
//  whoever
//    serves, who reads it as if there had been no header. What turns out to be no header, where it is optional, has
//    not been touched at all. Taken piece by piece, so that a header that drips costs no byte twice; but for an
//    optional one's first twelve bytes.
//
// What counts a connection
//  - The listener's own limit: from accept. That of an address: when the header has come, of the client that it names.
//    A trusted proxy's own address is counted for no connection, also of those that name nobody, or a proxy would use
//    up the limit of itself. The gate is asked at that time, too, about the client that is named.
//
// Replacing. As Listener::replace(): connections whose header is under way are handed to whoever serves by then.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/address_ranges.hpp"
#include "core/net/admitted.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/listener.hpp"
#include "core/net/proxy_protocol.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/sync/atomic_snapshot.hpp"

namespace fiberd::net {

/// Which headers a trusted peer's connection begins with.
enum class ProxyHeaders : std::uint8_t { any, v1, v2, optional };

/// Immutable.
struct ProxyPolicy {
  ProxyHeaders headers = ProxyHeaders::any;
  AddressRanges trusted{};
  std::chrono::nanoseconds patience = std::chrono::seconds(10);  ///< from accept to the header's end
  std::chrono::nanoseconds drain = std::chrono::seconds(1);      ///< the same, from when a stop has begun
};

/// Why a connection was closed before it was served; beside ProxyRefusal.
enum class ProxyClosed : std::uint8_t {
  untrusted,      ///< the peer is none of the trusted
  other_version,  ///< a header of the version that is not asked for
  timeout,        ///< it did not come whole in time
  ended,          ///< the peer ended or reset the connection before
  resources,      ///< memory, or a place in epoll, was not to be had
  stopping        ///< the stop came before
};
[[nodiscard]] std::string_view token_of(ProxyClosed why) noexcept;
inline constexpr std::size_t kProxyRefusals = 8;
inline constexpr std::size_t kProxyClosings = 6;

/// Each may be null.
struct ProxyMetrics {
  std::array<metric::Counter*, 3> headers{};  ///< read: none, version 1, version 2
  std::array<metric::Counter*, kProxyRefusals> refused{};
  std::array<metric::Counter*, kProxyClosings> closed{};
};

/// Gets each connection, not read from but for its header, with the address of its client, and gives its place back
/// when it is closed. As OnAccept: inside the scheduler, must not park or throw.
using OnStream = void (*)(void* argument, TcpStream&& stream, Place&& place, const Endpoint& client) noexcept;

/// Who gets the connections.
struct Proxied {
  std::shared_ptr<const ProxyPolicy> policy{};  ///< null: no header is read
  OnStream on_stream = nullptr;
  void* argument = nullptr;
  /// Its gate, and its limit of an address, are asked when the client is known; `metrics`, if given, counts whom they
  /// refuse. The rest of it is for the listener: in_front().
  Serving serving{};
  const ProxyMetrics* metrics = nullptr;
  std::string_view name{};  ///< for logs
};

/// Thread-safe. Outlives the listeners that it stands behind, and its connections: drain() first.
class ProxyAcceptor {
 public:
  /// Throws std::bad_alloc.
  ProxyAcceptor() : proxied_(std::make_shared<const Proxied>()) {}
  ProxyAcceptor(const ProxyAcceptor&) = delete;
  ProxyAcceptor& operator=(const ProxyAcceptor&) = delete;

  /// Before the first connection, and whenever it changes. As Listener::replace().
  void use(Proxied next);
  /// What a listener is given so that its connections come here first.
  [[nodiscard]] Serving in_front(const Serving& serving) noexcept;
  /// Connections whose header has not come whole.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_acquire); }
  /// When no listener accepts any more: parks until none waits. Those that do have the policy's `drain`, or until
  /// `deadline` (monotonic ns, which may be moved meanwhile); then they are closed. On a fiber.
  void drain(const std::atomic<std::int64_t>& deadline) noexcept;

 private:
  struct Waiting;
  enum class Next : std::uint8_t { wait, read, over };
  using Current = std::shared_ptr<const Proxied>;
  void accept(Admitted&& connection) noexcept;
  void advance(Waiting& w) noexcept;
  [[nodiscard]] Next look(Waiting& w, std::string_view bytes, std::size_t room) noexcept;
  void hand_over(Waiting& w, bool named) noexcept;
  void deliver(const Proxied& to, TcpStream&& stream, Place&& place, const Endpoint& client, bool counted) noexcept;
  void close(Waiting& w, ProxyClosed why) noexcept;
  void close(Waiting& w, metric::Counter* counter, std::string_view why) noexcept;
  void close_waiting() noexcept;
  void unlist(Waiting& w) noexcept;
  void tell(const Proxied& of, const Endpoint& peer, std::string_view why) noexcept;

  sync::AtomicSnapshot<Current> proxied_;
  std::atomic<std::size_t> waiting_{0};
  LogLimit log_limit_;
  Lock lock_;
  List<Waiting> all_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::net
