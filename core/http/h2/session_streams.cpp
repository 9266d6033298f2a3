// What nghttp2 tells of a connection's frames. Under the session's mutex, on whichever fiber is inside; nothing here
// parks, and nothing throws.
#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "core/base/text.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h2/session.hpp"
#include "core/http/h2/stream.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {

static constexpr std::uint32_t kSpares = 128;       // until it rests: as many as a round of a busy client has
static constexpr std::uint32_t kRooms = 32;         // of them keep 16 KiB for an answer
static constexpr std::uint32_t kBadStream = 10;     // one that we have to reset
static constexpr std::uint32_t kRefusedStream = 2;  // a request beyond what is served

// ---------------------------------------------------------------------------------------------- streams

Stream* Session::begin_stream(std::int32_t id) noexcept {
  Stream* s = spare_.pop_front();
  if (s != nullptr)
    --spares_;
  else
    s = new (std::nothrow) Stream(*this);
  if (s == nullptr) return nullptr;
  s->reset(id);
  s->open_ = true;
  streams_.push_back(*s);
  if (nghttp2_session_set_stream_user_data(ng_, id, s) != 0) {
    s->open_ = false;
    stream_over(*s);
    return nullptr;
  }
  return s;
}

void Session::refuse_stream(std::int32_t id) noexcept {
  (void)nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
}

/// Its head has come.
void Session::begin_request(Stream& s, bool ended) noexcept {
  served_ = true;
  s.in_over_ = ended;
  s.head_bytes_ = guard_.block_bytes();
  s.begun_at_ = runtime::coarse_now();
  s.site_ = site();
  const SiteOptions& o = s.site_->options();
  early_ = early_ && wire_.is_early();
  if (early_) s.head_.add_early_data();
  s.refused_ = s.head_.finish(s.request_, ended, secured_, o.head);
  s.head_refused_ = s.refused_ != Reject::none;
  if (connection_.requests_left_ != 0) --connection_.requests_left_;
  s.running_ = s.unanswered_ = true;
  ++tasks_;
  ++unanswered_;
  ++spawned_;
  join();
  const auto run = [this, &s] {
    s.serve();
    leave();
  };
  const Result<void> spawned = server_.claim_ == fiber::StackClaim::ordinary
                                   ? runtime::spawn("http2 stream", run)
                                   : runtime::spawn_reserved(server_.claim_, "http2 stream", run);
  if (spawned) {
    metric::count(server_.metrics_.http2.requests);
    return;
  }
  metric::count(server_.metrics_.spawn_refused);
  s.running_ = false;
  --tasks_;
  answered(s);
  references_.fetch_sub(1, std::memory_order_relaxed);
  refuse_stream(s.id_);
}

// ---------------------------------------------------------------------------------------------- by an upgrade

bool Session::take_settings(std::string_view payload, bool head_request) noexcept {
  const Held held(mutex_);
  if (nghttp2_session_upgrade2(ng_, reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size(),
                               head_request ? 1 : 0, nullptr) != 0)
    return false;
  settled_ = false;  // the client's preface, with SETTINGS of its own, is still to come
  return true;
}

