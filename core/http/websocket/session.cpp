#include "core/http/websocket/session.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/utf8.hpp"
#include "core/context/cancel_scope.hpp"
#include "core/context/waits.hpp"
#include "core/http/errc.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

using context::Context;

static constexpr std::size_t kFrame = std::size_t{16} * 1024;
static constexpr std::size_t kMostQueued = std::size_t{16} * 1024;
static constexpr std::size_t kKeptRoom = std::size_t{2} * 1024;  // of a buffer while it is empty
static constexpr std::size_t kFirstRoom = 256;                   // for a message that nobody has seen yet
static constexpr std::size_t kMostReason = 123;

WebSocket::Session::Session(const WebSocketOptions& options, const Sending& sending, const Context& drain,
                            const WebSocketMetrics* metrics)
    : options_(options),
      limits_(sending),
      drain_(drain),
      metrics_(metrics),
      codec_(*this, {std::max<std::size_t>(options.message_size, 1), options.compression}) {}

WebSocket::Session::~Session() = default;

void WebSocket::Session::open(net::ByteStream& stream, context::CancelFunction ended) noexcept {
  stream_ = &stream;
  tell_ended_ = std::move(ended);
  left_at_ = heard_at_ = pinged_at_ = monotonic_now();
  if (metrics_ == nullptr) return;
  if (metrics_->open != nullptr) metrics_->open->add();
  count(metrics_->opened);
}

// ---------------------------------------------------------------------------------------------- sending

void WebSocket::Session::put(std::span<const std::byte> data) {
  if (!close_said_) out_.append(reinterpret_cast<const char*>(data.data()), data.size());
}

void WebSocket::Session::put_close(std::span<const std::byte> frame) {
  static constexpr std::size_t kWithCode = 4;
  if (close_said_) return;
  put(frame);
  close_said_ = true;
  closed_at_ = monotonic_now();
  close_code_ =
      frame.size() < kWithCode
          ? kNoCode
          : static_cast<std::uint16_t>(std::to_integer<unsigned>(frame[2]) << 8U | std::to_integer<unsigned>(frame[3]));
}

void WebSocket::Session::say_close(std::uint16_t code, std::string_view reason) {
  if (close_said_) return;
  std::array<std::byte, 4 + kMostReason> frame{std::byte{0x88}, static_cast<std::byte>(2 + reason.size()),
                                               static_cast<std::byte>(code >> 8U), static_cast<std::byte>(code)};
  std::transform(reason.begin(), reason.end(), frame.begin() + 4, [](char c) { return static_cast<std::byte>(c); });
  put_close(std::span(frame).first(4 + reason.size()));
  we_closed_ = true;
}

/// What is to be sent has left, or will, by another who is at it. An error of `ctx`: it is still there.
std::error_code WebSocket::Session::flush(Held& held, const Context& ctx) {
  while (to_send()) {
    if (lost_) return lost_;
    if (flushing_) {
      if (out_.size() < kMostQueued) return {};
      if (const Result<void> woken = changed_.wait(ctx, held); !woken) return woken.error();
      continue;
    }
    flushing_ = true;
    if (sending_at_ == sending_.size()) {
      sending_.clear();
      sending_.swap(out_);
      sending_at_ = 0;
    }
    held.unlock();
    const std::error_code error = send(ctx);
    held.lock();
    flushing_ = false;
    const bool ours = error && error != ctx.err();
    if (ours) {
      lost_ = error;
      stream_->shutdown();
    }
    if (sending_at_ == sending_.size() && sending_.capacity() > kKeptRoom) {
      std::string().swap(sending_);
      sending_at_ = 0;
    }
    changed_.notify_all();
    if (error) return error;
  }
  if (out_.capacity() > kKeptRoom && out_.empty()) std::string().swap(out_);
  return lost_;
}

std::error_code WebSocket::Session::send(const Context& ctx) noexcept {
  const Context* obeyed = &ctx;
  while (sending_at_ < sending_.size()) {
    const std::int64_t begin = monotonic_now();
    const Deadline limit =
        Deadline::after(begin, limits_.timeout).earlier(slow_.limit(begin, limits_.rate, limits_.grace.count()));
    const auto rest = std::as_bytes(std::span(sending_)).subspan(sending_at_);
    const Result<std::size_t> n = stream_->write_some(rest, limit.earlier(obeyed->deadline()), obeyed->wait_point());
    slow_.note(n ? *n : 0, monotonic_now() - begin);
    if (n) {
      sending_at_ += *n;
      continue;
    }
    const std::error_code error = context::to_error(n.error(), *obeyed, limit);
    // What was begun before the server began to stop still leaves.
    if (!error || error != obeyed->err() || obeyed->cause() != errc::draining) return error;
    obeyed = &nobody_;
  }
  slow_.reset();
  return {};
}

