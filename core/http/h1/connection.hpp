#pragma once
// Connection: one client of a Server. The states and their owners: connection.cpp.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/base/intrusive_list.hpp"
#include "core/http/h1/retire_time.hpp"
#include "core/http/h1/stream.hpp"
#include "core/http/h1/workspace.hpp"
#include "core/http/server.hpp"
#include "core/net/held_stream.hpp"
#include "core/net/peer_address.hpp"
#include "core/net/place.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {
class Session;
class Stream;
}  // namespace fiberd::http::h2

namespace fiberd::http {

class Connection : public ListHook {
 public:
  /// `stream`: a net::TcpStream, or a std::unique_ptr<net::ByteStream> of something else than a socket.
  template <class Stream>
  Connection(Server& server, Stream&& stream, net::Place place, const net::PeerAddress& peer) noexcept
      : server_(server),
        stream_(std::forward<Stream>(stream)),
        place_(std::move(place)),
        waiting_since_(runtime::coarse_now()),
        client_(nullptr),
        retire_at_(RetireTime::late(waiting_since_.load(std::memory_order_relaxed))),
        peer_(peer) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Before start(): bounds its age and its requests. Who sets no bound has one, too: a year, and 2^32 - 1 requests.
  void set_lifetime(const SiteOptions& options) noexcept;
  /// Starts or restarts the fiber; in the scheduler or on a fiber. Closes the connection when there is none to be had.
  void start() noexcept { start(server_.fiber_name_); }
  /// Takes an idle connection; an active one finds out by itself. Then restart_claimed(), part(), close_if_silent() or
  /// close_claimed().
  [[nodiscard]] bool claim_idle() noexcept { return stream_->claim_idle(); }
  void restart_claimed() noexcept;
  /// By the server's stop: what the client sent before it could know is served; else our side ends (FIN), and the
  /// client's end is waited for a while, for a request that met the FIN half-way must not be answered by a reset.
  void part() noexcept;
  [[nodiscard]] bool parted() const noexcept { return parted_; }
  /// Of one that is idle, or its own.
  [[nodiscard]] bool is_http2() const noexcept { return (past_.load(std::memory_order_relaxed) & kHttp2) != 0; }
  void close_claimed() noexcept;
  /// For reclaim, under the server's lock: since when it waits so (monotonic ns), 0 when it does not.
  [[nodiscard]] std::int64_t waiting_since(Waiting what) const noexcept;
  /// Takes a connection that waits so since `until` or longer. An idle one is the caller's then; one in the middle of a
  /// head is told to end.
  [[nodiscard]] bool claim_waiting(Waiting what, std::int64_t until) noexcept;
  /// Of a claimed one: false when bytes have come after all; else it is closed, counted and gone.
  [[nodiscard]] bool close_if_silent() noexcept;
  /// From another fiber, under the server's lock: what the kernel holds for it while it is being served.
  [[nodiscard]] std::size_t queued() noexcept {
    return waiting_since(Waiting::for_request) != 0 ? 0 : stream_->queued();
  }
  /// From another fiber: every wait of the connection's fiber ends.
  void abort() noexcept { stream_->shutdown(); }

 private:
  friend class H1Stream;
  friend class h2::Session;
  friend class h2::Stream;
  enum class Step : std::uint8_t {
    go_on,
    close,   // the client is gone, or not worth more time
    done,    // all that the client sent was answered, and it asked for the end
    linger,  // more of it may be on its way
    gone,
    left  // gone, and counted off: it was HTTP/2's
  };

  /// How long is read for nothing behind the last answer.
  static constexpr std::int64_t kLinger = 5'000'000'000;
  /// A client that is silent for so long behind our FIN has nothing to send.
  static constexpr std::chrono::nanoseconds kLingerSilence = std::chrono::seconds(1);