/// What belongs to a connection of HTTP/1.1, or has another name in HTTP/2.
static bool is_left_behind(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 8> kNames{
      "connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding", "http2-settings", "host", "te"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool Session::begin_first(const Request& request, std::size_t head) noexcept {
  const Held held(mutex_);
  Stream* const s = begin_stream(1);
  if (s == nullptr) return false;
  // It was within HTTP/1.1's limits, which do not count what is around a field.
  HeadLimits limits = site_->options().head;
  limits.header_size += static_cast<std::uint32_t>(64 * (request.headers.size() + 4));
  try {
    s->head_.add(":method", request.method_text, limits);
    s->head_.add(":scheme", "http", limits);
    s->head_.add(":authority", request.host, limits);
    s->head_.add(":path", request.target, limits);
    std::string name;
    for (std::size_t i = 0; i < request.headers.size(); ++i) {
      const Field field = request.headers[i];
      name.assign(field.name);
      for (char& c : name) c = ascii::to_lower(c);
      if (!is_left_behind(name)) s->head_.add(name, field.value, limits);
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  s->head_done_ = true;
  begin_request(*s, true);
  s->head_bytes_ = static_cast<std::uint32_t>(head);
  return true;
}

void Session::answered(Stream& s) noexcept {
  if (!s.unanswered_) return;
  s.unanswered_ = false;
  --unanswered_;
}

/// nghttp2 has forgotten it, or the connection is over.
void Session::stream_closed(Stream& s, std::uint32_t code, bool by_client) noexcept {
  s.open_ = false;
  s.closed_ = true;
  s.close_code_ = code;
  s.reset_by_client_ = by_client;
  if (!s.in_.empty()) {
    // What came before an end in order is the handler's still: he may read while another fiber of his has ended the
    // answer. Of what was broken off nobody shall believe that it is all there is.
    (void)nghttp2_session_consume_connection(ng_, s.in_.size());
    s.whole_ = s.in_over_ && code == NGHTTP2_NO_ERROR && !by_client;
    s.cut_ = !s.whole_;
    if (s.cut_) s.in_.clear();
  }
  if (!s.running_) return stream_over(s);
  if (s.end_at_ == 0)
    s.cancel_context(by_client ? reset_by_client(code_from(code))
                               : std::make_error_code(std::errc::connection_aborted));
  s.wake_reader();
  s.wake_writer();
  if (s.detached_ && (s.end_at_ == 0 || s.sent_)) s.finish();
}

void Session::forget(Stream& s) noexcept {
  for (std::size_t i = 0; i < unsent_.size(); ++i)
    if (unsent_[i] == &s) {
      unsent_[i] = unsent_.back();
      unsent_.pop_back();
      return;
    }
}

/// Neither nghttp2 nor a fiber has it.
void Session::stream_over(Stream& s) noexcept {
  if (s.end_at_ != 0 && !s.sent_) forget(s);
  List<Stream>::remove(s);
  if (streams_.empty()) quiet_since_ = runtime::coarse_now();
  if (spares_ == kSpares) {
    delete &s;
    return;
  }
  s.trim(spares_ < kRooms);
  spare_.push_front(s);
  ++spares_;
}

void Session::drop_spares() noexcept {
  while (Stream* const s = spare_.pop_front()) delete s;
  spares_ = 0;
  memory_.drop();
}

// ---------------------------------------------------------------------------------------------- callbacks

struct Callbacks {
  static Session& session_of(void* user) noexcept { return *static_cast<Session*>(user); }
  static Stream* stream_of(nghttp2_session* ng, std::int32_t id) noexcept {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(ng, id));
  }
  static void charge(Session& s, std::uint32_t points) noexcept {
    if (!s.guard_.charge(points)) s.terminate(Code::enhance_your_calm);
  }

  static int on_begin_headers(nghttp2_session* /*ng*/, const nghttp2_frame* frame, void* user) noexcept {
    Session& s = session_of(user);
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    // A handler counts until its answer is complete, whatever has become of its stream: whoever resets gets no more
    // of them for it.
    if (s.unanswered_ >= s.allowed_) {
      s.refuse_stream(frame->hd.stream_id);
      return 0;
    }
    return s.begin_stream(frame->hd.stream_id) != nullptr ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_header(nghttp2_session* ng, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/, void* user) noexcept {
    Session& session = session_of(user);
    Stream* const s = stream_of(ng, frame->hd.stream_id);
    if (s == nullptr) return 0;
    const std::string_view n(reinterpret_cast<const char*>(name), name_size);
    const std::string_view v(reinterpret_cast<const char*>(value), value_size);
    const HeadLimits& limits = session.site_->options().head;
    if (!s->head_done_) {
      s->head_.add(n, v, limits);
      if (!s->head_.is_bomb(limits)) return 0;
      session.terminate(Code::enhance_your_calm);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (s->trailers_.add(n, v)) return 0;
    s->reset_stream(Code::protocol_error);
    return 0;
  }

  static int on_invalid_header(nghttp2_session* /*ng*/, const nghttp2_frame* /*frame*/, const std::uint8_t* /*name*/,
                               std::size_t /*name_size*/, const std::uint8_t* /*value*/, std::size_t /*value_size*/,
                               std::uint8_t /*flags*/, void* /*user*/) noexcept {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // not left out: the request is malformed
  }

  static int on_frame_recv(nghttp2_session* ng, const nghttp2_frame* frame, void* user) noexcept {
    Session& session = session_of(user);
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (Stream* const s = stream_of(ng, frame->hd.stream_id)) {
          if (!s->head_done_) {
            s->head_done_ = true;
            session.begin_request(*s, ended);
          } else if (ended) {
            s->in_over_ = true;
            s->wake_reader();
          }
        }
        break;
      case NGHTTP2_DATA:
        if (!ended) break;
        if (Stream* const s = stream_of(ng, frame->hd.stream_id)) {
          s->in_over_ = true;
          s->wake_reader();
        }
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
          session.settled_ = true;
        else if (session.unacknowledged_ != 0)
          --session.unacknowledged_;
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && session.goodbye_) session.goodbye_at_ = 1;
        break;
      case NGHTTP2_RST_STREAM:
        metric::count(session.server_.metrics_.http2
                          .resets_received[static_cast<std::size_t>(code_from(frame->rst_stream.error_code))]);
        if (Stream* const s = stream_of(ng, frame->hd.stream_id)) s->reset_by_client_ = true;
        break;
      default: break;
    }
    return 0;
  }

  static int on_data(nghttp2_session* ng, std::uint8_t /*flags*/, std::int32_t id, const std::uint8_t* data,
                     std::size_t size, void* user) noexcept {
    Session& session = session_of(user);
    Stream* const s = stream_of(ng, id);
    if (s == nullptr || s->closed_ || (s->refused_ != Reject::none && !s->sent_)) {
      (void)nghttp2_session_consume(ng, id, size);
      return 0;
    }
    try {
      s->in_.append(reinterpret_cast<const char*>(data), size);
    } catch (const std::bad_alloc&) {
      (void)nghttp2_session_consume_connection(ng, size);
      s->reset_stream(Code::internal_error);
      return 0;
    }
    s->wake_reader();
    (void)session;
    return 0;
  }

  static int on_stream_close(nghttp2_session* ng, std::int32_t id, std::uint32_t code, void* user) noexcept {
    if (Stream* const s = stream_of(ng, id)) session_of(user).stream_closed(*s, code, s->reset_by_client_);
    return 0;
  }

  /// A head that it finds too large, behind having taken it. Else its request would wait for an answer until time is
  /// up.
  static int on_frame_not_send(nghttp2_session* ng, const nghttp2_frame* frame, int /*error*/,
                               void* /*user*/) noexcept {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (Stream* const s = stream_of(ng, frame->hd.stream_id)) {
      s->note_head_sent(0);
      s->reset_stream(Code::internal_error);
    }
    return 0;
  }

  static int on_frame_send(nghttp2_session* ng, const nghttp2_frame* frame, void* user) noexcept {
    Session& session = session_of(user);
    const Metrics& m = session.server_.metrics_.http2;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        Stream* const s = stream_of(ng, frame->hd.stream_id);
        if (frame->hd.type == NGHTTP2_DATA) session.guard_.note_data_sent();
        if (s == nullptr) break;
        if (frame->hd.type == NGHTTP2_HEADERS) s->note_head_sent(frame->hd.length + 9);
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) break;
        // What is copied is laid out behind this call, data was before it.
        s->end_at_ = session.appended_ + (frame->hd.type == NGHTTP2_HEADERS ? frame->hd.length + 9 : 0);
        session.answered(*s);
        try {
          session.unsent_.push_back(s);
        } catch (const std::bad_alloc&) {
          s->sent_ = true;  // as good as: nobody is left waiting
          if (!s->detached_) s->wake_writer();
        }
        break;
      }
      case NGHTTP2_RST_STREAM: {
        const Code code = code_from(frame->rst_stream.error_code);
        metric::count(m.resets_sent[static_cast<std::size_t>(code)]);
        if (code == Code::protocol_error || code == Code::flow_control_error || code == Code::stream_closed ||
            code == Code::frame_size_error || code == Code::enhance_your_calm)
          charge(session, kBadStream);
        else if (code == Code::refused_stream)  // by whom ever: nghttp2 refuses, too
          charge(session, kRefusedStream);
        break;
      }
      case NGHTTP2_GOAWAY:
        metric::count(m.goaways_sent[static_cast<std::size_t>(code_from(frame->goaway.error_code))]);
        if (frame->goaway.error_code == NGHTTP2_NO_ERROR) break;
        session.terminated_ = true;
        session.rouse();
        break;
      default: break;
    }
    return 0;
  }

  static ssize_t read_data(nghttp2_session* /*ng*/, std::int32_t /*id*/, std::uint8_t* /*to*/, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) noexcept;
  static int send_data(nghttp2_session* /*ng*/, nghttp2_frame* /*frame*/, const std::uint8_t* head, std::size_t length,
                       nghttp2_data_source* source, void* user) noexcept;
};