/// Others run meanwhile: 8 MiB take 12 ms to be looked at.
static bool is_text(std::string_view data) noexcept {
  static constexpr std::size_t kPiece = std::size_t{256} * 1024;
  while (data.size() > kPiece) {
    const std::size_t size = utf8_cut(data, kPiece);
    if (!is_utf8(data.substr(0, size))) return false;
    data.remove_prefix(size);
    runtime::yield();
  }
  return is_utf8(data);
}

/// Whether the last character is whole, of text that is right up to there.
static bool ends_whole(std::string_view text) noexcept {
  static constexpr std::size_t kMostBehindTheFirst = 3;
  std::size_t behind = 0;
  const auto continues = [&] { return (static_cast<unsigned char>(text[text.size() - 1 - behind]) & 0xc0U) == 0x80U; };
  while (behind < kMostBehindTheFirst && behind + 1 < text.size() && continues()) ++behind;
  return text.empty() || is_utf8(text.substr(text.size() - 1 - behind));
}

Result<void> WebSocket::Session::write(const Context& ctx, Kind kind, std::string_view data) {
  if (kind == Kind::text && !is_text(data)) return fail(std::errc::invalid_argument);
  const Result<std::unique_lock<sync::Mutex>> turn = turn_.guard(ctx);
  if (!turn) return fail(turn.error());
  Held held(mutex_);
  for (std::size_t at = 0;;) {
    if (lost_) return fail(lost_);
    if (ended_ || close_said_ || cut_) return fail(std::errc::not_connected);
    const std::string_view piece = data.substr(at, kFrame);
    at += piece.size();
    const bool last = at == data.size();
    if (!codec_.write_some(kind == Kind::text, last, piece)) return fail(std::errc::not_connected);
    const std::error_code error = flush(held, ctx);
    // Whose context has ended does not wait for it; it leaves all the same.
    if (last && metrics_ != nullptr && !lost_) {
      count(metrics_->sent_messages);
      if (metrics_->sent_bytes != nullptr) metrics_->sent_bytes->add(data.size());
    }
    if (error && !last) cut_ = true;
    if (error) return fail(error);
    if (last) return {};
  }
}

// ---------------------------------------------------------------------------------------------- waiting

Result<std::size_t> WebSocket::Session::take(std::span<std::byte> data) {
  if (codec_.message_done())
    message_at_ = 0;
  else if (message_at_ == 0)
    message_at_ = monotonic_now();
  Result<std::size_t> n = wait_for_bytes(data);
  if (!n && reader_context_->err() && n.error() == reader_context_->err()) throw Interrupted{n.error()};
  return n;
}

/// Until when, and what is to be done then.
Deadline WebSocket::Session::next_due(Due& what) const noexcept {
  Deadline due;
  const auto at = [&](std::int64_t since, std::chrono::nanoseconds span, Due then) {
    const Deadline d = Deadline::after(since, span);
    if (d.ns() >= due.ns()) return;
    due = d;
    what = then;
  };
  what = Due::nothing;
  if (close_said_) {
    at(closed_at_, options_.close_timeout, Due::close);
    return due;
  }
  if (options_.idle_timeout.count() != 0) at(heard_at_, options_.idle_timeout, Due::idle);
  if (message_at_ != 0) at(message_at_, options_.message_timeout, Due::message);
  if (options_.ping_interval.count() != 0) at(std::max(heard_at_, pinged_at_), options_.ping_interval, Due::ping);
  return due;
}

/// The client is too late. Error none: go on.
std::error_code WebSocket::Session::give_up(Due what) {
  static constexpr std::array<std::byte, 2> kPing{std::byte{0x89}, std::byte{0}};
  switch (what) {
    case Due::ping:
      pinged_at_ = monotonic_now();
      put(kPing);
      return {};
    case Due::idle: say_close(kGoingAway, "idle"); break;
    case Due::message: say_close(kPolicy, "too slow"); break;
    case Due::close:
    case Due::nothing: break;
  }
  return std::make_error_code(std::errc::timed_out);
}

