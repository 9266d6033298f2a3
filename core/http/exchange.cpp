#include "core/http/exchange.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "core/base/bug.hpp"
#include "core/http/connection.hpp"
#include "core/http/error_page.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

// More than any head of ours: status line, date, server, a dozen fields. Heads with more take the slow path
// (write_large_head).
static constexpr std::size_t kHeadRoom = 2048;
// Bodies up to here are copied behind their head, so that the answers to a pipeline leave in one send.
static constexpr std::size_t kCopyBody = 4096;
// Between the head of an answer that is begun and its body: what may come to stand there, or behind the body.
static constexpr std::size_t kHeldRoom = kHeadEndMax + kChunkHeadMax + kChunkEnd.size();

static tl::unexpected<std::error_code> misuse(const char* what) noexcept {
  report_bug(what);
  return fail(std::errc::operation_not_permitted);
}

const context::Context& Exchange::context() {
  if (context_.context == context::Context()) {
    const context::Context& client = client_context();
    context_ = context::with_deadline(client, deadline_);
  }
  return context_.context;
}

const context::Context& Exchange::client_context() {
  Connection& c = connection_;
  ClientContext& client = c.client();
  client.watch(c.begin_ != c.end_);
  return client.context();
}

/// A FIN behind the body says something about this request once the body has been read.
void Exchange::note_body_read() noexcept {
  if (connection_.client_ != nullptr) connection_.client_->note_more(connection_.begin_ != connection_.end_);
}

Result<std::string_view> Exchange::read_body() {
  Connection& c = connection_;
  const Workspace& ws = *c.ws_;
  if (refused_ != Reject::none) return fail(std::errc::bad_message);
  if (body_timed_out_) return fail(std::errc::timed_out);
  while (!decoder_.done()) {
    if (c.begin_ < c.end_) {
      const BodyDecoder::Step step = decoder_.decode(ws.in + c.begin_, c.end_ - c.begin_);
      c.begin_ += static_cast<std::uint32_t>(step.consumed);
      if (step.status == BodyDecoder::Status::data) return step.data;
      if (step.status == BodyDecoder::Status::refused) {
        refused_ = decoder_.reason();
        metric::count(c.server_.options_.metrics.rejects[static_cast<std::size_t>(refused_)]);
        keep_alive_ = false;
        return fail(std::errc::bad_message);
      }
      continue;
    }
    if (request_.expect_continue && !continue_sent_ && !committed()) {
      continue_sent_ = true;
      if (c.flush()) return fail(std::errc::connection_reset);
      if (const std::error_code error = c.send(kContinue)) return fail(error);
    } else if (c.out_size_ != 0) {
      // Answers to earlier requests must not wait for this one's body.
      if (const std::error_code error = c.flush()) return fail(error);
    }
    const Result<std::size_t> n = receive_body();
    if (!n) {
      keep_alive_ = false;
      return fail(n.error());
    }
    if (*n == 0) {
      keep_alive_ = false;
      return fail(std::errc::connection_aborted);  // the client left in the middle of its message
    }
    c.end_ += static_cast<std::uint32_t>(*n);
  }
  note_body_read();
  return std::string_view();
}

Result<std::size_t> Exchange::receive_body() {
  Connection& c = connection_;
  // The head stays where it is; its body is read into the room behind it, always the same.
  c.begin_ = c.end_ = body_room_;
  const ServerOptions& options = c.server_.options_;
  const std::int64_t begin = runtime::coarse_now();
  const std::int64_t grace = options.timeouts.grace.count();
  // A committed answer has met its deadline; what is drained behind it has one of its own.
  const Deadline own = committed() && !ended_ ? Deadline::never() : deadline_;
  // Used up by the handler itself: nothing that the client can be blamed for.
  if (!own.is_never() && own.ns() <= begin) return fail(std::errc::timed_out);
  const Deadline progress = Deadline::after(begin, options.timeouts.body);
  const Deadline rate = reads_.limit(begin, options.body_rate, grace);
  const Deadline until = progress.earlier(rate).earlier(own);
  const Result<std::size_t> n =
      c.stream_.read_some({reinterpret_cast<std::byte*>(c.ws_->in + c.end_), c.ws_->in_capacity - c.end_}, until);
  reads_.note(n ? *n : 0, runtime::coarse_now() - begin);
  if (n || n.error() != std::errc::timed_out) return n;
  body_timed_out_ = true;
  const ServerMetrics& metrics = options.metrics;
  metric::Counter* counter = until.ns() == rate.ns() ? metrics.body_rate : metrics.body_timeouts;
  if (until.ns() == own.ns()) counter = ended_ ? nullptr : metrics.request_timeouts;
  metric::count(counter);
  return n;
}

