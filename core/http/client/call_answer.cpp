// ClientCall from the answer's first byte to its last.
#include <algorithm>
#include <cstring>
#include <string>

#include "core/context/errc.hpp"
#include "core/http/client/call.hpp"
#include "core/http/client/errc.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/errc.hpp"

namespace fiberd::http::client_detail {

/// Whether the answer's head has come while the request is still being sent. Never waits: an interim answer, or half
/// of a head, is no reason to stop sending, for the rest may come only when the body has.
Result<bool> ClientCall::has_answered() {
  if (end_ != capacity_) {
    const Result<std::size_t> n =
        lease_.stream().try_read(std::as_writable_bytes(std::span(in_.get() + end_, capacity_ - end_)));
    if (n) {
      end_ += *n;
      received_ += *n;
    }
  }
  while (end_ != 0) {
    const Result<Parsed> parsed = parse();
    if (!parsed) return fail(parsed.error());
    if (*parsed == Parsed::need_more) break;
    if (*parsed != Parsed::answer) continue;
    if (const Result<void> begun = begin_body(); !begun) return fail(begun.error());
    return true;
  }
  return false;
}

/// What the bytes that are there say. Interim answers are taken out of the buffer.
Result<ClientCall::Parsed> ClientCall::parse() noexcept {
  switch (guard_.advance(in_.get(), end_)) {
    case Verdict::need_more: return Parsed::need_more;
    case Verdict::refused: return fail(guard_.error());
    case Verdict::complete: break;
  }
  const unsigned status = guard_.head().status;
  if (status >= 200) return Parsed::answer;
  if (++interim_ > options_.interim) return fail(client_errc::too_many_interim);
  const std::size_t size = guard_.consumed();
  std::memmove(in_.get(), in_.get() + size, end_ - size);
  end_ -= size;
  guard_.reset();
  return status == 100 ? Parsed::proceed : Parsed::interim;
}

/// The answer's head; with `may_proceed` also the word that the body may come. A time-out is no error.
Result<ClientCall::Awaited> ClientCall::await(const context::Context& ctx, Deadline until, bool may_proceed) {
  for (;;) {
    while (end_ != 0) {
      const Result<Parsed> parsed = parse();
      if (!parsed) return fail(parsed.error());
      if (*parsed == Parsed::need_more) break;
      if (*parsed == Parsed::proceed && may_proceed) return Awaited::proceed;
      if (*parsed != Parsed::answer) continue;
      if (const Result<void> begun = begin_body(); !begun) return fail(begun.error());
      return Awaited::answer;
    }
    Result<std::size_t> n = read_some(ctx, end_, until);
    // Of a connection that was idle: many servers end those without a word.
    if (!n && n.error() == tls::errc::truncated) n = std::size_t{0};
    if (!n) return is_own_timeout(n.error()) ? Result<Awaited>(Awaited::timeout) : fail(n.error());
    if (*n == 0) return fail(received_ == 0 ? client_errc::closed_before_answer : client_errc::truncated_head);
    end_ += *n;
    received_ += *n;
  }
}

Result<void> ClientCall::receive_head(const context::Context& ctx) {
  const Result<Awaited> got = await(ctx, Deadline::in(options_.timeouts.head), false);
  if (!got) return fail(got.error());
  if (*got == Awaited::timeout) return fail(client_errc::head_timeout);
  return {};
}

/// The answer's head is complete: where its body ends, and whether the connection goes on (RFC 9112 sections 6.3, 9.3).
Result<void> ClientCall::begin_body() {
  const ResponseGuard::Head& head = guard_.head();
  pos_ = room_ = guard_.consumed();
  const bool none = to_head_ || !status_has_body(head.status);
  until_close_ = !none && !head.chunked && !head.has_content_length;
  const bool goes_on = head.version == Version::http11 || head.connection_keep_alive;
  keep_ = sent_all_ && goes_on && !head.connection_close && !close_ && !until_close_;
  const Framing framing = none || until_close_ ? Framing::none : head.chunked ? Framing::chunked : Framing::length;
  if (!decoder_.start(framing, head.content_length, {.body_size = options_.body_size}))
    return fail(refused_answer(decoder_.reason()));
  answered_ = true;
  if (span_.recording()) [[unlikely]] {
    span_.set("http.response.status_code", head.status);
    if (head.status >= 400) span_.set("error.type", std::to_string(head.status)).fail({});
  }
  if (!until_close_ && decoder_.done()) finish_body();
  return {};
}

std::optional<std::uint64_t> ClientCall::content_length() const noexcept {
  if (!guard_.head().has_content_length) return {};
  return guard_.head().content_length;
}

/// The body was read to its end.
void ClientCall::finish_body() noexcept {
  done_ = true;
  end_span();
  if (keep_ && pos_ == end_) {
    lease_.keep();
  } else {
    lease_.drop();
  }
}

Result<std::string_view> ClientCall::read_body(const context::Context& ctx) {
  if (error_) return fail(error_);
  if (done_) return std::string_view();
  Result<std::string_view> piece = next_piece(ctx);
  if (piece) return piece;
  return fail(give_up(piece.error()));
}

std::error_code ClientCall::give_up(std::error_code error) noexcept {
  done_ = true;
  lease_.drop();
  return error_ = failed(error);
}

Result<std::string_view> ClientCall::next_piece(const context::Context& ctx) {
  for (;;) {
    if (until_close_ && pos_ != end_) {
      const std::string_view piece(in_.get() + pos_, end_ - pos_);
      pos_ = end_;
      body_received_ += piece.size();
      if (body_received_ > options_.body_size) return fail(client_errc::body_too_large);
      return piece;
    }
    while (pos_ != end_) {
      const BodyDecoder::Step step = decoder_.decode(in_.get() + pos_, end_ - pos_);
      pos_ += step.consumed;
      if (step.status == BodyDecoder::Status::refused) return fail(refused_answer(decoder_.reason()));
      if (decoder_.done()) finish_body();
      if (step.status == BodyDecoder::Status::data) return step.data;
      if (done_) return std::string_view();
    }
    const Result<std::size_t> n = read_some(ctx, room_, Deadline::in(options_.timeouts.body));
    // A body that ends where the connection does is whole only if the server has said so.
    if (!n && n.error() == tls::errc::truncated) return fail(client_errc::truncated_body);
    if (!n) return fail(is_own_timeout(n.error()) ? make_error_code(client_errc::body_timeout) : n.error());
    pos_ = room_;
    end_ = room_ + *n;
    received_ += *n;
    if (*n != 0) continue;
    if (!until_close_) return fail(client_errc::truncated_body);
    done_ = true;
    end_span();
    lease_.drop();
    return std::string_view();
  }
}

void ClientCall::abandon() noexcept {
  while (!done_ && lease_ && keep_ && pos_ != end_) {
    const BodyDecoder::Step step = decoder_.decode(in_.get() + pos_, end_ - pos_);
    pos_ += step.consumed;
    if (decoder_.done()) finish_body();
    if (step.status == BodyDecoder::Status::refused) break;
  }
  lease_.drop();
  end_span();
}

}  // namespace fiberd::http::client_detail
