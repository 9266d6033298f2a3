#include "core/trace/request_span.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/trace/traceparent.hpp"

namespace fiberd::trace {

void RequestSpan::go_on(std::string_view traceparent) noexcept {
  const Tracer& t = *tracer();
  const std::optional<SpanContext> parent = parse_traceparent(traceparent);
  if (!parent) {
    metric::count(t.metrics().invalid);
    if (t.draw()) begin_drawn();
    return;
  }
  Made& m = made_.emplace();
  m.trace_id = parent->trace_id;
  m.parent = parent->span_id;
  m.span_id = make_span_id();
  if (t.options().parent ? parent->sampled : t.by_ratio(m.trace_id))
    sample(t.options().parent ? t.metrics().by_parent : t.metrics().by_ratio);
}

void RequestSpan::begin_drawn() noexcept {
  Made& m = made_.emplace();
  m.trace_id = tracer()->make_id(true);
  m.span_id = make_span_id();
  sample(tracer()->metrics().by_ratio);
}

void RequestSpan::sample(metric::Counter* why) noexcept {
  made_->sampled = tracer()->admit(begin_);
  made_->refused = !made_->sampled;
  if (made_->sampled) metric::count(why);
}

RequestSpan::Made& RequestSpan::made() noexcept {
  if (!made_) {
    made_.emplace();
    made_->trace_id = tracer()->make_id(false);
    made_->span_id = make_span_id();
  }
  return *made_;
}

SpanContext RequestSpan::ids() noexcept {
  const Made& m = made();
  return {m.trace_id, m.span_id, m.sampled};
}

SpanId RequestSpan::handler_id() noexcept {
  Made& m = made();
  if (!m.handler_id.valid()) m.handler_id = make_span_id();
  return m.handler_id;
}

std::int64_t RequestSpan::now() const noexcept {
  return std::max(is_sharp() ? monotonic_now() : runtime::coarse_now(), begin_);
}

void RequestSpan::handler_begins(bool waited) noexcept {
  if (tracer_ == nullptr) return;
  handler_begin_ = waited || is_sharp() ? now() : begin_;
}

void RequestSpan::handler_ends() noexcept {
  if (tracer_ == nullptr) return;
  handler_ended_ = true;
  if (is_sharp()) made_->handler_end = now();
}

Current RequestSpan::current(std::string tracestate) {
  Made& m = made();
  if (m.local == nullptr) m.local = std::make_shared<LocalTrace>(tracer(), m.sampled, std::move(tracestate));
  Current current{ids(), m.local};
  if (handler_begin_ != 0 && !handler_ended_) current.span.span_id = handler_id();
  return current;
}

bool RequestSpan::settle_made(unsigned status, std::uint64_t duration_ns) noexcept {
  const Tracer& t = *tracer();
  Made& m = made();
  if (!m.sampled) {
    const bool wanted = t.may_keep(status, duration_ns);
    m.sampled = wanted && t.admit(begin_ + static_cast<std::int64_t>(duration_ns));
    if (m.sampled)
      metric::count(t.options().errors && status >= 500 ? t.metrics().by_error : t.metrics().by_slow);
    else if (wanted || m.refused)
      metric::count(t.metrics().over_rate);  // once, at whichever end it was refused
    if (m.local != nullptr) m.local->settle(m.sampled);
    if (!m.sampled) return false;
  }
  if (t.queue().has_room()) return true;
  lose();
  return false;
}

void RequestSpan::record(const End& end, RequestRecord& attributes) noexcept {
  SpanQueue& queue = tracer()->queue();
  try {
    const Made& m = made();
    const std::int64_t offset = m.local != nullptr ? m.local->unix_time(0) : unix_offset();
    const bool handler = handler_begin_ != 0;
    const std::int64_t handler_end = m.handler_end != 0 ? m.handler_end : end.end;
    SpanQueue::List list;
    if (queue.add(list, attributes.finish({.span = {m.trace_id, m.span_id, true},
                                           .parent = m.parent,
                                           .handler = handler ? handler_id() : SpanId(),
                                           .begin = begin_ + offset,
                                           .end = end.end + offset,
                                           .handler_begin = handler_begin_ + offset,
                                           .handler_end = std::min(handler_end, end.end) + offset,
                                           .status = end.status},
                                          end.name, end.handler_name, end.tracestate)))
      return queue.push(list);
  } catch (const std::bad_alloc&) {  // counted below
  }
  lose();
}

}  // namespace fiberd::trace