bool Exchange::leaves_too_much() const noexcept {
  if (decoder_.done()) return false;
  // A client that waits for 100 Continue and gets a final answer may send the body or not: the end is unknown.
  if (request_.expect_continue && !continue_sent_) return true;
  return refused_ != Reject::none || body_timed_out_ || decoder_.remaining() > kDrainBytes;
}

/// A server that stops, and a body that cannot be drained afterwards, end the connection; the answer says so.
void Exchange::settle_keep_alive(RestOfBody rest) noexcept {
  if (connection_.server_.stopping_.load(std::memory_order_relaxed)) [[unlikely]]
    keep_alive_ = false;
  if (decoder_.done()) return;
  const bool ends = rest == RestOfBody::unread ? leaves_too_much() : request_.expect_continue && !continue_sent_;
  if (ends) keep_alive_ = false;
}

/// Of an answer whose body is known.
Result<void> Exchange::commit(ResponseHead& head, RestOfBody rest) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  Connection& c = connection_;
  settle_keep_alive(rest);
  head.version = request_.version;
  head.keep_alive = keep_alive_;
  head.server = c.server_.options_.server_name;
  char* const out = c.reserve_out(kHeadRoom);
  if (out == nullptr) return fail(std::errc::connection_reset);
  answer_at_ = c.sent_ + c.out_size_;
  Result<HeadWritten> written =
      write_head({out, c.ws_->out_capacity - c.out_size_}, head, c.server_.workspaces_.date());
  if (written) {
    c.out_size_ += static_cast<std::uint32_t>(written->size);
  } else if (written.error() == std::errc::no_buffer_space) {
    written = write_large_head(head);
  }
  if (!written) return fail(written.error());
  body_at_ = answer_at_ + written->size;
  keep_alive_ = written->keep_alive;
  kind_ = written->body;
  status_ = head.status;
  return {};
}

Result<void> Exchange::begin(ResponseHead head, RestOfBody rest) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  Connection& c = connection_;
  head.version = request_.version;
  head.server = c.server_.options_.server_name;
  char* const out = c.reserve_out(kHeadRoom);
  if (out == nullptr) return fail(std::errc::connection_reset);
  const std::size_t room = c.ws_->out_capacity - c.out_size_ - kHeldRoom;
  const Result<std::size_t> size = write_head_begin({out, room}, head, c.server_.workspaces_.date());
  if (!size && size.error() != std::errc::no_buffer_space) return fail(size.error());
  head_end_ = {head.status, head.version, head.body, head.send_content_length, true, head.content_length};
  if (!size) {
    if (const Result<void> done = commit(head, rest); !done) return done;
  } else {
    rest_of_body_ = rest;
    kind_ = head.body;
    head_begin_ = c.out_size_;
    held_begin_ = head_begin_ + static_cast<std::uint32_t>(*size + kHeldRoom);
    held_ = 0;
  }
  begun_ = true;
  left_ = sends_body() ? head.content_length : 0;
  return {};
}

bool Exchange::discard() noexcept {
  if (committed()) return false;
  begun_ = false;
  return true;
}

/// The head gets its end, and what is held of the body comes to stand behind it. `ended`: that is all of it.
Result<void> Exchange::commit_begun(bool ended) {
  Connection& c = connection_;
  if (c.output_lost_) return fail(std::errc::connection_reset);
  settle_keep_alive(rest_of_body_);
  HeadEnd end = head_end_;
  end.keep_alive = keep_alive_;
  // A handler may write nothing to HEAD; then the length that GET would get is not known.
  if (ended && end.body == BodyKind::chunked && (held_ != 0 || !head_only_)) {
    end.body = BodyKind::length;
    end.content_length = held_;
  }
  char* const out = c.ws_->out;
  char* at = out + held_begin_ - kHeldRoom;
  const HeadWritten written = write_head_end(at, end);
  at += written.size;
  const std::size_t head_size = static_cast<std::size_t>(at - (out + head_begin_));
  if (held_ != 0 && sends_body()) {
    const bool chunk = written.body == BodyKind::chunked;
    if (chunk) at += write_chunk_head(at, held_);
    std::memmove(at, out + held_begin_, held_);
    at += held_;
    if (chunk) {
      std::memcpy(at, kChunkEnd.data(), kChunkEnd.size());
      at += kChunkEnd.size();
    }
    body_bytes_ = held_;
  }
  const auto size = static_cast<std::uint32_t>(at - (out + head_begin_));
  // The answers before it left while it was held.
  if (c.out_size_ != head_begin_) std::memmove(out + c.out_size_, out + head_begin_, size);
  answer_at_ = c.sent_ + c.out_size_;
  body_at_ = answer_at_ + head_size;
  c.out_size_ += size;
  keep_alive_ = written.keep_alive;
  kind_ = written.body;
  status_ = end.status;
  return {};
}

