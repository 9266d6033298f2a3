// An HTTP/2 connection, from its preface to its end.
//
// Who runs. The connection's fiber reads and gives the bytes to nghttp2, whose callbacks make streams and start a fiber
// for each request that is complete. Then it lets them run (yield), and sends what came of it: the frames of a whole
// round, of all streams, leave in one send. A stream that has something to say later, when that fiber waits for the
// client, starts a writer: a fiber that lives as long as there is something to be sent, and takes all of it along. So a
// handler never waits for another stream's client-side trouble, and an HTTP/2 connection at rest has no fiber at all.
// One on which handlers wait (events, a WebSocket) keeps its fiber, but no buffers, and is woken by what happens alone.
//
// One mutex a session, held across no wait but its own: nghttp2 is not thread-safe, and fibers of streams are anywhere.
// Bytes are read and written outside of it.
//
// A stream is accounted for when its answer has been sent, or cannot be: what counters and logs say is what happened.
// Its fiber is gone by then where the answer was complete. What bounds a client's work is the number of handlers: a
// stream that was reset holds its place until its handler has noticed ("rapid reset").
//
// The end. A stop, and the connection's age, send GOAWAY twice (RFC 9113 section 6.8): first for the highest id there
// is, with a PING behind it; when that is answered, or the drain's grace is over, for the last stream that was served.
// What the client opened meanwhile is served.
#include "core/http/h2/session.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "core/http/h1/connection.hpp"
#include "core/http/h2/stream.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {

static constexpr std::size_t kIn = std::size_t{32} * 1024;
// How long a connection at rest keeps its fiber; and how soon one that is busy sees that the server stops.
static constexpr std::chrono::milliseconds kTick{250};
static constexpr std::size_t kMostQueued = 256;  // control frames that wait: no more is read meanwhile

struct Options_ {
  nghttp2_option* option = nullptr;
  Options_() noexcept {
    if (nghttp2_option_new(&option) != 0) return;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 1000);
    // FrameGuard bounds them. The library's own bound, 8, counts each read that brings a piece of a CONTINUATION's
    // head.
    nghttp2_option_set_max_continuations(option, 2000);
    nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
  }
};

// stream_events.cpp
[[nodiscard]] const nghttp2_session_callbacks* session_callbacks() noexcept;

Session::Session(Connection& connection) noexcept
    : connection_(connection),
      server_(connection.server_),
      wire_(*connection.stream_),
      site_(*connection.server_.site_.read()),
      guard_(site_->options().http2.glitches),
      max_streams_(site_->options().http2.max_streams),
      allowed_(max_streams_),
      told_(max_streams_),
      secured_(wire_.tls_peer() != nullptr),
      early_(wire_.is_early()) {}

Session::~Session() {
  drop_spares();
  if (ng_ != nullptr) nghttp2_session_del(ng_);
}

Session* Session::make(Connection& connection) noexcept {
  auto* const session = new (std::nothrow) Session(connection);
  if (session == nullptr) return nullptr;
  if (session->start()) return session;
  session->leave();
  return nullptr;
}

/// Makes nghttp2's part, and our preface.
bool Session::start() noexcept {
  static const Options_ options;
  const nghttp2_session_callbacks* const callbacks = session_callbacks();
  if (options.option == nullptr || callbacks == nullptr) return false;
  if (nghttp2_session_server_new3(&ng_, callbacks, this, options.option, memory_.hooks()) != 0) return false;
  site_version_ = server_.site_version_.load(std::memory_order_acquire);
  const SiteOptions& o = site_->options();
  const std::array<nghttp2_settings_entry, 5> settings{{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams_},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o.http2.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, o.head.header_size},
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  if (nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0) return false;
  if (nghttp2_session_set_local_window_size(ng_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<std::int32_t>(o.http2.connection_window)) != 0)
    return false;
  metric::count(server_.metrics_.http2.connections);
  quiet_since_ = connection_.waiting_since_.load(std::memory_order_relaxed);
  return true;
}

/// The present one; of requests that begin now.
const std::shared_ptr<const Site>& Session::site() noexcept {
  if (site_ == nullptr || site_version_ != server_.site_version_.load(std::memory_order_relaxed)) [[unlikely]] {
    site_version_ = server_.site_version_.load(std::memory_order_acquire);
    site_ = *server_.site_.read();
  }
  return site_;
}

// ---------------------------------------------------------------------------------------------- the loop

