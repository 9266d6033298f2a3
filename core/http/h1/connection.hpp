#pragma once
// Connection: one client of a Server. The states and their owners: connection.cpp.
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/base/intrusive_list.hpp"
#include "core/http/client_context.hpp"
#include "core/http/h1/stream.hpp"
#include "core/http/h1/workspace.hpp"
#include "core/http/server.hpp"
#include "core/net/peer_address.hpp"
#include "core/net/place.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::http {

class Connection : public ListHook {
 public:
  Connection(Server& server, net::TcpStream stream, net::Place place, const net::PeerAddress& peer) noexcept
      : server_(server), socket_(std::move(stream)), stream_(&socket_), place_(std::move(place)), peer_(peer) {
    socket_.set_single_owner();
    expect_head();
  }
  /// Over something else than a socket.
  Connection(Server& server, std::unique_ptr<net::ByteStream> stream, net::Place place,
             const net::PeerAddress& peer) noexcept
      : server_(server), stream_(stream.release()), place_(std::move(place)), peer_(peer) {
    expect_head();
  }
  ~Connection() {
    if (stream_ != &socket_) delete stream_;
  }

  /// Before start(): bounds its age and its requests.
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
  void close_claimed() noexcept;
  /// For reclaim, under the server's lock: since when it waits so (monotonic ns), 0 when it does not.
  [[nodiscard]] std::int64_t waiting_since(Waiting what) const noexcept;
  /// Takes a connection that waits so since `until` or longer. An idle one is the caller's then; one in the middle of a
  /// head is told to end.
  [[nodiscard]] bool claim_waiting(Waiting what, std::int64_t until) noexcept;
  /// Of a claimed one: false when bytes have come after all; else it is closed, counted and gone.
  [[nodiscard]] bool close_if_silent() noexcept;
  /// From another fiber: every wait of the connection's fiber ends.
  void abort() noexcept { stream_->shutdown(); }

 private:
  friend class H1Stream;
  enum class Step : std::uint8_t {
    go_on,
    close,   // the client is gone, or not worth more time
    done,    // all that the client sent was answered, and it asked for the end
    linger,  // more of it may be on its way
    gone
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
  // connection.cpp
  Step serve_request() noexcept;
  [[nodiscard]] std::uint64_t client_key() noexcept;
  Step refuse(Reject reason) noexcept;
  Step refuse(unsigned status, Reject reason = Reject::none) noexcept;
  void expect_head() noexcept;
  [[nodiscard]] bool may_live_on(std::int64_t now) const noexcept {
    if (requests_ < most_requests_ && now < retire_at_) [[likely]]
      return true;
    count_retired();
    return false;
  }
  void count_retired() const noexcept;
  void linger() noexcept;
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
  void tell(Unsent& answer) noexcept;
  void tell_unsent() noexcept;

  // Output (connection_output.cpp): ws_->out[0, out_size_) waits.
  std::error_code flush() noexcept;
  std::error_code flush_with(std::string_view data) noexcept;
  std::error_code send(std::string_view data) noexcept;
  [[nodiscard]] char* reserve_out(std::size_t size) noexcept;
  /// Around each write that may wait.
  [[nodiscard]] Deadline write_limit() const noexcept;
  std::error_code wrote(const Result<std::size_t>& outcome, std::int64_t begin) noexcept;

  /// While active.
  [[nodiscard]] const SiteOptions& options() const noexcept { return ws_->site->options(); }
  [[nodiscard]] const ServerMetrics& metrics() const noexcept { return server_.metrics_; }

  Server& server_;
  net::TcpStream socket_;    // unless it is something else that carries the bytes
  net::ByteStream* stream_;  // &socket_, or owned
  net::Place place_;
  std::uint64_t sent_ = 0;                    // bytes that the kernel has taken
  std::int64_t retire_at_ = INT64_MAX;        // monotonic ns
  std::uint32_t most_requests_ = UINT32_MAX;  // before it is closed
  std::uint32_t requests_ = 0;
  // encode(). Whether an idle one still is the poll word knows; of the waits for a head and for the end this is the
  // word itself: who makes it 0 has it.
  std::atomic<std::int64_t> waiting_since_{0};
  std::int64_t
      head_deadline_;  // of the first head, from accept on; later of the one being read, 0 before its first byte
  std::unique_ptr<ClientContext> client_;  // once a handler has asked
  std::uint64_t client_key_ = 0;           // hash of its address, once somebody wanted to know
  const net::PeerAddress peer_;            // as accept said: of a connection that was reset nobody else knows
  // Only while active:
  Workspace* ws_ = nullptr;
  std::uint32_t begin_ = 0;  // the message being read: ws_->in[begin_, end_)
  std::uint32_t end_ = 0;
  std::uint32_t out_size_ = 0;
  std::uint32_t linger_bytes_ = 0;
  bool output_lost_ = false;       // a send failed: nothing may be sent any more
  bool after_empty_line_ = false;  // before the next request; also while idle
  bool parted_ = false;            // part() has sent our FIN; changed by the server's stop alone
};

}  // namespace fiberd::http