/// Whether `size` more bytes of the body can wait with their head.
bool Exchange::holds(std::size_t size) noexcept {
  Connection& c = connection_;
  if (c.output_lost_) return false;
  const auto fits = [&] { return size <= c.ws_->out_capacity - held_begin_ - held_; };
  if (fits()) return true;
  if (head_begin_ == 0 || held_begin_ - head_begin_ + held_ + size > c.ws_->out_capacity) return false;
  // But for the answers before it, which leave.
  const std::size_t held = sends_body() ? held_ : 0;
  if (c.flush()) return false;
  std::memmove(c.ws_->out, c.ws_->out + head_begin_, held_begin_ - head_begin_ + held);
  held_begin_ -= head_begin_;
  head_begin_ = 0;
  return fits();
}

/// One that the output buffer has no room for: written elsewhere and sent behind what waits.
Result<HeadWritten> Exchange::write_large_head(const ResponseHead& head) {
  Connection& c = connection_;
  std::size_t room = kHeadRoom + head.server.size() + head.content_type.size();
  if (head.block != nullptr) room += head.block->text().size();
  for (const Field& field : head.fields) room += field.name.size() + field.value.size() + 4;
  std::string text(room, '\0');
  const Result<HeadWritten> written = write_head(text, head, c.server_.workspaces_.date());
  if (!written) return written;
  if (const std::error_code error = c.flush_with(std::string_view(text).substr(0, written->size))) return fail(error);
  return written;
}

Result<void> Exchange::respond(unsigned status, std::string_view content_type, std::string_view body,
                               std::span<const Field> fields) {
  ResponseHead head{.status = status, .content_length = body.size(), .content_type = content_type, .fields = fields};
  head.send_content_length = !body.empty();
  if (const Result<void> done = commit(head, RestOfBody::unread); !done) return done;
  ended_ = true;
  if (head_only_ || !status_has_body(status)) return {};
  body_bytes_ = body.size();
  Connection& c = connection_;
  if (body.size() <= kCopyBody) {
    char* const out = c.reserve_out(body.size());
    if (out == nullptr) {
      ended_ = false;
      return fail(std::errc::connection_reset);
    }
    if (!body.empty()) std::memcpy(out, body.data(), body.size());
    c.out_size_ += static_cast<std::uint32_t>(body.size());
    return {};
  }
  const std::error_code error = c.flush_with(body);
  ended_ = !error;
  return as_result(error);
}

Result<void> Exchange::respond_error(unsigned status, std::span<const Field> fields) {
  static constexpr std::size_t kMost = 8;
  (void)discard();
  std::array<Field, kMost + 1> all;
  if (fields.size() > kMost) return misuse("more fields than an error takes");
  const auto end = std::copy(fields.begin(), fields.end(), all.begin());
  for (const ErrorPage& page : connection_.server_.options_.error_pages)
    if (page.status == status) return respond(status, page.content_type, page.body, fields);
  // The form depends on Accept, and some errors may be cached.
  *end = {"Vary", "Accept"};
  const ErrorBody body(status, request_.headers);
  return respond(status, body.content_type(), body.text(), {all.data(), fields.size() + 1});
}

Result<void> Exchange::respond(const PreparedResponse& prepared) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  Connection& c = connection_;
  settle_keep_alive(RestOfBody::unread);
  const std::size_t size = prepared.size(request_.version, keep_alive_, !head_only_);
  std::string elsewhere;  // only with fields that are larger than the output buffer
  char* out = nullptr;
  if (size > c.ws_->out_capacity) {
    elsewhere.resize(size);
    out = elsewhere.data();
  } else if ((out = c.reserve_out(size)) == nullptr) {
    return fail(std::errc::connection_reset);
  }
  prepared.write(out, request_.version, keep_alive_, !head_only_, c.server_.workspaces_.date());
  answer_at_ = c.sent_ + c.out_size_;
  body_at_ = answer_at_ + size - (head_only_ ? 0 : prepared.body_size());
  if (elsewhere.empty()) {
    c.out_size_ += static_cast<std::uint32_t>(size);
  } else if (const std::error_code error = c.flush_with(elsewhere)) {
    return fail(error);
  }
  status_ = prepared.status();
  if (!head_only_) body_bytes_ = prepared.body_size();
  ended_ = true;
  return {};
}

