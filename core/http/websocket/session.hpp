#pragma once
// WebSocket::Session: what of a WebSocket is its own and not Beast's: who waits, for how long, and how it ends.
//
// One lock, mutex_, holds the codec and all that is said here; nobody holds it while he waits. The reader waits inside
// of the codec, in take(), which lets go of it meanwhile. Whoever has put something to be sent flushes; of several one
// does, with the lock let go, and takes along what the others put (`flushing_`). They wait for him only where more is
// queued than kMostQueued: so a client that does not read stops who writes to it, and, by the answers to its pings, who
// reads from it.
//
// A Close is put once, by whoever comes first: Beast, which answers the client's and refuses frames; or say_close().
// Behind it nothing more is put. The first Close says the code that the WebSocket ended with.
#include <exception>
#include <mutex>

#include "core/flow/pressure.hpp"
#include "core/http/h1/rate_guard.hpp"
#include "core/http/websocket/codec.hpp"
#include "core/http/websocket/metrics.hpp"
#include "core/http/websocket/websocket.hpp"
#include "core/net/byte_stream.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"

namespace fiberd::http {

class WebSocket::Session final : private CodecPeer {
 public:
  /// What the listener says of slow readers.
  struct Sending {
    std::chrono::nanoseconds timeout;
    std::chrono::nanoseconds grace;
    std::uint64_t rate;
    flow::Pressure* pressure = nullptr;  ///< asked before a message takes more than a little
  };
  Session(const WebSocketOptions& options, const Sending& sending, const context::Context& drain,
          const WebSocketMetrics* metrics);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Codec& codec() noexcept { return codec_; }
  /// `ended` is called when it has ended.
  void open(net::ByteStream& stream, context::CancelFunction ended) noexcept;
  [[nodiscard]] Result<bool> read(const context::Context& ctx, WebSocketMessage& message);
  [[nodiscard]] Result<void> write(const context::Context& ctx, Kind kind, std::string_view data);
  [[nodiscard]] Result<void> close(std::uint16_t code, std::string_view reason);
  /// Before it dies.
  void finish() noexcept;
  [[nodiscard]] std::uint16_t code() noexcept;
  [[nodiscard]] std::string_view reason() const noexcept { return codec_.close_reason(); }

 private:
  using Held = std::unique_lock<sync::Mutex>;
  /// Goes through the codec, which must not see that its reader has given up.
  struct Interrupted {
    std::error_code error;
  };
  enum class Due : std::uint8_t { nothing, ping, idle, message, close };

  Result<std::size_t> take(std::span<std::byte> data) override;
  void put(std::span<const std::byte> data) override;
  void put_close(std::span<const std::byte> frame) override;
  [[nodiscard]] Result<std::size_t> wait_for_bytes(std::span<std::byte> data);
  [[nodiscard]] Deadline next_due(Due& what) const noexcept;
  [[nodiscard]] std::error_code give_up(Due what);
  [[nodiscard]] bool receive(WebSocketMessage& message);
  [[nodiscard]] bool wait_for_memory(std::size_t bytes) noexcept;
  [[nodiscard]] Result<bool> interrupted(std::error_code error);
  void read_out();
  void end(const Codec::Read& how);
  [[nodiscard]] std::error_code error_of_end(Codec::End how) const noexcept;
  void say_close(std::uint16_t code, std::string_view reason = {});
  // While somebody flushes, what he has is his, without the lock.
  [[nodiscard]] bool to_send() const noexcept { return flushing_ || sending_at_ < sending_.size() || !out_.empty(); }
  [[nodiscard]] std::error_code flush(Held& held, const context::Context& ctx);
  [[nodiscard]] std::error_code send(const context::Context& ctx) noexcept;
  void say_last() noexcept;
  void note_end(std::uint16_t code, std::error_code error) noexcept;

  const WebSocketOptions options_;
  const Sending limits_;
  const context::Context drain_;
  const context::Context nobody_;  // background(): of waits that only time ends
  const WebSocketMetrics* const metrics_;
  const int exceptions_ = std::uncaught_exceptions();
  net::ByteStream* stream_ = nullptr;
  context::CancelFunction tell_ended_;

  sync::Mutex mutex_;
  sync::Condition changed_;  // flushing_, ended_
  Codec codec_;
  std::string out_;  // to be sent behind what is being sent
  bool flushing_ = false;
  bool cut_ = false;         // a message was left unfinished
  bool close_said_ = false;  // a Close was put
  bool we_closed_ = false;   // and it was not Beast's
  bool ended_ = false;
  std::uint16_t close_code_ = 0;  // of the Close that was put
  std::uint16_t code_ = 0;        // once it has ended
  std::error_code error_;         // what read() says then; none: false
  std::error_code lost_;          // nothing can be sent any more
  std::int64_t closed_at_ = 0;    // monotonic ns

  // Who flushes
  std::string sending_;
  std::size_t sending_at_ = 0;
  RateGuard slow_;

  // The reader's
  Held* reader_ = nullptr;  // somebody reads: his hold of mutex_
  const context::Context* reader_context_ = nullptr;
  std::int64_t left_at_ = 0;  // when the last one did
  std::int64_t heard_at_ = 0;
  std::int64_t pinged_at_ = 0;
  std::int64_t message_at_ = 0;  // when the message that is being read began; 0: none

  sync::Mutex turn_;  // of writers: whole messages
};

}  // namespace fiberd::http
