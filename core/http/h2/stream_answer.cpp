// The answer of an h2::Stream. Its head is laid out when it is committed, and told to nghttp2 when the answer ends, is
// flushed, or does not fit in: so a short one is HEADERS and DATA of one round, and takes the mutex once.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "core/http/field_lines.hpp"
#include "core/http/file_piece.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h2/stream.hpp"
#include "core/http/h2/tunnel.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {

// session_streams.cpp
nghttp2_data_provider body_of(Stream& stream) noexcept;

static constexpr std::size_t kCopyBody = 4096;
static constexpr std::size_t kPending = std::size_t{16} * 1024;
static constexpr unsigned kMostInterim = 8;

ServerStream::Room Stream::room() noexcept {
  if (room_ == nullptr) room_.reset(new (std::nothrow) char[kHeldFields + kHeldBody]);
  if (room_ == nullptr) return {};
  return {{room_.get(), kHeldFields}, {room_.get() + kHeldFields, kHeldBody}};
}

// ---------------------------------------------------------------------------------------------- the head

/// What belongs to a connection of HTTP/1 (RFC 9113 section 8.2.2), or is written from something else.
static bool is_left_out(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 6> kNames{"connection", "keep-alive",        "proxy-connection",
                                                          "upgrade",    "transfer-encoding", "content-length"};
  return std::any_of(kNames.begin(), kNames.end(), [name](std::string_view n) { return equals_lower(name, n); });
}

static nghttp2_nv nv(std::string_view name, std::string_view value) noexcept {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

void Stream::add_line(std::string_view name, std::string_view value) {
  const std::size_t before = lines_.size();
  lines_.resize(before + name.size() + value.size() + 4);
  char* to = lines_.data() + before;
  *to++ = '\r';
  *to++ = '\n';
  to = std::transform(name.begin(), name.end(), to, [](char c) { return ascii::to_lower(c); });
  *to++ = ':';
  *to++ = ' ';
  std::copy(value.begin(), value.end(), to);
}

/// Behind this no view of the handler's is needed.
void Stream::lay_out_head(const AnswerStart& start) {
  lines_.clear();
  status_ = start.head.status;
  if (!head_.protocol().empty() && !upgraded_ && status_ / 100 == 2) {
    // To an extended CONNECT it would say that the client's protocol is spoken from here on (RFC 8441 section 4); and
    // whoever answers so speaks HTTP.
    status_ = 501;
    no_body_ = true;
    add_line("date", site_->workspaces().date());
    add_line("content-length", "0");
    return;
  }
  std::string written;
  std::string_view lines = start.lines;
  if (lines.empty()) {
    std::size_t room = 64 + start.server.size() + start.head.content_type.size();
    if (start.head.block != nullptr) room += start.head.block->text().size();
    for (const Field& field : start.head.fields) room += field.name.size() + field.value.size() + 4;
    written.resize(room);
    const Result<std::size_t> size = write_fields(written, start.server, start.head);
    if (!size) throw std::system_error(size.error());
    lines = std::string_view(written).substr(0, *size);
  }
  lines_.reserve(lines.size() + 96);
  add_line("date", site_->workspaces().date());
  FieldLines all;
  all.reset({const_cast<char*>(lines.data()), lines.size()}, lines.size());
  all.each([&](const Field& field) {
    if (!is_left_out(field.name)) add_line(field.name, field.value);
  });
  if (start.head.content_length && status_ != 204) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *start.head.content_length).ptr;
    add_line("content-length", {digits.data(), static_cast<std::size_t>(end - digits.data())});
  }
  no_body_ = request_.method == Method::head || !status_has_body(status_) ||
             (start.head.content_length && *start.head.content_length == 0);
}