ssize_t Callbacks::read_data(nghttp2_session* ng, std::int32_t id, std::uint8_t* /*to*/, std::size_t length,
                             std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) noexcept {
  Stream& s = *static_cast<Stream*>(source->ptr);
  const std::size_t there = s.waiting_bytes();
  if (there == 0 && !s.eof_) {
    s.deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const std::size_t n = there < length ? there : length;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (s.eof_ && n == there) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!s.trailer_nvs_.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      if (nghttp2_submit_trailer(ng, id, s.trailer_nvs_.data(), s.trailer_nvs_.size()) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
  }
  return static_cast<ssize_t>(n);
}

int Callbacks::send_data(nghttp2_session* /*ng*/, nghttp2_frame* /*frame*/, const std::uint8_t* head,
                         std::size_t length, nghttp2_data_source* source, void* user) noexcept {
  Session& session = session_of(user);
  Stream& s = *static_cast<Stream*>(source->ptr);
  if (!session.append(head, 9)) return NGHTTP2_ERR_CALLBACK_FAILURE;
  const std::size_t held = s.pending_.size() - s.pending_at_;
  const std::size_t first = held < length ? held : length;
  const auto put = [&](const char* data, std::size_t size) {
    return size == 0 || session.append(reinterpret_cast<const std::uint8_t*>(data), size);
  };
  if (!put(s.pending_.data() + s.pending_at_, first) || !put(s.direct_.data(), length - first))
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  s.take_out(length);
  // nghttp2 would go on with the next frame, up to the client's window.
  return session.out_size_ < Session::kOutFull ? 0 : NGHTTP2_ERR_PAUSE;
}

const nghttp2_session_callbacks* session_callbacks() noexcept {
  static nghttp2_session_callbacks* const callbacks = [] {
    nghttp2_session_callbacks* c = nullptr;
    if (nghttp2_session_callbacks_new(&c) != 0) return c;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, &Callbacks::on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, &Callbacks::on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, &Callbacks::on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, &Callbacks::on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, &Callbacks::on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, &Callbacks::on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, &Callbacks::on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, &Callbacks::on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(c, &Callbacks::send_data);
    return c;
  }();
  return callbacks;
}

nghttp2_data_provider body_of(Stream& stream) noexcept {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = &Callbacks::read_data;
  return provider;
}

}  // namespace fiberd::http::h2
