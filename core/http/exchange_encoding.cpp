// Hooks on an answer's head, and the way of its body through an encoder that one of them has put there.
//
// The encoder lives on the stack of its filter. When that filter has returned, and the answer has not ended (its
// handler failed), there is nobody to finish the body: the connection ends, and the client sees that the body is cut.
#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/http/exchange.hpp"
#include "core/http/exchange_more.hpp"
#include "core/http/file_piece.hpp"
#include "core/runtime/recover.hpp"

namespace fiberd::http {

// What of an encoded body may become a Content-Length: as much as an output buffer holds beside a head.
static constexpr std::size_t kEncoded = std::size_t{14} * 1024;
static constexpr std::size_t kFilePiece = std::size_t{64} * 1024;

HeadHook::~HeadHook() {
  if (exchange_ == nullptr) return;
  for (HeadHook** at = &exchange_->hooks_; *at != nullptr; at = &(*at)->before_) {
    if (*at != this) continue;
    *at = before_;
    break;
  }
  if (exchange_->more_ == nullptr || exchange_->more_->encoders_hook != this) return;
  exchange_->more_->encoder = nullptr;
  exchange_->more_->encoders_hook = nullptr;
}

void Exchange::on_head(HeadHook& hook) noexcept {
  if (FIBERD_BUG_IF(hook.exchange_ != nullptr)) return;
  hook.exchange_ = this;
  hook.before_ = hooks_;
  hooks_ = &hook;
}

BodyEncoder* Exchange::tell_hooks(std::optional<std::uint64_t> length, bool complete) {
  AnswerHead head(begun_status_, lines_, length, complete, !sends_body());
  HeadHook* encoders = nullptr;
  // A hook changes the head and nothing else: to begin, go on with or drop the answer is refused until all are told.
  telling_ = ended_ = true;
  for (HeadHook* hook = hooks_; hook != nullptr; hook = hook->before_) {
    const BodyEncoder* const before = head.encoder_;
    try {
      hook->on_head(head);
    } catch (...) {
      const runtime::Recovered thrown(std::current_exception());
      log(LogLevel::error,
          "a filter's hook on the head of an answer threw: " + thrown.what() + "; thrown at:" + thrown.trace());
    }
    if (head.encoder_ != before) encoders = hook;
  }
  telling_ = ended_ = false;
  if (head.encoder_ == nullptr) return nullptr;
  More& m = more();
  m.encoder = head.encoder_;
  m.encoders_hook = encoders;
  m.encoded = std::make_unique_for_overwrite<char[]>(kEncoded);
  return head.encoder_;
}

/// Before the head: the error that comes instead is not for the hooks, which have said what holds for this body.
std::error_code Exchange::give_up_encoding(std::error_code error) noexcept {
  encoded_ = false;
  more_->encoder = nullptr;
  more_->encoders_hook = nullptr;
  while (hooks_ != nullptr) std::exchange(hooks_, hooks_->before_)->exchange_ = nullptr;
  return error;
}

/// `start` without its lines and with the length of the body as it was.
Result<void> Exchange::commit_encoded(AnswerStart& start, std::string_view data, bool complete, bool with_trailers) {
  encoded_ = true;
  More& m = *more_;
  start.lines = lines_.text();
  start.head.content_length.reset();
  std::string_view rest[2] = {{held_room_.data(), sends_body() ? held_ : 0}, data};
  std::size_t at = 0;  // of them
  std::size_t ready = 0;
  bool done = !sends_body();
  // As long as it fits, to know how long it is.
  for (bool full = !complete; !done && !full;) {
    const EncodeTo to = at == 1 ? EncodeTo::finish : EncodeTo::go_on;
    const Result<Encoded> step = m.encoder->encode(rest[at], std::span(m.encoded.get(), kEncoded).subspan(ready), to);
    if (!step) return fail(give_up_encoding(step.error()));
    rest[at].remove_prefix(step->consumed);
    ready += step->produced;
    // What makes no step may want more room than is left.
    full = ready == kEncoded || (!step->done && step->consumed == 0 && step->produced == 0);
    if (full && ready == 0) return fail(give_up_encoding(std::make_error_code(std::errc::io_error)));
    if (!step->done) continue;
    done = at == 1;
    at = 1;
  }
  if (complete && done && sends_body() && !with_trailers) start.head.content_length = ready;
  if (const Result<void> sent = stream_.send_head(start); !sent) return sent;
  note_committed(begun_status_);
  if (!sends_body()) return {};
  if (ready != 0)
    if (const Result<void> sent = stream_.send({m.encoded.get(), ready}); !sent) return sent;
  if (done) return {};
  // Whoever was told to finish is told nothing else any more.
  if (at == 0)
    if (const Result<void> sent = pump(rest[0], EncodeTo::go_on); !sent) return sent;
  return pump(rest[1], complete ? EncodeTo::finish : EncodeTo::go_on);
}

Result<void> Exchange::pump(std::string_view in, EncodeTo to) {
  More& m = *more_;
  for (;;) {
    if (m.encoder == nullptr) {
      stream_.end_connection();
      return fail(std::errc::operation_canceled);
    }
    const Result<Encoded> step = m.encoder->encode(in, {m.encoded.get(), kEncoded}, to);
    if (!step || (!step->done && step->consumed == 0 && step->produced == 0)) {
      stream_.end_connection();
      return fail(step ? make_error_code(std::errc::io_error) : step.error());
    }
    in.remove_prefix(step->consumed);
    if (step->produced != 0)
      if (const Result<void> sent = stream_.send({m.encoded.get(), step->produced}); !sent) return sent;
    if (step->done) return {};
  }
}

Result<void> Exchange::pump_file(int fd, std::uint64_t offset, std::uint64_t count) {
  const std::size_t size = std::min<std::uint64_t>(count, kFilePiece);
  const auto piece = std::make_unique_for_overwrite<char[]>(size);
  while (count != 0) {
    const std::size_t wanted = std::min<std::uint64_t>(count, size);
    const std::int64_t n = read_piece(fd, piece.get(), wanted, offset);
    if (n < 0) return fail_errno(static_cast<int>(n));
    if (n == 0) return fail(std::errc::io_error);
    if (const Result<void> sent = pump({piece.get(), static_cast<std::size_t>(n)}, EncodeTo::go_on); !sent) return sent;
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace fiberd::http