Result<void> Exchange::write_file(int fd, std::uint64_t offset, std::uint64_t count) {
  if (!begun_ || ended_ || kind_ != BodyKind::length) return misuse("write_file needs begin with a length");
  if (!sends_body()) return {};
  if (count > left_) return misuse("more body than its Content-Length");
  Connection& c = connection_;
  if (!committed())
    if (const Result<void> done = commit_begun(false); !done) return done;
  // Not MSG_MORE: with the head in front of the file's pages in one packet a request cost 34 µs instead of 23.
  if (const std::error_code error = c.flush()) return fail(error);
  while (count != 0) {
    const std::int64_t begin = runtime::coarse_now();
    const Result<std::size_t> n = c.stream_.sendfile_some(fd, offset, count, c.write_limit());
    if (const std::error_code error = c.wrote(n, begin)) return fail(error);
    if (*n == 0) return fail(std::errc::io_error);  // the file shrank: the length was promised
    offset += *n;
    count -= *n;
    left_ -= *n;
    body_bytes_ += *n;
  }
  return {};
}

Result<void> Exchange::write(std::string_view data) {
  if (!begun_ || ended_) return misuse("write outside of begin and end");
  if (data.empty()) return {};
  if (kind_ == BodyKind::length && sends_body()) {
    if (data.size() > left_) return misuse("more body than its Content-Length");
    left_ -= data.size();
  }
  Connection& c = connection_;
  if (!committed()) {
    if (holds(data.size())) {
      // To HEAD, too, the head shall say what it says to GET.
      if (sends_body()) std::memcpy(c.ws_->out + held_begin_ + held_, data.data(), data.size());
      held_ += data.size();
      return {};
    }
    if (const Result<void> done = commit_begun(false); !done) return done;
  }
  if (!sends_body()) return {};
  body_bytes_ += data.size();
  const std::size_t framing = kind_ == BodyKind::chunked ? kChunkHeadMax + kChunkEnd.size() : 0;
  if (data.size() <= kCopyBody) {
    char* out = c.reserve_out(data.size() + framing);
    if (out == nullptr) return fail(std::errc::connection_reset);
    std::size_t size = 0;
    if (kind_ == BodyKind::chunked) size = write_chunk_head(out, data.size());
    std::memcpy(out + size, data.data(), data.size());
    size += data.size();
    if (kind_ == BodyKind::chunked) {
      std::memcpy(out + size, kChunkEnd.data(), kChunkEnd.size());
      size += kChunkEnd.size();
    }
    c.out_size_ += static_cast<std::uint32_t>(size);
    return {};
  }
  if (kind_ == BodyKind::chunked) {
    char* const out = c.reserve_out(kChunkHeadMax);
    if (out == nullptr) return fail(std::errc::connection_reset);
    c.out_size_ += static_cast<std::uint32_t>(write_chunk_head(out, data.size()));
  }
  if (const std::error_code error = c.flush_with(data)) return fail(error);
  if (kind_ != BodyKind::chunked) return {};
  char* const out = c.reserve_out(kChunkEnd.size());
  if (out == nullptr) return fail(std::errc::connection_reset);
  std::memcpy(out, kChunkEnd.data(), kChunkEnd.size());
  c.out_size_ += static_cast<std::uint32_t>(kChunkEnd.size());
  return {};
}

Result<void> Exchange::flush() {
  if (!begun_ && !ended_) return misuse("flush before begin");
  if (!committed())
    if (const Result<void> done = commit_begun(false); !done) return done;
  return as_result(connection_.flush());
}

Result<void> Exchange::end() {
  if (!begun_ || ended_) return misuse("end outside of begin");
  if (kind_ == BodyKind::length && left_ != 0) return misuse("less body than its Content-Length");
  if (!committed()) {
    if (const Result<void> done = commit_begun(true); !done) return done;
  } else if (kind_ == BodyKind::chunked && sends_body()) {
    Connection& c = connection_;
    char* const out = c.reserve_out(kLastChunk.size());
    if (out == nullptr) return fail(std::errc::connection_reset);
    std::memcpy(out, kLastChunk.data(), kLastChunk.size());
    c.out_size_ += static_cast<std::uint32_t>(kLastChunk.size());
  }
  ended_ = true;
  return {};
}

}  // namespace fiberd::http