Session::End Session::run(std::string_view first, bool expired) noexcept {
  in_.reset(new (std::nothrow) std::byte[kIn]);
  Held held(mutex_);
  (void)site();
  busy_ = true;
  if (in_ == nullptr) {
    metric::count(server_.metrics_.spawn_refused);
    lost_ = true;
  } else if (!first.empty()) {
    take_in(first);
  }
  if (expired) end_idle();
  for (;;) {
    if (spawned_ != 0) {
      spawned_ = 0;
      held.unlock();
      runtime::yield();  // short handlers have their answers ready behind this
      held.lock();
    }
    look_at_clock(held, runtime::coarse_now());
    send_round(held);
    if (!may_go_on()) break;
    if (!read_more(held)) {
      drop_spares();
      in_.reset();
      out_.reset();
      out_capacity_ = 0;
      site_.reset();
      return End::idle;
    }
  }
  busy_ = false;
  if (client_ended_ || terminated_ || lost_) close_streams();
  wait_for_others(held);
  const bool lost = lost_;
  held.unlock();
  if (!lost) linger();
  in_.reset();
  return End::closed;
}

/// False: nothing more is to be read.
bool Session::may_go_on() noexcept {
  return !lost_ && !client_ended_ && !terminated_ && nghttp2_session_want_read(ng_) != 0;
}

/// Nothing of the client's is under way in either direction.
bool Session::is_quiet() const noexcept {
  return tasks_ == 0 && streams_.empty() && !writing_ && out_size_ == 0 && settled_ && guard_.between_frames() &&
         !terminated_ && !goodbye_ && nghttp2_session_want_write(ng_) == 0 && nghttp2_session_want_read(ng_) != 0;
}

Deadline Session::read_limit(std::int64_t now) const noexcept {
  Deadline limit = Deadline::after(now, kTick);
  if (frame_since_ != 0 || !settled_) {
    const std::int64_t since = frame_since_ != 0 ? frame_since_ : quiet_since_;
    limit = limit.earlier(Deadline::after(since, site_->options().timeouts.header));
  }
  return limit;
}

/// Reads once, or until it is time to look at something else. False: the connection may go idle.
bool Session::read_more(Held& held) noexcept {
  // Who makes us answer more than he reads is not read any further; nor is one whose answers are not accounted for yet.
  const std::uint32_t most = 2 * max_streams_;
  while (!lost_ && (tasks_ >= most || (writing_ && nghttp2_session_get_outbound_queue_size(ng_) > kMostQueued))) {
    busy_ = false;
    main_ = runtime::prepare_park(runtime::WaitReason::io_write);
    const runtime::Ticket ticket = main_;
    held.unlock();
    (void)runtime::park_until(ticket, Deadline::in(kTick));
    held.lock();
    main_ = {};
    busy_ = true;
  }
  const Deadline limit = read_limit(runtime::coarse_now());
  // Who stays in the middle of a head, with nothing else under way, makes room for others (h1/reclaim.hpp).
  const bool in_head = tasks_ == 0 && (frame_since_ != 0 || !settled_);
  std::atomic<std::int64_t>& waiting = connection_.waiting_since_;
  if (in_head) {
    const std::int64_t since = frame_since_ != 0 ? frame_since_ : quiet_since_;
    waiting.store(Connection::encode(Waiting::for_head, since), std::memory_order_release);
  }
  busy_ = false;
  held.unlock();
  Result<std::size_t> n = wire_.read_some({in_.get(), kIn}, limit);
  held.lock();
  busy_ = true;
  // Bytes that came when the connection had been taken already are too late.
  if (in_head && waiting.exchange(0, std::memory_order_acq_rel) == 0) n = fail(std::errc::operation_canceled);
  if (took_in(n, {in_.get(), kIn})) return true;
  if (is_quiet() && !server_.stopping_.load(std::memory_order_relaxed)) {
    busy_ = false;
    return false;
  }
  if (may_rest()) rest(held);
  return true;
}

/// What a read has brought. False: nothing has come in time.
bool Session::took_in(const Result<std::size_t>& n, std::span<const std::byte> room) noexcept {
  if (n && *n != 0)
    take_in({reinterpret_cast<const char*>(room.data()), *n});
  else if (n)
    client_ended_ = true;
  else if (n.error() == std::errc::timed_out)
    return false;
  else
    lose(n.error());
  return true;
}

/// Requests are under way, and for a whole tick nobody had anything to say: a long poll, events, a WebSocket.
bool Session::may_rest() const noexcept {
  if (tasks_ == 0 || lost_ || terminated_ || goodbye_ || server_.stopping_.load(std::memory_order_relaxed) ||
      !settled_ || frame_since_ != 0 || writing_ || out_size_ != 0)
    return false;
  Stream* s = streams_.front();
  while (s != nullptr && !s->detached_) s = streams_.after(*s);
  return s == nullptr;
}

