// The answer of an H1Stream: its head, its body in whichever framing the head has announced, what comes before it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "core/base/clock.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h1/output_guard.hpp"
#include "core/http/h1/stream.hpp"
#include "core/http/h1/trailers.hpp"
#include "core/http/h1/tunnel.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

// More than any head of ours: status line, date, server, a dozen fields. Heads with more take the slow path
// (write_large_head).
static constexpr std::size_t kHeadRoom = 2048;
// Bodies up to here are copied behind their head, so that the answers to a pipeline leave in one send.
static constexpr std::size_t kCopyBody = 4096;

ServerStream::Room H1Stream::room() noexcept {
  const Workspace& ws = *connection_.ws_;
  return {{ws.held, Workspace::kHeldFields}, {ws.held + Workspace::kHeldFields, Workspace::kHeldBody}};
}

/// A server that stops, and a body that cannot be drained afterwards, end the connection; the answer says so.
inline void H1Stream::settle_keep_alive(RestOfBody rest) noexcept {
  if (connection_.server_.stopping_.load(std::memory_order_relaxed)) [[unlikely]]
    end_connection();
  if (!body_) return;
  // Another fiber may be reading: only of a body that nobody reads any more more is known than this.
  const bool waits = request_.expect_continue && !body_->continue_settled.load(std::memory_order_relaxed);
  if (rest == RestOfBody::unread ? leaves_too_much() : waits) end_connection();
}

void H1Stream::note_head() noexcept {
  committed_.store(true, std::memory_order_relaxed);
  if (site_.wants_log()) sent_.head_at = monotonic_now();
}

Result<void> H1Stream::send_head(const AnswerStart& start) {
  const OutputGuard guard(shared());
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  settle_keep_alive(start.rest);
  WireHead head;
  head.status = start.head.status;
  head.version = request_.version;
  head.keep_alive = keep_alive();
  if (start.head.content_length) {
    head.content_length = *start.head.content_length;
  } else if (status_has_body(head.status)) {
    head.body = BodyKind::chunked;
  } else {
    head.send_content_length = false;
  }
  head.server = start.server;
  head.content_type = start.head.content_type;
  head.fields = start.head.fields;
  head.block = start.head.block;
  head.lines = start.lines;
  char* const out = c.reserve_out(kHeadRoom);
  if (out == nullptr) return fail(std::errc::connection_reset);
  sent_.answer_at = ws.sent + ws.out_size;
  Result<HeadWritten> written = write_head({out, ws.out_capacity - ws.out_size}, head, site_.workspaces().date());
  if (written) {
    ws.out_size += static_cast<std::uint32_t>(written->size);
  } else if (written.error() == std::errc::no_buffer_space) {
    written = write_large_head(head);
  }
  if (!written) return fail(written.error());
  sent_.body_at = sent_.answer_at + written->size;
  note_head();
  if (!written->keep_alive) end_connection();
  kind_ = written->body;
  return {};
}

/// One that the output buffer has no room for: written elsewhere and sent behind what waits.
Result<HeadWritten> H1Stream::write_large_head(const WireHead& head) {
  std::size_t room = kHeadRoom + head.server.size() + head.content_type.size() + head.lines.size();
  if (head.block != nullptr) room += head.block->text().size();
  for (const Field& field : head.fields) room += field.name.size() + field.value.size() + 4;
  std::string text(room, '\0');
  const Result<HeadWritten> written = write_head(text, head, site_.workspaces().date());
  if (!written) return written;
  const std::string_view bytes = std::string_view(text).substr(0, written->size);
  if (const std::error_code error = connection_.flush_with(bytes)) return fail(error);
  return written;
}

Result<void> H1Stream::send_prepared(const PreparedResponse& prepared) {
  const OutputGuard guard(shared());
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  settle_keep_alive(RestOfBody::unread);
  const bool with_body = request_.method != Method::head;
  const std::size_t size = prepared.size(request_.version, keep_alive(), with_body);
  if (size > ws.out_capacity) [[unlikely]]
    return send_large(prepared, size);
  char* const out = c.reserve_out(size);
  if (out == nullptr) return fail(std::errc::connection_reset);
  prepared.write(out, request_.version, keep_alive(), with_body, site_.workspaces().date());
  const std::size_t body = with_body ? prepared.body_size() : 0;
  sent_.answer_at = ws.sent + ws.out_size;
  sent_.body_at = sent_.answer_at + size - body;
  sent_.body_bytes = body;
  note_head();
  ws.out_size += static_cast<std::uint32_t>(size);
  return {};
}

/// One whose fields are larger than the output buffer.
Result<void> H1Stream::send_large(const PreparedResponse& prepared, std::size_t size) {
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  const bool with_body = request_.method != Method::head;
  std::string text(size, '\0');
  prepared.write(text.data(), request_.version, keep_alive(), with_body, site_.workspaces().date());
  const std::size_t body = with_body ? prepared.body_size() : 0;
  sent_.answer_at = ws.sent + ws.out_size;
  sent_.body_at = sent_.answer_at + size - body;
  if (const std::error_code error = c.flush_with(text)) return fail(error);
  sent_.body_bytes = body;
  note_head();
  return {};
}

