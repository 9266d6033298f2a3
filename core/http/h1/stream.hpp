#pragma once
// H1Stream: one request of an HTTP/1 connection and its answer on the wire: the body is decoded out of the connection's
// input buffer, the answer is written into its output buffer.
//
// Two fibers may be inside, one that reads and one that writes. What they share:
//  - the output buffer. The writer owns it. The reader sends 100 Continue, and has what was committed leave before it
//    waits for the client. So while there is a body each of them takes its lock; requests without one pay nothing. The
//    reader only tries for the second: where a writer is at work it is the writer who flushes, and waiting for one
//    whose client does not read would be waiting for each other.
//  - what each finds out about the connection's future (keep_alive_, …): flags that only ever change one way.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/http/h1/body_decoder.hpp"
#include "core/http/h1/rate_guard.hpp"
#include "core/http/h1/wire_request.hpp"
#include "core/http/server_stream.hpp"
#include "core/sync/mutex.hpp"

namespace fiberd::http {

class Connection;
class Site;

class H1Stream final : public ServerStream {
 public:
  /// `body_at`: where in the connection's input buffer the head has ended.
  H1Stream(Connection& connection, const WireRequest& request, const Site& site, bool keep_alive,
           std::uint32_t body_at) noexcept
      : connection_(connection), request_(request), site_(site), keep_alive_(keep_alive) {
    if (request.has_body()) [[unlikely]]
      body_.emplace(body_at);
  }
  H1Stream(const H1Stream&) = delete;
  H1Stream& operator=(const H1Stream&) = delete;

  [[nodiscard]] Reject expect_body(std::uint64_t most) noexcept override;
  [[nodiscard]] Result<std::string_view> read_body(Deadline own) override;
  [[nodiscard]] HeaderView trailers() const noexcept override;
  [[nodiscard]] Result<void> send_head(const AnswerStart& start) override;
  [[nodiscard]] Result<void> send_prepared(const PreparedResponse& prepared) override;
  [[nodiscard]] Result<void> send(std::string_view data) override;
  [[nodiscard]] Result<void> send_file(int fd, std::uint64_t offset, std::uint64_t count) override;
  [[nodiscard]] Result<void> end(std::span<const Field> trailers) override;
  [[nodiscard]] Result<void> flush() override;
  [[nodiscard]] Result<void> send_interim(unsigned status, std::span<const Field> fields) override;
  [[nodiscard]] Result<net::ByteStream*> upgrade(std::string_view protocol, std::span<const Field> fields) override;
  void end_connection() noexcept override { keep_alive_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] Room room() noexcept override;
  [[nodiscard]] const context::Context& client_context() override;
  [[nodiscard]] const context::Context& drain_context() const noexcept override;
  [[nodiscard]] net::Endpoint peer() const noexcept override;
  [[nodiscard]] const net::TlsPeer* tls() const noexcept override;
  [[nodiscard]] std::uint64_t client_key() noexcept override;
  [[nodiscard]] std::string_view protocol() const noexcept override {
    return request_.version == Version::http11 ? "HTTP/1.1" : "HTTP/1.0";
  }
  [[nodiscard]] Trouble trouble() const noexcept override;

  // ---- for the connection, behind the handler
  [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool body_done() const noexcept { return !body_ || body_->decoder.done(); }
  [[nodiscard]] Reject refused() const noexcept { return body_ ? body_->refused : Reject::none; }
  [[nodiscard]] bool upgraded() const noexcept { return tunnel_ != nullptr; }
  /// Of one whose body was not read to its end: nothing behind the request has been read yet.
  [[nodiscard]] bool all_read() const noexcept;
  /// Reads what the handler left of the body. False: it cannot be had at a bearable price: the connection must close.
  [[nodiscard]] bool finish_body() noexcept { return body_done() || drain_body(); }

  /// What of the answer was given to send, and where it and its body begin in all that the connection sends.
  struct Sent {
    std::uint64_t body_bytes = 0;
    std::uint64_t answer_at = 0;
    std::uint64_t body_at = 0;
    std::int64_t head_at = 0;  ///< monotonic ns; where somebody logs it
  };
  [[nodiscard]] const Sent& sent() const noexcept { return sent_; }
  /// Bytes behind the head of the answer.
  [[nodiscard]] std::uint64_t sent_body() const noexcept {
    return tunnel_ == nullptr ? sent_.body_bytes : sent_behind_upgrade();
  }
  /// Of the body, or of what was sent behind an upgrade.
  [[nodiscard]] std::uint64_t received() const noexcept {
    return body_ ? body_->decoder.received() : tunnel_ != nullptr ? received_behind_upgrade() : 0;
  }

 private:
  class Output;
  class Tunnel;
  struct Trailers;
  struct DeleteTunnel {
    void operator()(Tunnel* tunnel) const noexcept;
  };
  /// The reader's, but for what is said.
  struct Body {
    explicit Body(std::uint32_t at) noexcept;
    ~Body();
    BodyDecoder decoder;
    RateGuard reads;
    const std::uint32_t room;  // where in the input buffer it is read to: behind the head
    Reject refused = Reject::none;
    bool timed_out = false;
    bool draining = false;
    std::unique_ptr<Trailers> trailers;
    std::atomic<bool> continue_settled{false};  // it was sent, or need not be; both fibers'
    sync::Mutex output;                         // both fibers'
  };
  /// How much of a body is read for nothing, so that the connection can go on.
  static constexpr std::uint64_t kDrainBytes = std::uint64_t{256} * 1024;

  [[nodiscard]] std::uint64_t received_behind_upgrade() const noexcept;
  [[nodiscard]] std::uint64_t sent_behind_upgrade() const noexcept;
  [[nodiscard]] Result<std::size_t> receive_body(Deadline own);
  [[nodiscard]] std::error_code before_waiting() noexcept;
  [[nodiscard]] bool wait_for_memory(Deadline own) noexcept;
  [[nodiscard]] bool drain_body() noexcept;
  [[nodiscard]] bool leaves_too_much() const noexcept;
  void settle_keep_alive(RestOfBody rest) noexcept;
  [[nodiscard]] Result<void> send_large(const PreparedResponse& prepared, std::size_t size);
  [[nodiscard]] Result<HeadWritten> write_large_head(const WireHead& head);
  void note_body_read() noexcept;
  void note_head() noexcept;
  [[nodiscard]] std::error_code append(std::string_view text) noexcept;
  [[nodiscard]] sync::Mutex* shared() noexcept { return body_ ? &body_->output : nullptr; }
  [[nodiscard]] bool committed() const noexcept { return committed_.load(std::memory_order_relaxed); }

  Connection& connection_;
  const WireRequest& request_;
  const Site& site_;
  std::optional<Body> body_;  // of a request that has one
  // Both fibers'
  std::atomic<bool> keep_alive_;
  std::atomic<bool> committed_{false};
  // The writer's
  BodyKind kind_ = BodyKind::length;
  Sent sent_;
  std::unique_ptr<Tunnel, DeleteTunnel> tunnel_;
};

}  // namespace fiberd::http
