#pragma once
// Session: an HTTP/2 connection: nghttp2's state, its streams, what waits to be sent. How it works: session.cpp.
#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/context/context.hpp"
#include "core/http/h1/rate_guard.hpp"
#include "core/http/h2/frame_guard.hpp"
#include "core/http/h2/options.hpp"
#include "core/http/h2/session_memory.hpp"
#include "core/http/server.hpp"
#include "core/http/site/site.hpp"
#include "core/net/byte_stream.hpp"
#include "core/runtime/wait.hpp"
#include "core/sync/mutex.hpp"

namespace fiberd::http {
class Connection;
}

namespace fiberd::http::h2 {

class Stream;
struct Callbacks;

class Session {
 public:
  using Held = std::unique_lock<sync::Mutex>;
  enum class End : std::uint8_t {
    idle,   ///< nothing is under way: the connection may wait without a fiber, and call run() again
    closed  ///< for good
  };

  /// nullptr: memory is out. Owned by who calls leave() at last.
  [[nodiscard]] static Session* make(Connection& connection) noexcept;
  /// On the connection's fiber. `first`: what was read of the connection already. `expired`: it has been idle for too
  /// long. Returns with no stream's fiber left.
  [[nodiscard]] End run(std::string_view first, bool expired) noexcept;
  /// Before run(), of a connection whose request asks for HTTP/2 (RFC 7540 section 3.2): what its HTTP2-Settings holds.
  /// False: that cannot be.
  [[nodiscard]] bool take_settings(std::string_view payload, bool head_request) noexcept;
  /// Then: that request, which is answered on stream 1. `head`: its bytes. False: memory is out.
  [[nodiscard]] bool begin_first(const Request& request, std::size_t head) noexcept;
  /// Since when it is quiet, for the idle time-out; monotonic ns.
  [[nodiscard]] std::int64_t quiet_since() const noexcept { return quiet_since_; }
  [[nodiscard]] bool served() const noexcept { return served_; }
  void leave() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  friend class Stream;
  friend class Tunnel;
  friend struct Callbacks;
  explicit Session(Connection& connection) noexcept;
  ~Session();
  void join() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] bool start() noexcept;
  [[nodiscard]] bool may_go_on() noexcept;

  // session.cpp: the connection's fiber
  void take_in(std::string_view bytes) noexcept;
  [[nodiscard]] bool read_more(Held& held) noexcept;
  void look_at_clock(Held& held, std::int64_t now) noexcept;
  [[nodiscard]] Deadline read_limit(std::int64_t now) const noexcept;
  void look_at_streams(std::int64_t now) noexcept;
  void note_pressure() noexcept;
  void tell_allowance() noexcept;
  void give_up_stuck() noexcept;
  [[nodiscard]] bool may_rest() const noexcept;
  void rest(Held& held) noexcept;
  [[nodiscard]] bool took_in(const Result<std::size_t>& n, std::span<const std::byte> room) noexcept;
  void rouse() noexcept;
  void begin_goodbye() noexcept;
  void end_idle() noexcept;
  void terminate(Code code) noexcept;
  void close_streams() noexcept;
  void answered(Stream& stream) noexcept;
  void wait_for_others(Held& held) noexcept;
  void linger() noexcept;
  [[nodiscard]] bool is_quiet() const noexcept;
  void wake_main() noexcept;

  // session_streams.cpp: what nghttp2 tells, under the mutex
  [[nodiscard]] Stream* begin_stream(std::int32_t id) noexcept;
  void begin_request(Stream& stream, bool ended) noexcept;
  void refuse_stream(std::int32_t id) noexcept;
  void stream_closed(Stream& stream, std::uint32_t code, bool by_client) noexcept;
  void forget(Stream& stream) noexcept;
  void drop_spares() noexcept;
  void stream_over(Stream& stream) noexcept;
  [[nodiscard]] const std::shared_ptr<const Site>& site() noexcept;

  // session_output.cpp
  static constexpr std::size_t kOut = std::size_t{64} * 1024;
  static constexpr std::size_t kOutFull = kOut - 17 * 1024;  ///< a frame of data more would not fit
  /// Something is to be sent; whoever is at it already takes it along.
  void schedule_write() noexcept;
  void write_all(Held& held) noexcept;
  void fill() noexcept;
  [[nodiscard]] bool append(const std::uint8_t* data, std::size_t size) noexcept;
  void note_written(std::uint64_t bytes) noexcept;
  void send_round(Held& held) noexcept;
  void lose(std::error_code error) noexcept;
  [[nodiscard]] Deadline write_limit() const noexcept;
  void run_writer() noexcept;

  Connection& connection_;
  Server& server_;
  net::ByteStream& wire_;
  std::atomic<std::uint32_t> references_{1};

  // The rest is under the mutex, but for what is said.
  mutable sync::Mutex mutex_;
  SessionMemory memory_;  // ng_'s
  nghttp2_session* ng_ = nullptr;
  std::shared_ptr<const Site> site_;  // null while it is idle: what was replaced shall go
  std::uint32_t site_version_ = 0;
  FrameGuard guard_;
  const std::uint32_t max_streams_;   // as our first SETTINGS have told it: a reload tells it to new connections
  std::uint32_t allowed_;             // of them at present: fewer while memory is short
  std::uint32_t told_;                // as our last SETTINGS have told it
  std::uint32_t unacknowledged_ = 1;  // SETTINGS of ours
  std::uint64_t frames_begun_ = 0;    // when frame_since_ was set
  List<Stream> streams_;              // open, or with a fiber
  std::vector<Stream*> unsent_;       // whose end lies in out_
  List<Stream> spare_;                // some that are over, for the next ones
  std::uint32_t spares_ = 0;
  std::uint32_t tasks_ = 0;                    // requests that are being served, or are not accounted for
  std::uint32_t unanswered_ = 0;               // of these, those whose answer has not been laid out to its end
  std::uint32_t spawned_ = 0;                  // since the last round
  runtime::Ticket main_{};                     // the connection's fiber waits for the others
  const context::Cancelable* rest_ = nullptr;  // while it waits in rest(): what ends that
  bool busy_ = false;                          // the connection's fiber is at work, and will send what there is
  bool writing_ = false;                       // a fiber is in write_all()
  bool lost_ = false;                          // a send failed, or the connection was cut
  bool client_ended_ = false;                  // its FIN
  bool terminated_ = false;
  bool final_goaway_ = false;  // the second of the two
  bool goodbye_ = false;       // the first
  bool settled_ = false;       // the client's SETTINGS have come
  bool served_ = false;        // a request has come
  const bool secured_;         // by TLS
  bool early_;                 // and its handshake was not over when that was last looked at
  std::int64_t goodbye_at_ = 0;
  std::int64_t streams_looked_at_ = 0;
  std::int64_t quiet_since_ = 0;
  std::int64_t frame_since_ = 0;  // since when a frame is incomplete; 0: none is
  // What waits to be sent.
  std::unique_ptr<std::uint8_t[]> out_;
  std::size_t out_size_ = 0;
  std::size_t out_capacity_ = 0;
  std::uint64_t appended_ = 0;  // bytes, of all the connection's
  std::uint64_t written_ = 0;
  RateGuard writes_;
  // The connection's fiber's own.
  std::unique_ptr<std::byte[]> in_;
};

}  // namespace fiberd::http::h2