/// Waits for the client without buffers, and without looking at anything meanwhile. What the connection's fiber would
/// have to do calls it: rouse().
void Session::rest(Held& held) noexcept {
  std::array<std::byte, 512> few;
  Result<std::size_t> n = fail(std::errc::timed_out);
  try {
    const context::Cancelable roused = context::with_cancel(server_.drain_context());
    const std::int64_t now = runtime::coarse_now();
    const Deadline age = Deadline::at(now + connection_.retire_at_.left(now));
    rest_ = &roused;
    in_.reset();
    out_.reset();
    out_capacity_ = 0;
    busy_ = false;
    held.unlock();
    n = wire_.read_some(few, age, roused.context.cancellation());
    held.lock();
    busy_ = true;
    rest_ = nullptr;
    roused.cancel();
  } catch (const std::bad_alloc&) {
    return;  // it looks around as before
  }
  in_.reset(new (std::nothrow) std::byte[kIn]);
  if (in_ == nullptr) {
    metric::count(server_.metrics_.spawn_refused);
    return lose(std::make_error_code(std::errc::not_enough_memory));
  }
  if (!n && n.error() == std::errc::operation_canceled && !wire_.is_shut_down()) return;
  (void)took_in(n, few);
}

/// Under the mutex.
void Session::rouse() noexcept {
  if (rest_ != nullptr) rest_->cancel();
}

/// While requests of the lower priorities are turned away for want of memory a connection has fewer at once, a quarter
/// for each of them: what is not begun needs no stack, and its client may try elsewhere.
void Session::note_pressure() noexcept {
  const flow::Pressure* const pressure = site_->options().pressure;
  allowed_ = max_streams_;
  if (pressure == nullptr || !pressure->sheds(flow::Priority::low)) [[likely]]
    return;
  const unsigned shed = pressure->sheds(flow::Priority::high) ? 3 : pressure->sheds(flow::Priority::normal) ? 2 : 1;
  allowed_ = std::max(max_streams_ >> (2 * shed), 1U);
}

/// Once a client has acknowledged what it was told before.
void Session::tell_allowance() noexcept {
  if (allowed_ == told_ || unacknowledged_ != 0) return;
  const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, allowed_};
  if (nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, &entry, 1) != 0) return terminate(Code::internal_error);
  told_ = allowed_;
  ++unacknowledged_;
}