void Stream::submit_head() noexcept {
  std::array<char, 3> status{static_cast<char>('0' + status_ / 100), static_cast<char>('0' + status_ / 10 % 10),
                             static_cast<char>('0' + status_ % 10)};
  std::array<nghttp2_nv, 32> few;
  std::vector<nghttp2_nv> many;
  std::size_t n = 0;
  // Copied: it does not live as long as the frame.
  few[n++] = {reinterpret_cast<std::uint8_t*>(const_cast<char*>(":status")),
              reinterpret_cast<std::uint8_t*>(status.data()), 7, 3, NGHTTP2_NV_FLAG_NO_COPY_NAME};
  FieldLines all;
  all.reset({lines_.data(), lines_.size()}, lines_.size());
  int error = 0;
  try {
    all.each([&](const Field& field) {
      if (n < few.size()) {
        few[n++] = nv(field.name, field.value);
        return;
      }
      if (many.empty()) many.assign(few.begin(), few.end());
      many.push_back(nv(field.name, field.value));
    });
    const nghttp2_nv* const nvs = many.empty() ? few.data() : many.data();
    const std::size_t count = many.empty() ? n : many.size();
    const nghttp2_data_provider body = body_of(*this);
    const bool ends = no_body_ && eof_ && trailer_nvs_.empty();
    error = nghttp2_submit_response(session_.ng_, id_, nvs, count, ends ? nullptr : &body);
  } catch (const std::bad_alloc&) {
    error = NGHTTP2_ERR_NOMEM;
  }
  submitted_ = true;
  if (error != 0) reset_stream(Code::internal_error);
}

void Stream::submit() noexcept {
  if (!open_) return;
  if (!submitted_) {
    submit_head();
  } else if (deferred_ && (waiting_bytes() != 0 || eof_)) {
    deferred_ = false;
    (void)nghttp2_session_resume_data(session_.ng_, id_);
  }
  session_.schedule_write();
}

Result<void> Stream::send_head(const AnswerStart& start) {
  try {
    lay_out_head(start);
  } catch (const std::system_error& e) {
    return fail(e.code());
  }
  const Held held(session_.mutex_);
  if (is_gone()) return fail(gone_error());
  committed_ = true;
  if (site_->wants_log()) head_at_ = monotonic_now();
  return {};
}

Result<void> Stream::send_prepared(const PreparedResponse& prepared) {
  AnswerStart start;
  start.head.status = prepared.status();
  const std::string_view body = prepared.body();
  if (prepared.status() != 304 || !body.empty()) start.head.content_length = body.size();
  start.lines = prepared.fields();
  lay_out_head(start);
  Held held(session_.mutex_);
  if (is_gone()) return fail(gone_error());
  committed_ = true;
  if (site_->wants_log()) head_at_ = monotonic_now();
  if (!no_body_) {
    direct_ = body;  // lives as long as the site
    sent_body_ = body.size();
  }
  eof_ = true;
  submit();
  return {};
}

// ---------------------------------------------------------------------------------------------- its body

/// `size` bytes of what waits lie in the connection's output.
void Stream::take_out(std::size_t size) noexcept {
  moved_ += size;
  writes_.note(size, 0);
  const std::size_t first = std::min(size, pending_.size() - pending_at_);
  pending_at_ += first;
  if (pending_at_ == pending_.size()) {
    pending_.clear();
    pending_at_ = 0;
  }
  direct_.remove_prefix(size - first);
  if (waiting_bytes() == 0 && !eof_) wake_writer();
}

/// Until all that waits lies in the connection's output, or, at the end, has left.
Result<void> Stream::wait_for_output(Held& held, bool for_end) noexcept {
  while (for_end ? !sent_ : waiting_bytes() != 0) {
    if (session_.lost_ || (closed_ && end_at_ == 0)) return fail(gone_error());
    const SiteOptions& o = site_->options();
    const std::int64_t grace = o.timeouts.grace.count();
    const std::int64_t begin = runtime::coarse_now();
    const std::uint64_t before = moved_;
    const Deadline until = Deadline::after(begin, o.timeouts.write).earlier(writes_.limit(begin, o.write_rate, grace));
    const runtime::Wake wake = wait(held, writer_, runtime::WaitReason::io_write, until);
    writes_.note(0, runtime::coarse_now() - begin);
    if (wake != runtime::Wake::timeout) continue;
    const bool slow = writes_.spent(o.write_rate, grace);
    if (moved_ != before && !slow) continue;
    // What lies in the connection's output is its writer's to give up.
    if (end_at_ != 0 || session_.out_size_ != 0) {
      if (!slow) continue;
    }
    metric::count(slow ? session_.server_.metrics_.write_rate : session_.server_.metrics_.write_timeouts);
    direct_ = {};
    reset_stream(Code::cancel);
    return fail(std::errc::timed_out);
  }
  return {};
}