/// With the lock let go while it waits.
Result<std::size_t> WebSocket::Session::wait_for_bytes(std::span<std::byte> data) {
  const Context& ctx = *reader_context_;
  for (;;) {
    if (const std::error_code error = flush(*reader_, ctx)) return fail(error);
    // Whoever sends without end is not waited for, and would not let his reader see it.
    if (const std::error_code error = ctx.err()) return fail(error);
    Due what;
    const Deadline due = next_due(what);
    reader_->unlock();
    const Result<std::size_t> n = stream_->read_some(data, due.earlier(ctx.deadline()), ctx.wait_point());
    reader_->lock();
    if (n) {
      heard_at_ = monotonic_now();
      return n;
    }
    if (lost_) return fail(lost_);
    const std::error_code error = context::to_error(n.error(), ctx, due);
    if (error != std::make_error_code(std::errc::timed_out)) return fail(error);
    // Somebody may have closed meanwhile: then it is another time that counts.
    Due now_due;
    if (next_due(now_due).ns() > monotonic_now()) continue;
    if (now_due == Due::idle) {
      // It may be this process that stood still.
      if (const Result<std::size_t> there = stream_->try_read(data); there) {
        heard_at_ = monotonic_now();
        return there;
      }
    }
    if (const std::error_code late = give_up(now_due)) return fail(late);
  }
}

// ---------------------------------------------------------------------------------------------- reading

/// As bodies of requests do (h1/stream.cpp): who has waited a moment in vain is given up, for others to end.
bool WebSocket::Session::wait_for_memory(std::size_t bytes) noexcept {
  static constexpr std::chrono::milliseconds kLongest{32};
  flow::Pressure* const pressure = limits_.pressure;
  if (pressure == nullptr || bytes <= kFrame || pressure->may_grow(bytes)) return true;
  for (std::chrono::milliseconds pause{1}; pause <= kLongest && !lost_ && !reader_context_->err(); pause *= 2) {
    reader_->unlock();
    (void)runtime::sleep_for(pause);
    reader_->lock();
    if (pressure->may_grow(bytes)) return true;
  }
  return false;
}

/// True: a message; false: the WebSocket has ended.
bool WebSocket::Session::receive(WebSocketMessage& message) {
  std::string& data = message.data;
  if (data.capacity() > std::size_t{4} * 1024) std::string().swap(data);  // it may be a long wait
  data.resize(kFirstRoom);
  const std::size_t most = std::max<std::size_t>(options_.message_size, 1) + 1;
  std::size_t size = 0;
  for (;;) {
    if (size == data.size()) {
      const std::size_t room = std::min(most, std::max(size * 4, kFirstRoom));
      if (!wait_for_memory(room - size)) {
        std::string().swap(data);
        say_close(kTryLater, "no memory");
        end({.size = 0, .end = Codec::End::connection, .error = {}});
        error_ = std::make_error_code(std::errc::not_enough_memory);
        return false;
      }
      data.resize(room);
    }
    const Codec::Read read = codec_.read_some({data.data() + size, data.size() - size});
    size += read.size;
    if (read.end != Codec::End::none) {
      data.clear();
      end(read);
      return false;
    }
    if (codec_.message_done()) break;
  }
  data.resize(size);
  // Beast does not see that a text is cut inside a character when its last fragment is empty.
  if (codec_.message_is_text() && !ends_whole(data)) {
    data.clear();
    say_close(kBadData);
    end({.size = 0, .end = Codec::End::text, .error = {}});
    return false;
  }
  message.kind = codec_.message_is_text() ? Kind::text : Kind::binary;
  message_at_ = 0;
  if (metrics_ != nullptr) {
    count(metrics_->received_messages);
    if (metrics_->received_bytes != nullptr) metrics_->received_bytes->add(size);
  }
  return true;
}

Result<bool> WebSocket::Session::read(const Context& ctx, WebSocketMessage& message) {
  Held held(mutex_);
  if (reader_ != nullptr) {
    report_bug("two fibers read from one WebSocket");
    return fail(std::errc::operation_not_permitted);
  }
  if (!ended_) {
    reader_ = &held;
    reader_context_ = &ctx;
    // While nobody reads nobody is silent: he was not asked, and not listened to.
    const std::int64_t deaf = monotonic_now() - left_at_;
    heard_at_ += deaf;
    pinged_at_ += deaf;
    const defer leave([this] {
      reader_ = nullptr;
      left_at_ = monotonic_now();
    });
    try {
      if (const std::error_code error = error_of(context::check(ctx))) throw Interrupted{error};
      if (receive(message)) return true;
    } catch (const Interrupted& stopped) {
      const std::error_code error = stopped.error;
      return interrupted(error);
    }
  }
  if (error_) return fail(error_);
  return false;
}

/// The reader's context has ended his wait.
Result<bool> WebSocket::Session::interrupted(std::error_code error) {
  if (drain_.done()) {
    say_close(kGoingAway);
    read_out();
    return false;
  }
  if (codec_.message_done()) return fail(error);
  cut_ = true;
  say_close(kInternal);
  read_out();
  return fail(error);
}