void Session::take_in(std::string_view bytes) noexcept {
  const std::int64_t now = runtime::coarse_now();
  note_pressure();
  if (const Code wrong = guard_.walk(bytes, now); wrong != Code::no_error) return terminate(wrong);
  const ssize_t n = nghttp2_session_mem_recv(ng_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (n < 0)
    terminate(n == NGHTTP2_ERR_BAD_CLIENT_MAGIC                                     ? Code::protocol_error
              : n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ? Code::enhance_your_calm
                                                                                    : Code::internal_error);
  const bool whole = guard_.between_frames() || (guard_.in_data() && tasks_ != 0);
  if (whole) {
    frame_since_ = 0;
  } else if (frame_since_ == 0 || frames_begun_ != guard_.begun()) {
    frame_since_ = now;
    frames_begun_ = guard_.begun();
  }
}

/// What is due without anything having come.
void Session::look_at_clock(Held& /*held*/, std::int64_t now) noexcept {
  if (lost_ || terminated_) return;
  look_at_streams(now);
  note_pressure();
  tell_allowance();
  const SiteOptions& o = site_->options();
  const std::int64_t since = frame_since_ != 0 ? frame_since_ : !settled_ ? quiet_since_ : 0;
  if (since != 0 && now >= Deadline::after(since, o.timeouts.header).ns()) {
    metric::count(server_.metrics_.header_timeouts);
    terminate(settled_ ? Code::enhance_your_calm : Code::settings_timeout);
    return;
  }
  // PINGs are no requests.
  const std::chrono::nanoseconds idle = served_ ? o.timeouts.idle : o.timeouts.header;
  if (streams_.empty() && tasks_ == 0 && now >= Deadline::after(quiet_since_, idle).ns()) {
    end_idle();
    return;
  }
  if (!goodbye_ && (server_.stopping_.load(std::memory_order_relaxed) || !connection_.may_live_on(now)))
    begin_goodbye();
  if (goodbye_ && !final_goaway_ && now >= Deadline::after(goodbye_at_, o.timeouts.drain).ns()) {
    final_goaway_ = true;
    (void)nghttp2_submit_goaway(ng_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(ng_), NGHTTP2_NO_ERROR,
                                nullptr, 0);
  }
}

/// Answers that are complete and do not leave, four times a second.
void Session::look_at_streams(std::int64_t now) noexcept {
  if (now < streams_looked_at_ + std::chrono::nanoseconds(kTick).count() / 2) return;
  streams_looked_at_ = now;
  Stream* next = streams_.front();
  while (Stream* const s = next) {
    next = streams_.after(*s);
    s->look_at_clock(now);
    if (lost_) return;  // and all of them are over
  }
}

/// Counted as HTTP/1 does.
void Session::end_idle() noexcept {
  metric::count(served_ ? server_.metrics_.idle_timeouts : server_.metrics_.header_timeouts);
  terminate(Code::no_error);
}

void Session::begin_goodbye() noexcept {
  static constexpr std::array<std::uint8_t, 8> kPayload{'g', 'o', 'o', 'd', 'b', 'y', 'e', '.'};
  goodbye_ = true;
  goodbye_at_ = monotonic_now();
  if (nghttp2_submit_shutdown_notice(ng_) != 0 || nghttp2_submit_ping(ng_, NGHTTP2_FLAG_NONE, kPayload.data()) != 0)
    terminate(Code::internal_error);
}

/// A connection error, or an idle connection's end: GOAWAY, and nothing more is read.
void Session::terminate(Code code) noexcept {
  if (terminated_) return;
  terminated_ = true;
  rouse();
  if (nghttp2_session_terminate_session(ng_, static_cast<std::uint32_t>(code)) != 0) lost_ = true;
}

/// No more will come of them: the client has ended its side, or the connection is gone.
void Session::close_streams() noexcept {
  const std::error_code cause =
      std::make_error_code(lost_ || terminated_ ? std::errc::connection_reset : std::errc::connection_aborted);
  Stream* next = streams_.front();
  while (Stream* const s = next) {
    next = streams_.after(*s);
    if (lost_ || terminated_ || server_.half_close_cancels_) s->cancel_context(cause);
    if (terminated_) s->closed_ = true;
    s->wake_reader();
    if (lost_ || terminated_) s->wake_writer();
    if (s->detached_ && (lost_ || (terminated_ && s->end_at_ == 0))) s->finish();
  }
}

/// For the fibers of streams, and the writer.
void Session::wait_for_others(Held& held) noexcept {
  for (;;) {
    if (!lost_) look_at_streams(runtime::coarse_now());
    if (terminated_) close_streams();  // also when it was found out while answers were on their way
    schedule_write();
    if (client_ended_) give_up_stuck();
    if (tasks_ == 0 && !writing_) break;
    main_ = runtime::prepare_park(runtime::WaitReason::join);
    const runtime::Ticket ticket = main_;
    held.unlock();
    (void)runtime::park_until(ticket, Deadline::in(kTick));
    held.lock();
    main_ = {};
    if (wire_.is_shut_down() && !lost_) lose(std::make_error_code(std::errc::operation_canceled));
  }
  // Streams that nobody serves: half a head.
  while (Stream* const s = streams_.front()) {
    if (s->open_) (void)nghttp2_session_set_stream_user_data(ng_, s->id_, nullptr);
    stream_over(*s);
  }
}

/// Answers that wait for a window of a client that has ended its side: nobody will open it. What windows and socket
/// allow leaves first.
void Session::give_up_stuck() noexcept {
  if (writing_ || lost_) return;
  Stream* next = streams_.front();
  while (Stream* const s = next) {
    next = streams_.after(*s);
    if (!s->is_stuck()) continue;
    s->cancel_context(std::make_error_code(std::errc::connection_aborted));
    s->reset_stream(Code::cancel);
    if (lost_) return;  // and all of them are over
  }
}

void Session::wake_main() noexcept {
  if (main_) (void)runtime::wake(main_);
}

/// Our side ends, and what the client still sends is thrown away for a while: a reset would overtake the GOAWAY.
void Session::linger() noexcept {
  static constexpr std::int64_t kLongest = 1'000'000'000;
  static constexpr std::size_t kMost = std::size_t{1} << 20U;
  if (client_ended_) return;
  (void)wire_.shutdown_write();
  const std::int64_t begin = monotonic_now();
  const Deadline until = Deadline::at(begin + kLongest);
  // Meanwhile the place can be had back by whoever needs it more.
  connection_.waiting_since_.store(Connection::encode(Waiting::for_end, begin), std::memory_order_release);
  for (std::size_t discarded = 0; discarded < kMost;) {
    const Result<std::size_t> n = wire_.read_some({in_.get(), kIn}, until);
    if (!n || *n == 0) break;
    discarded += *n;
    runtime::yield();
  }
  connection_.waiting_since_.store(0, std::memory_order_release);
}

}  // namespace fiberd::http::h2
