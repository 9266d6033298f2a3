#pragma once
// Acceptor: stands between a listener and who serves its connections, and encrypts them: who serves gets a ByteStream
// whose handshake is over. Behind it nobody knows of TLS; without it nobody pays for it.
//
// The life of a connection in it
//  - silent: its client has said nothing. No fiber, no stack and nothing of OpenSSL's.
//  - shaking: since its first bytes. On a fiber of its own ("tls handshake"), before any buffer of who serves.
// Both together have one deadline from accept, and are bounded: beyond `handshakes` the one that has waited longest
// makes room, silent ones before those that shake. One that shakes ends on its fiber, in a moment: until then the
// newcomer waits beside it, as a socket. A client needs a round trip or two; who is pushed out within that
// time met so many others at once that to wait would not have helped. To refuse the newcomer instead would let whoever
// fills the places keep everybody else out for as long as the deadline.
//
// Where early data is taken a connection may be handed over before its handshake is over: then the stream tells when it
// is, and the bounds are those of who serves. It is counted then, as others are.
//
// A client that speaks plain HTTP is sent `plain_answer`; whoever else fails has been told by TLS's own alert.
//
// A stop lets handshakes go on for `drain`, and then ends them.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <system_error>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/metric/late_counter.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/admitted.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/place.hpp"
#include "core/net/socket_stream.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "core/tls/current_context.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/stream.hpp"

namespace fiberd::tls {

/// Why a connection was closed before it was encrypted: what errc tells, by its value, or one of these.
enum class Unshaken : std::uint8_t {
  timeout = static_cast<std::uint8_t>(errc::count_),  ///< it was not over in time
  reset,                                              ///< the client reset the connection
  limit,                                              ///< there was no room, and nobody who could make it
  reclaimed,                                          ///< it made room for another
  stopping,                                           ///< the stop came before
  resources,                                          ///< memory, a fiber, or a place in epoll was not to be had
  count_
};
inline constexpr std::size_t kUnshaken = static_cast<std::size_t>(Unshaken::count_);
/// "timeout", …, or errc's token.
[[nodiscard]] std::string_view token_of(Unshaken why) noexcept;

/// Each may be null.
struct HandshakeMetrics {
  std::array<std::array<metric::Counter*, 2>, 2> completed{};  ///< TLS 1.2, 1.3; full, resumed
  std::array<metric::LateCounter*, kUnshaken> failed{};        ///< by Unshaken
  metric::Histogram* duration = nullptr;                       ///< of those completed, from the first bytes; ns
  std::array<metric::Counter*, 4> early_data{};                ///< by EarlyData; none is null
  metric::Counter* kernel = nullptr;                           ///< of those completed whose records the kernel makes
  metric::Gauge* pending = nullptr;                            ///< silent and shaking
};

/// Gets each connection with the address of its client, and gives its place back when it is closed. On a fiber.
using OnSecured = void (*)(void* argument, std::unique_ptr<net::ByteStream> stream, net::Place&& place,
                           const net::Endpoint& client) noexcept;

/// What connections are encrypted with, and who gets them.
struct Secured {
  std::shared_ptr<CurrentContext> contexts{};
  std::chrono::nanoseconds patience = std::chrono::seconds(10);  ///< from accept to the handshake's end
  std::chrono::nanoseconds drain = std::chrono::seconds(1);      ///< the same, from when a stop has begun
  std::chrono::nanoseconds farewell = std::chrono::seconds(1);   ///< for a client to read why it was refused
  std::size_t handshakes = 1'000;                                ///< silent and shaking ones at once
  std::string_view plain_answer{};                               ///< outlives all
  OnSecured on_secured = nullptr;
  void* argument = nullptr;
  const HandshakeMetrics* metrics = nullptr;  ///< outlives the Acceptor's connections, and those handed over
};

/// Thread-safe. Outlives the listeners that it stands behind, and its connections: drain() first.
class Acceptor {
 public:
  /// Throws std::bad_alloc.
  Acceptor() : secured_(std::make_shared<const Secured>()) {}
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  /// Before the first connection, and whenever it changes. Handshakes under way end by what they began with, and are
  /// handed to whoever serves by then. When it returns nobody is handed to the one before. Parks on a fiber, for a
  /// moment. Throws std::bad_alloc.
  void use(Secured next);
  /// From then on. Inside the scheduler or on a fiber; never parks. `client`: as accept, or a proxy, said.
  void accept(net::Admitted&& connection) noexcept;
  void accept(net::TcpStream&& stream, net::Place&& place, const net::Endpoint& client) noexcept;

  [[nodiscard]] std::size_t pending() const noexcept { return pending_.load(std::memory_order_acquire); }
  /// Of those: whose client has said something.
  [[nodiscard]] std::size_t shaking() const noexcept { return begun_.load(std::memory_order_acquire); }
  /// Ends up to `most` of those that have waited since `until` (monotonic ns) or longer: silent ones first.
  /// Thread-safe; never parks. Returns how many.
  std::size_t reclaim(std::size_t most, std::int64_t until) noexcept;
  /// When no listener accepts any more: parks until none is left. Those that are there have the policy's `drain`, or
  /// until `deadline` (monotonic ns, which may be moved meanwhile). On a fiber.
  void drain(const std::atomic<std::int64_t>& deadline) noexcept;

 private:
  struct Newcomer;
  struct Shaking;
  using Current = std::shared_ptr<const Secured>;
  [[nodiscard]] bool take_place(std::size_t most) noexcept;
  [[nodiscard]] bool succeed(Newcomer& newcomer) noexcept;
  void admit(Newcomer&& newcomer) noexcept;
  void leave(Shaking& s) noexcept;
  void refuse(Newcomer&& newcomer, Unshaken why) noexcept;
  void begin(Shaking& s) noexcept;
  void shake(Shaking& s) noexcept;
  void answer_plain(net::SocketStream& socket, std::string_view answer, const Deadline& limit) noexcept;
  void see_off(net::SocketStream& socket, const Deadline& limit) noexcept;
  void hand_over(Shaking& s, std::int64_t began) noexcept;
  void end(Shaking& s, Unshaken why) noexcept;
  void gone(Shaking& s) noexcept;
  void count_end(const Secured& by, Unshaken why) noexcept;
  std::size_t end_silent(std::size_t most, std::int64_t until, Unshaken why) noexcept;
  std::size_t end_some(std::size_t most, std::int64_t until, Unshaken why) noexcept;

  sync::AtomicSnapshot<Current> secured_;
  std::atomic<std::size_t> pending_{0};
  std::atomic<std::size_t> begun_{0};
  Lock lock_;
  List<Shaking> silent_ FIBERD_GUARDED_BY(lock_);  // those that came first are in front
  List<Shaking> shaking_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::tls
