#pragma once
// h2::Stream: one request of an HTTP/2 connection and its answer. Its fiber runs serve(); nghttp2's callbacks, on
// whichever fiber is inside of the session, give it what comes in and take what goes out.
//
// Under the session's mutex: all that both sides touch. The request's head is the stream's fiber's alone once it runs.
// What waits: the reader for a piece of the body, the writer for room or for its end to have been sent. Either has a
// ticket here; whoever changes what it waits for wakes it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/intrusive_list.hpp"
#include "core/http/exchange.hpp"
#include "core/http/h1/rate_guard.hpp"
#include "core/http/h2/request_head.hpp"
#include "core/http/h2/session.hpp"
#include "core/http/server_stream.hpp"
#include "core/http/site/dispatch.hpp"

namespace fiberd::http::h2 {

class Tunnel;

class Stream final : public ServerStream, public ListHook {
 public:
  explicit Stream(Session& session) noexcept;
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

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
  void end_connection() noexcept override {}  // of a stream nothing follows anyway
  [[nodiscard]] Room room() noexcept override;
  [[nodiscard]] const context::Context& client_context() override;
  [[nodiscard]] const context::Context& drain_context() const noexcept override {
    return session_.server_.drain_context();
  }
  [[nodiscard]] net::Endpoint peer() const noexcept override;
  [[nodiscard]] std::uint64_t client_key() noexcept override;
  [[nodiscard]] std::string_view protocol() const noexcept override { return "HTTP/2.0"; }
  [[nodiscard]] const net::TlsPeer* tls() const noexcept override { return session_.wire_.tls_peer(); }
  [[nodiscard]] Trouble trouble() const noexcept override;

 private:
  friend class Session;
  friend struct Callbacks;
  friend class Tunnel;
  using Held = Session::Held;
  static constexpr std::size_t kHeldFields = std::size_t{2} * 1024;
  static constexpr std::size_t kHeldBody = std::size_t{14} * 1024;

  void reset(std::int32_t id) noexcept;
  void trim(bool with_room) noexcept;
  /// The stream's fiber.
  void serve() noexcept;
  void refuse(Exchange& exchange) noexcept;
  [[nodiscard]] bool detach(Held& held, bool ended) noexcept;
  void settle(Held& held, bool ended) noexcept;
  /// Tells what was sent, or was not, and lets go of it all. The stream may be gone behind it.
  void finish() noexcept;
  /// Of one without a fiber: gives it up in time.
  void look_at_clock(std::int64_t now) noexcept;
  void drop_rest(Held& held) noexcept;
  void account() noexcept;

  // Under the mutex
  void wake_reader() noexcept;
  void wake_writer() noexcept;
  [[nodiscard]] runtime::Wake wait(Held& held, runtime::Ticket& slot, runtime::WaitReason reason, Deadline until,
                                   runtime::Cancellation* cancellation = nullptr) noexcept;
  [[nodiscard]] bool is_gone() const noexcept { return closed_ || session_.lost_; }
  [[nodiscard]] std::error_code gone_error() const noexcept;
  [[nodiscard]] Result<void> receive(Held& held, Deadline own) noexcept;
  [[nodiscard]] bool wait_for_memory(Held& held, Deadline own) noexcept;
  void send_continue() noexcept;
  void note_head_sent(std::uint64_t bytes) noexcept;
  /// Of one for which nothing is being sent: it has something to say, and no window.
  [[nodiscard]] bool is_stuck() const noexcept {
    return open_ && submitted_ && !deferred_ && end_at_ == 0 && (waiting_bytes() != 0 || eof_);
  }
  [[nodiscard]] std::size_t waiting_bytes() const noexcept { return pending_.size() - pending_at_ + direct_.size(); }
  /// Everything that waits may go.
  void submit() noexcept;
  void submit_head() noexcept;
  [[nodiscard]] Result<void> wait_for_output(Held& held, bool for_end) noexcept;
  void take_out(std::size_t size) noexcept;
  void reset_stream(Code code) noexcept;
  void lay_out_head(const AnswerStart& start);
  void add_line(std::string_view name, std::string_view value);
  void cancel_context(std::error_code cause) noexcept;

  Session& session_;
  std::shared_ptr<const Site> site_;
  // Of the request that is being served, until it is accounted for.
  std::optional<Exchange> exchange_;
  std::optional<Dispatch> dispatch_;
  std::int32_t id_ = 0;
  // ---- the request
  RequestHead head_;
  Request request_;
  Reject refused_ = Reject::none;  // the head, or the body
  bool head_refused_ = false;
  std::uint32_t head_bytes_ = 0;
  std::int64_t begun_at_ = 0;
  // Its body
  std::string in_;      // has come
  std::string taking_;  // is being looked at by the handler
  std::uint64_t most_ = UINT64_MAX;
  std::uint64_t received_ = 0;
  RateGuard reads_;
  TrailerFields trailers_;
  bool head_done_ = false;
  bool in_over_ = false;  // its end has come
  bool whole_ = false;    // and its stream's, in order: what is in `in_` no window counts any more
  bool cut_ = false;      // of what came some was thrown away
  bool timed_out_ = false;
  bool continue_settled_ = false;
  // ---- the answer
  std::unique_ptr<char[]> room_;
  std::string lines_;  // its head: each field behind its CRLF, names in lower case
  std::string pending_;
  std::size_t pending_at_ = 0;
  std::string_view direct_;  // behind `pending_`: memory of a fiber that waits
  std::vector<nghttp2_nv> trailer_nvs_;
  std::string trailer_text_;
  std::uint64_t moved_before_ = 0;  // when the clock was last looked at
  std::int64_t looked_at_ = 0;
  std::int64_t progress_at_ = 0;
  std::uint64_t moved_ = 0;  // bytes that went to the connection's output
  RateGuard writes_;
  std::uint64_t sent_head_ = 0;
  std::uint64_t sent_body_ = 0;
  std::int64_t head_at_ = 0;
  unsigned status_ = 0;
  unsigned interim_ = 0;  // answers before the answer that nghttp2 still has
  bool no_body_ = false;  // head and end in one frame
  bool committed_ = false;
  bool submitted_ = false;
  bool eof_ = false;
  bool deferred_ = false;
  std::uint64_t end_at_ = 0;  // of all that the connection sends: behind its end; 0: not there yet
  bool sent_ = false;
  // ---- both
  runtime::Ticket reader_{};
  runtime::Ticket writer_{};
  bool open_ = false;        // nghttp2 has it
  bool running_ = false;     // it is being served, and is not accounted for
  bool detached_ = false;    // its answer is complete, and its fiber gone
  bool unanswered_ = false;  // and the session counts it so
  bool closed_ = false;      // before its end, or behind it
  bool upgraded_ = false;
  std::uint32_t close_code_ = 0;
  bool reset_by_client_ = false;
  std::unique_ptr<context::Cancelable> client_;
  std::unique_ptr<Tunnel> tunnel_;
};

}  // namespace fiberd::http::h2