/// Until the client's Close has come, or time is up.
void WebSocket::Session::read_out() {
  std::array<char, 512> rest;
  reader_context_ = &nobody_;
  while (!ended_)
    if (const Codec::Read read = codec_.read_some(rest); read.end != Codec::End::none) end(read);
}

std::error_code WebSocket::Session::error_of_end(Codec::End how) const noexcept {
  switch (how) {
    case Codec::End::protocol: return std::make_error_code(std::errc::bad_message);
    case Codec::End::too_big: return std::make_error_code(std::errc::message_size);
    case Codec::End::text: return std::make_error_code(std::errc::illegal_byte_sequence);
    case Codec::End::packed: return std::make_error_code(std::errc::bad_message);
    case Codec::End::closed:
    case Codec::End::connection:
    case Codec::End::none: break;
  }
  return {};
}

/// The codec says that nothing more will come.
void WebSocket::Session::end(const Codec::Read& how) {
  if (ended_) return;
  if (how.end == Codec::End::packed) say_close(kBadData);
  const bool ours = we_closed_;
  bool said = close_said_;
  // What is still to be said is said as long as it may take, and no longer.
  if (to_send() && !lost_ && reader_ != nullptr) {
    const context::CancelScope limit(context::with_timeout(Context(), options_.close_timeout));
    (void)flush(*reader_, limit);
  }
  if (lost_ && to_send()) said = false;  // what could not be sent nobody was told
  std::uint16_t code = close_code_;
  std::error_code error = error_of_end(how.end);
  if (how.end == Codec::End::closed && !ours) code = codec_.close_code();
  if (how.end == Codec::End::connection) {
    const bool late = how.error == std::make_error_code(std::errc::timed_out);
    if (!said) code = kLost;
    // Who does not answer our Close, or by a FIN, has been told all the same.
    const bool silence = ours && close_code_ != kNormal && late;
    if (!said || silence) error = how.error ? how.error : std::make_error_code(std::errc::connection_aborted);
    if (drain_.done() && said) error.clear();
  }
  note_end(code, error);
}

void WebSocket::Session::note_end(std::uint16_t code, std::error_code error) noexcept {
  ended_ = true;
  code_ = code;
  error_ = error;
  changed_.notify_all();
  tell_ended_(error ? error : std::make_error_code(std::errc::connection_aborted));
}

// ---------------------------------------------------------------------------------------------- the end

Result<void> WebSocket::Session::close(std::uint16_t code, std::string_view reason) {
  // RFC 6455 section 7.4: what may stand in a frame.
  const bool sendable = (code >= 1000 && code <= 1014 && code != 1004 && code != kNoCode && code != kLost) ||
                        (code >= 3000 && code <= 4999);
  if (!sendable || reason.size() > kMostReason || !is_utf8(reason)) return fail(std::errc::invalid_argument);
  Held held(mutex_);
  if (ended_ || close_said_) return {};
  say_close(code, reason);
  const context::CancelScope limit(context::with_timeout(Context(), options_.close_timeout));
  if (const std::error_code error = flush(held, limit)) return fail(error);
  // Another who reads sees the end, and does not know yet that there is a time for it.
  while (!ended_ && reader_ != nullptr)
    if (!changed_.wait(limit, held)) {
      stream_->shutdown();
      break;
    }
  return {};
}

std::uint16_t WebSocket::Session::code() noexcept {
  const Held held(mutex_);
  return ended_ ? code_ : 0;
}

/// Nobody has closed.
void WebSocket::Session::say_last() noexcept {
  std::uint16_t code = drain_.done() ? kGoingAway : kNormal;
  if (cut_ || std::uncaught_exceptions() > exceptions_) code = kInternal;
  say_close(code);
}

void WebSocket::Session::finish() noexcept {
  if (stream_ == nullptr) return;
  Held held(mutex_);
  if (reader_ != nullptr) {
    report_bug("a WebSocket ends that somebody reads from");
    stream_->shutdown();
    return;
  }
  const std::error_code no_memory = std::make_error_code(std::errc::not_enough_memory);
  try {
    if (!ended_) {
      reader_ = &held;
      const defer leave([this] { reader_ = nullptr; });
      say_last();
      read_out();
    }
  } catch (const std::bad_alloc&) {
    stream_->shutdown();
    note_end(kLost, no_memory);
  }
  if (metrics_ == nullptr) return;
  if (metrics_->open != nullptr) metrics_->open->sub();
  metric::count(metrics_->closed[close_index(code_)]);
}

}  // namespace fiberd::http