Result<void> Stream::send(std::string_view data) {
  Held held(session_.mutex_);
  if (is_gone()) return fail(gone_error());
  if (no_body_) return {};
  sent_body_ += data.size();
  if (data.size() <= kCopyBody && pending_.size() + data.size() <= kPending) {
    pending_ += data;
    return {};
  }
  direct_ = data;
  submit();
  Result<void> done = wait_for_output(held, false);
  direct_ = {};
  return done;
}

Result<void> Stream::send_file(int fd, std::uint64_t offset, std::uint64_t count) {
  static constexpr std::uint64_t kPiece = std::uint64_t{64} * 1024;
  const auto size = static_cast<std::size_t>(std::min(count, kPiece));
  const auto piece = std::make_unique_for_overwrite<char[]>(size);
  while (count != 0) {
    const std::size_t wanted = std::min<std::uint64_t>(count, size);
    const std::int64_t n = read_piece(fd, piece.get(), wanted, offset);
    if (n < 0) return fail_errno(static_cast<int>(n));
    if (n == 0) return fail(std::errc::io_error);
    if (const Result<void> sent = send({piece.get(), static_cast<std::size_t>(n)}); !sent) return sent;
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> Stream::end(std::span<const Field> trailers) {
  if (!trailers.empty() && !no_body_) {
    for (const Field& field : trailers) {
      for (const char c : field.name) trailer_text_ += ascii::to_lower(c);
      trailer_text_ += field.value;
    }
    trailer_nvs_.reserve(trailers.size());
    std::string_view text = trailer_text_;
    for (const Field& field : trailers) {
      trailer_nvs_.push_back(nv(text.substr(0, field.name.size()), text.substr(field.name.size(), field.value.size())));
      text.remove_prefix(field.name.size() + field.value.size());
    }
  }
  const Held held(session_.mutex_);
  if (is_gone()) return fail(gone_error());
  eof_ = true;
  submit();
  return {};
}

Result<void> Stream::flush() {
  const Held held(session_.mutex_);
  if (is_gone()) return fail(gone_error());
  submit();
  return {};
}

// ---------------------------------------------------------------------------------------------- before the answer

void Stream::send_continue() noexcept {
  const nghttp2_nv status = nv(":status", "100");
  (void)nghttp2_submit_headers(session_.ng_, NGHTTP2_FLAG_NONE, id_, nullptr, &status, 1, nullptr);
  session_.schedule_write();
}

/// A head of it, or one before it, lies in the connection's output.
void Stream::note_head_sent(std::uint64_t bytes) noexcept {
  sent_head_ += bytes;
  if (interim_ == 0) return;
  --interim_;
  wake_writer();
}

Result<void> Stream::send_interim(unsigned status, std::span<const Field> fields) {
  std::string text;
  for (const Field& field : fields) {
    if (!is_writable(field)) return fail(std::errc::invalid_argument);
    for (const char c : field.name) text += ascii::to_lower(c);
  }
  const std::string code = std::to_string(status);
  std::vector<nghttp2_nv> nvs;
  nvs.push_back(nv(":status", code));
  std::string_view names = text;
  for (const Field& field : fields) {
    const std::string_view name = names.substr(0, field.name.size());
    names.remove_prefix(field.name.size());
    if (!is_left_out(name)) nvs.push_back(nv(name, field.value));
  }
  for (nghttp2_nv& field : nvs) field.flags = NGHTTP2_NV_FLAG_NONE;  // copied
  Held held(session_.mutex_);
  // No window bounds them: whoever goes on with them waits until those before have left. When to give that up is the
  // writer's to know.
  while (interim_ >= kMostInterim && !is_gone()) (void)wait(held, writer_, runtime::WaitReason::io_write, {});
  if (is_gone()) return fail(gone_error());
  if (nghttp2_submit_headers(session_.ng_, NGHTTP2_FLAG_NONE, id_, nullptr, nvs.data(), nvs.size(), nullptr) != 0)
    return fail(std::errc::not_enough_memory);
  ++interim_;
  session_.schedule_write();
  return {};
}

}  // namespace fiberd::http::h2