std::error_code H1Stream::append(std::string_view text) noexcept {
  Connection& c = connection_;
  char* const out = c.reserve_out(text.size());
  if (out == nullptr) return std::make_error_code(std::errc::connection_reset);
  if (!text.empty()) std::memcpy(out, text.data(), text.size());
  c.ws_->out_size += static_cast<std::uint32_t>(text.size());
  return {};
}

Result<void> H1Stream::send(std::string_view data) {
  const OutputGuard guard(shared());
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  if (ws.output_lost) return fail(std::errc::connection_reset);
  sent_.body_bytes += data.size();
  const bool chunk = kind_ == BodyKind::chunked;
  if (data.size() <= kCopyBody) {
    char* const begin = c.reserve_out(data.size() + (chunk ? kChunkHeadMax + kChunkEnd.size() : 0));
    if (begin == nullptr) return fail(std::errc::connection_reset);
    char* at = begin;
    if (chunk) at += write_chunk_head(at, data.size());
    std::memcpy(at, data.data(), data.size());
    at += data.size();
    if (chunk) at = std::copy(kChunkEnd.begin(), kChunkEnd.end(), at);
    ws.out_size += static_cast<std::uint32_t>(at - begin);
    return {};
  }
  if (!chunk) return as_result(c.flush_with(data));
  std::array<char, kChunkHeadMax> head;
  const std::size_t size = write_chunk_head(head.data(), data.size());
  if (const std::error_code error = append({head.data(), size})) return fail(error);
  if (const std::error_code error = c.flush_with(data)) return fail(error);
  return as_result(append(kChunkEnd));
}

Result<void> H1Stream::send_file(int fd, std::uint64_t offset, std::uint64_t count) {
  const OutputGuard guard(shared());
  Connection& c = connection_;
  // Not MSG_MORE: with the head in front of the file's pages in one packet a request cost 34 µs instead of 23.
  if (const std::error_code error = c.flush()) return fail(error);
  while (count != 0) {
    const std::int64_t begin = runtime::coarse_now();
    const Result<std::size_t> n = c.stream_->sendfile_some(fd, offset, count, c.write_limit());
    if (const std::error_code error = c.wrote(n, begin)) return fail(error);
    if (*n == 0) return fail(std::errc::io_error);  // the file shrank: the length was promised
    offset += *n;
    count -= *n;
    sent_.body_bytes += *n;
  }
  return {};
}

Result<void> H1Stream::end(std::span<const Field> trailers) {
  if (kind_ != BodyKind::chunked || request_.method == Method::head) [[likely]]
    return {};
  const OutputGuard guard(shared());
  if (trailers.empty()) return as_result(append(kLastChunk));
  std::string text = "0\r\n";
  for (const Field& field : trailers) text.append(field.name).append(": ").append(field.value).append("\r\n");
  text += "\r\n";
  if (text.size() <= connection_.ws_->out_capacity) return as_result(append(text));
  return as_result(connection_.flush_with(text));
}

Result<void> H1Stream::flush() {
  const OutputGuard guard(shared());
  return as_result(connection_.flush());
}

// ---------------------------------------------------------------------------------------------- before the answer

/// RFC 9110 section 7.8: a token, and perhaps a version.
static bool is_protocol(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  return is_token(text.substr(0, slash)) && (slash == std::string_view::npos || is_token(text.substr(slash + 1)));
}

static Result<std::string> interim(unsigned status, std::span<const Field> fields) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) + "\r\n";
  for (const Field& field : fields) {
    if (!is_writable(field)) return fail(std::errc::invalid_argument);
    text.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  return text;
}

Result<void> H1Stream::send_interim(unsigned status, std::span<const Field> fields) {
  if (request_.version == Version::http10) return {};
  Result<std::string> text = interim(status, fields);
  if (!text) return fail(text.error());
  *text += "\r\n";
  const OutputGuard guard(shared());
  return as_result(connection_.flush_with(*text));
}

Result<net::ByteStream*> H1Stream::upgrade(std::string_view protocol, std::span<const Field> fields) {
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  if (request_.version == Version::http10 || !request_.headers.has_token("connection", "upgrade") || !body_done() ||
      tunnel_ != nullptr)
    return fail(std::errc::operation_not_permitted);
  if (!is_protocol(protocol)) return fail(std::errc::invalid_argument);
  Result<std::string> text = interim(101, fields);
  if (!text) return fail(text.error());
  text->append("Upgrade: ").append(protocol).append("\r\nConnection: upgrade\r\n\r\n");
  auto tunnel = std::make_unique<Tunnel>(*c.stream_, std::string_view(ws.in + ws.begin, ws.end - ws.begin), ws.sent);
  sent_.answer_at = ws.sent + ws.out_size;
  sent_.body_at = sent_.answer_at + text->size();
  if (const std::error_code error = c.flush_with(*text)) return fail(error);
  ws.begin = ws.end;  // the tunnel's
  end_connection();
  note_head();
  tunnel_.reset(tunnel.release());
  return tunnel_.get();
}

}  // namespace fiberd::http
