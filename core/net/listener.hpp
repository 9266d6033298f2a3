#pragma once
// Listener: a listening socket that accepts inside the scheduler. How and why: listener.cpp.
//
// The socket and who is served by it are two things: a configuration that is replaced keeps the socket, with all that
// waits in its queue, and gives it another handler, other limits, another gate, other counts (replace()).
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/metric/late_counter.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/admitted.hpp"
#include "core/net/connection_counts.hpp"
#include "core/net/descriptor_reserve.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/keep_alive.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/acceptor.hpp"
#include "core/runtime/timer.hpp"
#include "core/sync/atomic_snapshot.hpp"

namespace fiberd::runtime {
class Runtime;
}

namespace fiberd::net {

/// Counters of a listener; each may be null.
struct ListenerMetrics {
  metric::Counter* accepted = nullptr;
  metric::Counter* refused_limit = nullptr;        ///< over the connection limit: closed at once
  metric::LateCounter* refused_address = nullptr;  ///< over the limit of its address: closed at once
  metric::LateCounter* refused_gate = nullptr;     ///< by the AcceptGate: closed at once
  metric::Counter* refused_memory = nullptr;       ///< by Serving::memory: closed at once
  metric::Counter* refused_descriptors =
      nullptr;                        ///< EMFILE and its kin: the client was closed by the reserve descriptor
  metric::Counter* errors = nullptr;  ///< accept failed otherwise
  metric::Gauge* connections = nullptr;
};

/// What there is too little of for the next connection.
enum class Shortage : std::uint8_t {
  places,       ///< of this listener: its connection limit
  descriptors,  ///< of the process
};

/// Asked to close about `wanted` connections that nobody will miss; returns how many it closed just now. Called inside
/// the scheduler, on several threads at once: must not park.
struct MakeRoom {
  std::size_t (*close_some)(void* argument, Shortage shortage, std::size_t wanted) noexcept = nullptr;
  void* argument = nullptr;
};

/// Asked about each accepted connection before anything is spent on it. False: it is closed at once. Called inside the
/// scheduler, on several threads at once: must not park.
struct AcceptGate {
  bool (*admit)(void* argument, const Endpoint& client) noexcept = nullptr;
  void* argument = nullptr;
  bool wants_client = false;  ///< else `client` is unspecified
};

/// Gets each connection that is let in. Runs inside the scheduler, on several threads at once: must not park or throw.
/// What it does not take of the connection is closed and counted off.
using OnAccept = void (*)(void* argument, Admitted&& connection) noexcept;

/// What a listener that accepts can be given in place of what it has; each as in ListenerOptions.
struct Serving {
  OnAccept on_accept = nullptr;
  void* argument = nullptr;
  bool wants_client = false;  ///< Admitted::client() is asked for, whatever the limits need
  std::size_t connections = 10'000;
  std::size_t connections_per_address = 0;
  AcceptGate memory{};  ///< asked first of all, before anything is counted: whether there is memory for it
  AcceptGate gate{};
  MakeRoom make_room{};
  // Of who serves, if several sockets are his, or if sockets pass from one to another; else the listener's own.
  ConnectionCounts* counts = nullptr;        ///< outlives all connections that came while it was this; not for accept()
  const ListenerMetrics* metrics = nullptr;  ///< but for the gauge, which is the counts'
  std::string_view name{};                   ///< for logs
};
/// What of ListenerOptions belongs to the socket and can be changed all the same.
struct SocketSettings {
  int backlog = 4096;
  KeepAlive keep_alive{};
  bool defer_accept = false;
  std::uint32_t mode = 0666;
  std::optional<std::uint32_t> owner{};
  std::optional<std::uint32_t> group{};
};

struct ListenerOptions {
  int backlog = 4096;                ///< capped by net.core.somaxconn
  KeepAlive keep_alive{};            ///< of accepted connections; TCP only
  bool reuse_port = false;           ///< a socket per Processor of start time, in one SO_REUSEPORT group; TCP only
  bool defer_accept = false;         ///< TCP_DEFER_ACCEPT 1 s: accept only with data; TCP only
  bool dual_stack = true;            ///< "[::]" takes IPv4 too
  std::size_t connections = 10'000;  ///< open at once; more are closed at once and counted
  /// Of one address (AddressCounts) open at once, as `connections`; 0: no bound. Not for accept(), nor Unix sockets.
  std::size_t connections_per_address = 0;
  AcceptGate gate{};                   ///< not for accept()
  MakeRoom make_room;                  ///< asked before a connection is refused; may be empty
  std::uint32_t mode = 0666;           ///< of a Unix socket's file
  std::optional<std::uint32_t> owner;  ///< of a Unix socket's file
  std::optional<std::uint32_t> group;
  std::string name = "listener";  ///< for logs
  ListenerMetrics metrics;
};

/// Who has a listening socket beside its listener, and goes on with it when that stops.
enum class Keeper : std::uint8_t {
  nobody,
  other_process,    ///< one like ours, which it was given to or came from
  store,            ///< a service manager, who has been given it to keep
  service_manager,  ///< for as long as there is one: who may connect to a Unix socket's file is its affair, too
};

/// The listener, or Serving::counts, outlives the connections that it has let in (but for those of serve()).
class Listener {
 public:
  /// Binds and listens; nothing is accepted before start(). Errors: address_in_use (also a live Unix socket),
  /// permission_denied, address_not_available, invalid_argument, …
  [[nodiscard]] static Result<std::unique_ptr<Listener>> bind(runtime::Runtime& runtime, const Endpoint& endpoint,
                                                              ListenerOptions options);
  /// One on `descriptors`, which listen at one address already and are its own from now on, also when it fails; kept by
  /// `keeper`, and with `foreign` his for good, file and all. Of the options only those that can be changed of such a
  /// socket hold; with `in_use` (another process serves by it) from apply() on. Errors: of the system.
  [[nodiscard]] static Result<std::unique_ptr<Listener>> adopt(runtime::Runtime& runtime,
                                                               const std::vector<int>& descriptors,
                                                               ListenerOptions options, Keeper keeper, bool foreign,
                                                               bool in_use = false);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// `wants_client` as in Serving.
  [[nodiscard]] Result<void> start(OnAccept on_accept, void* argument, bool wants_client = false);
  /// As replace() before it, in one. Throws std::bad_alloc.
  [[nodiscard]] Result<void> start(const Serving& serving);
  /// Replaces who is served and within which limits, all of it at once: a connection is treated by the one or by the
  /// other. When it returns, what it had before is not called any more, and no call is under way. Connections that are
  /// open count against the new limits, if the counts are the same; those that were counted of no address still are of
  /// none. Parks on a fiber,
  /// blocks on another thread, for as long as a call lasts. Before start(), only limits, gate and room are taken. Not
  /// from OnAccept; one at a time, and not beside start() and stop(). Throws std::bad_alloc; then nothing has changed.
  void replace(const Serving& next);
  /// Changes the socket, for connections that are accepted from now on. Errors: of the system; the rest is changed.
  [[nodiscard]] Result<void> change(const SocketSettings& settings);
  /// Sets once more what the options, or the last change(), said: another process had the socket meanwhile, or has it
  /// no more. As change().
  [[nodiscard]] Result<void> apply();
  /// start() with a fiber per connection; `handler` is shared by all of them. The connections may outlive the listener
  /// (but not its metrics).
  [[nodiscard]] Result<void> serve(std::function<void(TcpStream)> handler);
  /// For fibers, instead of start(): the next connection, which counts against the limit until release(). One fiber at
  /// a time. Errors: timed_out, operation_canceled (also by stop()), bad_file_descriptor after it,
  /// too_many_files_open and its kin; invalid_argument with connections_per_address. Of a reuse_port group only the
  /// first socket is asked.
  [[nodiscard]] Result<TcpStream> accept(Deadline deadline = Deadline::never(),
                                         runtime::Cancellation* cancellation = nullptr);
  /// As accept() under a context: errors as TcpStream's (tcp_stream.hpp). One that is done leaves the queue alone.
  [[nodiscard]] Result<TcpStream> accept(const context::Context& ctx, Deadline own = Deadline::never());
  /// Lets no handshake begin any more, accepts until none is under way (a second at most), so that nobody who was let
  /// in is dropped, then closes. Parks on a fiber, blocks on another thread. Not from OnAccept.
  void stop() noexcept;
  /// While anybody keeps the socket, stop() accepts who is in the queue and closes: it neither turns new handshakes
  /// away nor unlinks the file, which belong to the socket. One that is paused leaves the queue to him. Any thread,
  /// before stop().
  void keep(Keeper keeper) noexcept {
    if (!foreign_) keeper_.store(keeper);
  }
  [[nodiscard]] Keeper keeper() const noexcept { return keeper_.load(); }
  /// Takes who is in the queue: after pause(), for another process that has the socket may not be told of them, since
  /// this one was. On a fiber, or before start().
  void accept_waiting() noexcept;
  /// Of its sockets, to be given away; not to be closed. Empty once it has stopped.
  [[nodiscard]] std::vector<int> descriptors() const;

