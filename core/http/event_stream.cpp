#include "core/http/event_stream.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "core/base/utf8.hpp"
#include "core/context/waits.hpp"
#include "core/http/errc.hpp"

namespace fiberd::http {

namespace {

bool is_one_line(std::string_view text) {
  return text.find_first_of("\r\n") == std::string_view::npos && is_utf8(text);
}

bool is_writable_event(const Event& e) {
  return is_utf8(e.data) && is_one_line(e.event) &&
         (!e.id || (is_one_line(*e.id) && e.id->find('\0') == std::string_view::npos)) &&
         (!e.retry || e.retry->count() >= 0);
}

/// A field a line: however the text ends its lines, the reader puts LF between them.
void put_data(std::string& out, std::string_view data) {
  for (;;) {
    const std::size_t end = std::min(data.find_first_of("\r\n"), data.size());
    out.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == data.size()) return;
    data.remove_prefix(end + (data.substr(end).starts_with("\r\n") ? 2 : 1));
  }
}

void put_retry(std::string& out, std::chrono::milliseconds retry) {
  out.append("retry: ").append(std::to_string(retry.count())).append("\n");
}

}  // namespace

EventStream::EventStream(Exchange& exchange, const EventOptions& options)
    : exchange_(exchange),
      heartbeat_(options.heartbeat),
      context_(context::with_cancel(exchange.client_context())),
      stop_listening_(
          context::after_func(exchange.drain_context(), [cancel = context_.cancel] { cancel(errc::draining); })) {}

Result<std::unique_ptr<EventStream>> EventStream::begin(Exchange& exchange, const EventOptions& options) {
  // A cache would hand out what is over, and nginx would wait for a buffer full of it.
  static constexpr std::array<Field, 2> kFields{{{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  if (options.retry && options.retry->count() < 0) return fail(std::errc::invalid_argument);
  if (const Result<void> begun =
          exchange.begin({.status = 200, .content_type = "text/event-stream", .fields = kFields}, RestOfBody::unread);
      !begun)
    return fail(begun.error());
  if (exchange.request().method == Method::head) {
    if (const Result<void> ended = exchange.end(); !ended) return fail(ended.error());
    return nullptr;
  }
  std::unique_ptr<EventStream> stream(new EventStream(exchange, options));
  // The browser knows that it is connected when something has come.
  std::string first = ":\n\n";
  if (options.retry) {
    first.clear();
    put_retry(first, *options.retry);
    first += "\n";
  }
  if (const Result<void> sent = stream->put(first); !sent) return fail(sent.error());
  return stream;
}

Result<std::unique_ptr<EventStream>> Exchange::events() { return EventStream::begin(*this, {}); }
Result<std::unique_ptr<EventStream>> Exchange::events(const EventOptions& options) {
  return EventStream::begin(*this, options);
}

EventStream::~EventStream() {
  (void)stop_listening_();
  context_.cancel();
  if (exchange_.committed() && !exchange_.ended()) (void)exchange_.end();
}

Result<void> EventStream::put(std::string_view text) {
  if (const Result<void> written = exchange_.write(text); !written) return written;
  if (const Result<void> sent = exchange_.flush(); !sent) return sent;
  sent_at_ = monotonic_now();
  return {};
}

Result<void> EventStream::send(const Event& event) {
  if (!is_writable_event(event)) return fail(std::errc::invalid_argument);
  if (const Result<void> done = context::check(context_.context); !done) return done;
  std::string text;
  text.reserve(event.data.size() + event.event.size() + 64);
  if (event.id) text.append("id: ").append(*event.id).append("\n");
  if (event.retry) put_retry(text, *event.retry);
  if (!event.event.empty()) text.append("event: ").append(event.event).append("\n");
  put_data(text, event.data);
  return put(text += "\n");
}

Deadline EventStream::next_beat() const noexcept {
  return heartbeat_.count() == 0 ? Deadline::never() : Deadline::after(sent_at_, heartbeat_);
}

Result<void> EventStream::beat() { return put(":\n\n"); }

std::string_view EventStream::last_event_id() const noexcept {
  return exchange_.request().headers.find("last-event-id");
}

}  // namespace fiberd::http