  void start(runtime::FiberName fiber_name) noexcept;
  void run() noexcept;
  Step read_more() noexcept;
  [[nodiscard]] Result<std::size_t> read_rest_of_head() noexcept;
  // connection_idle.cpp
  [[nodiscard]] bool go_idle() noexcept;
  [[nodiscard]] bool wait_idle(Deadline limit) noexcept;
  [[nodiscard]] static std::int64_t encode(Waiting what, std::int64_t since) noexcept;
  // connection_early.cpp
  Step serve_early() noexcept;
  [[nodiscard]] bool mark_early() noexcept;
  // connection_h2.cpp
  [[nodiscard]] bool begins_http2() const noexcept;
  void become_http2() noexcept;
  [[nodiscard]] bool asks_for_http2(const WireRequest& request, std::string& settings) const;
  Step try_http2(const WireRequest& request, std::size_t head) noexcept;
  void run_http2(std::string_view first) noexcept;
  void leave_session() noexcept;
  // connection.cpp
  Step serve_request() noexcept;
  [[nodiscard]] bool reads_as_secured() noexcept;
  Step refuse(Reject reason) noexcept;
  Step refuse(unsigned status, Reject reason = Reject::none) noexcept;
  [[nodiscard]] bool may_live_on(std::int64_t now) const noexcept {
    if (requests_left_ != 0 && !retire_at_.passed(now)) [[likely]]
      return true;
    count_retired();
    return false;
  }
  void count_retired() const noexcept;
  void linger() noexcept;
  [[nodiscard]] Workspace* acquire_workspace() noexcept;
  [[nodiscard]] bool take_workspace() noexcept;
  void give_workspace() noexcept;
  /// The present Site, if another is in hand; with an empty buffer also where its workspaces are others. False: memory
  /// is out, and the connection is closed.
  void renew_site() noexcept {
    if (is_behind()) [[unlikely]]
      renew_site_slow();
  }
  [[nodiscard]] bool is_behind() const noexcept {
    return ws_->site_version != server_.site_version_.load(std::memory_order_relaxed);
  }
  Step carry_over() noexcept;
  void renew_site_slow() noexcept;
  [[nodiscard]] bool renew_workspace() noexcept { return !is_behind() || renew_workspace_slow(); }
  [[nodiscard]] bool renew_workspace_slow() noexcept;
  void finish() noexcept;
  /// Throws std::bad_alloc.
  [[nodiscard]] ClientContext& client();

  // connection_account.cpp
  void account(const Exchange& exchange, const H1Stream& stream, const Route* route, Reject reason, std::int64_t begin,
               std::size_t head) noexcept;
  struct Accounted {
    const Route* route;
    Reject reason;
    std::int64_t begin;
    std::size_t head;
    std::uint64_t duration;
    unsigned status;
    bool traced;
  };
  [[gnu::noinline]] void account_more(const Exchange& exchange, const H1Stream& stream, const Accounted& what,
                                      metric::StatusCounters* counters) noexcept;
  void tell(Unsent& answer) noexcept;
  void tell_unsent() noexcept;

  // Output (connection_output.cpp)
  std::error_code flush() noexcept;
  std::error_code flush_with(std::string_view data) noexcept;
  std::error_code send(std::string_view data) noexcept;
  std::error_code send_and_tell(std::string_view data) noexcept;
  /// Room for `size` bytes behind what waits; nullptr when even the empty buffer is too small or the send failed.
  [[nodiscard]] char* reserve_out(std::size_t size) noexcept {
    const Workspace& ws = *ws_;
    if (ws.output_lost || ws.out_capacity - ws.out_size < size) [[unlikely]]
      return make_room(size);
    return ws.out + ws.out_size;
  }
  [[nodiscard]] char* make_room(std::size_t size) noexcept;
  /// Around each write that may wait.
  [[nodiscard]] Deadline write_limit() const noexcept;
  std::error_code wrote(const Result<std::size_t>& outcome, std::int64_t begin) noexcept;

  /// While active.
  [[nodiscard]] const SiteOptions& options() const noexcept { return ws_->site->options(); }
  [[nodiscard]] const ServerMetrics& metrics() const noexcept { return server_.metrics_; }

  // What past_ says: the connection has had a request; an empty line came behind it, and is forgotten; it speaks
  // HTTP/2.
  static constexpr std::uint8_t kServed = 1;
  static constexpr std::uint8_t kAfterEmptyLine = 2;
  static constexpr std::uint8_t kHttp2 = 4;    // session_ has it
  static constexpr std::uint8_t kExpired = 8;  // and it has been idle for too long
  static constexpr std::uint8_t kEarly = 16;   // the carrier's handshake may not be over
  void note_past(std::uint8_t what) noexcept {
    past_.store(static_cast<std::uint8_t>(past_.load(std::memory_order_relaxed) | what), std::memory_order_relaxed);
  }
  [[nodiscard]] bool has_past(std::uint8_t what) const noexcept {
    return (past_.load(std::memory_order_relaxed) & what) != 0;
  }
  [[nodiscard]] bool served() const noexcept { return (past_.load(std::memory_order_relaxed) & kServed) != 0; }

  Server& server_;
  net::HeldStream stream_;
  net::Place place_;
  // encode(). Whether an idle one still is the poll word knows; of the waits for a head and for the end this is the
  // word itself: who makes it 0 has it. Of one that has had no request: since accept.
  std::atomic<std::int64_t> waiting_since_;
  union {
    Workspace* ws_;          // while it is active
    ClientContext* client_;  // while nobody runs; owned; once a handler has asked
    h2::Session* session_;   // of HTTP/2, all the time; owned
  };
  std::uint32_t requests_left_ = UINT32_MAX;
  RetireTime retire_at_;
  const net::PeerAddress peer_;        // as accept said: of a connection that was reset nobody else knows
  std::atomic<std::uint8_t> past_{0};  // written by its owner; a stop looks at others'
  bool parted_ = false;                // part() has sent our FIN; changed by the server's stop alone
};

// Idle ones are counted by the ten thousand. 8 bytes more are 16 of malloc's.
static_assert(sizeof(Connection) == 104);

}  // namespace fiberd::http