  /// Stops accepting without closing, also before start(), and goes on again. Any thread.
  void pause() noexcept;
  void resume() noexcept;

  /// A connection from accept() is closed. Thread-safe; never parks.
  void release() noexcept { shared_->counts.release(); }

  /// With the port that was chosen for port 0.
  [[nodiscard]] const Endpoint& local() const noexcept { return local_; }
  /// Whether who connects to its address comes here: not to a Unix socket whose file was removed or is another's now.
  [[nodiscard]] bool reachable() const noexcept { return local_.family() != AF_UNIX || path_is_ours(); }
  /// That are open and counted by the listener's own counts.
  [[nodiscard]] std::size_t connections() const noexcept { return shared_->counts.open(); }
  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }

 private:
  struct Socket;
  /// What the connections of serve() need, who may outlive the listener.
  struct Shared {
    explicit Shared(metric::Gauge* open) noexcept : counts(open) {}
    ConnectionCounts counts;
    std::function<void(TcpStream)> handler;
  };
  Listener(runtime::Runtime& runtime, ListenerOptions options, bool local);
  using Current = std::shared_ptr<const Serving>;
  [[nodiscard]] Serving completed(const Serving& serving) const noexcept;
  [[nodiscard]] Result<void> start() noexcept;
  void grow_descriptor_table(int fd) const noexcept;
  [[nodiscard]] int set_inherited_options(int fd) const noexcept;
  [[nodiscard]] Result<int> open_socket(const Endpoint& endpoint, bool join_group);
  [[nodiscard]] std::error_code prepare_unix_path(const Endpoint& endpoint);
  [[nodiscard]] std::error_code finish_unix_path(const Endpoint& endpoint);
  [[nodiscard]] std::error_code set_access(const std::string& path);
  [[nodiscard]] bool path_is_ours() const noexcept;
  void remove_unix_path() noexcept;
  void accept_rest(Socket& socket) noexcept;
  void accept_the_last() noexcept;
  void accept_burst(Socket& socket) noexcept;
  [[nodiscard]] bool accept_one(Socket& socket, const Serving& serving) noexcept;
  [[nodiscard]] bool count_in(int fd, const Serving& serving) noexcept;
  void admit(int fd, const Endpoint& client, const Serving& serving) noexcept;
  [[nodiscard]] std::size_t make_room(const MakeRoom& room, Shortage shortage, std::size_t of) noexcept;
  void rest(Socket& socket, int error, const Serving& serving) noexcept;
  static void on_readable(void* socket) noexcept;
  static void on_pause_over(runtime::Timer& timer) noexcept;
  static void serve_one(void* listener, Admitted&& connection) noexcept;

  runtime::Runtime& runtime_;
  ListenerOptions options_;
  Endpoint local_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::shared_ptr<Shared> shared_;
  sync::AtomicSnapshot<Current> serving_;
  DescriptorReserve reserve_;
  std::atomic<std::int64_t> room_again_{0};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> paused_{false};
  std::atomic<Keeper> keeper_{Keeper::nobody};
  bool foreign_ = false;  // the service manager's, for good
  // Unix sockets: the file is unlinked only while it is still ours.
  std::uint64_t path_inode_ = 0;
  std::uint64_t path_device_ = 0;
};

}  // namespace fiberd::net
