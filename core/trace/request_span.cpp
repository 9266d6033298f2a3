#include "core/trace/request_span.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/trace/traceparent.hpp"

namespace fiberd::trace {

RequestSpan::RequestSpan(const std::shared_ptr<const Tracer>& tracer, std::string_view traceparent,
                         std::int64_t begin) noexcept
    : tracer_(tracer), begin_(begin) {
  const Tracer& t = *tracer;
  if (!traceparent.empty()) [[unlikely]] {
    if (const std::optional<SpanContext> parent = parse_traceparent(traceparent)) {
      trace_id_ = parent->trace_id;
      parent_ = parent->span_id;
      const bool wanted = t.options().parent ? parent->sampled : t.by_ratio(trace_id_);
      sampled_ = wanted && t.admit(begin);
      if (sampled_) metric::count(t.options().parent ? t.metrics().by_parent : t.metrics().by_ratio);
      return;
    }
    metric::count(t.metrics().invalid);
  }
  trace_id_.low = runtime::random();
  if (t.by_ratio(trace_id_) && t.admit(begin)) [[unlikely]] {
    sampled_ = true;
    metric::count(t.metrics().by_ratio);
  }
}

SpanContext RequestSpan::ids() noexcept {
  if (!span_id_.valid()) {
    if (!parent_.valid()) trace_id_.high = std::max<std::uint64_t>(runtime::random(), 1);
    span_id_ = make_span_id();
  }
  return {trace_id_, span_id_, sampled_};
}

SpanId RequestSpan::handler_id() noexcept {
  if (!handler_id_.valid()) handler_id_ = make_span_id();
  return handler_id_;
}

std::int64_t RequestSpan::now() const noexcept {
  return std::max(is_sharp() ? monotonic_now() : runtime::coarse_now(), begin_);
}

Current RequestSpan::current(std::string tracestate) {
  if (local_ == nullptr) local_ = std::make_shared<LocalTrace>(tracer_, sampled_, std::move(tracestate));
  Current made{ids(), local_};
  if (in_handler_) made.span.span_id = handler_id();
  return made;
}

bool RequestSpan::settle_kept(bool failed, std::int64_t end) noexcept {
  const Tracer& t = *tracer_;
  if (!sampled_) {
    if (t.admit(end)) {
      sampled_ = true;
      metric::count(failed ? t.metrics().by_error : t.metrics().by_slow);
    }
    if (local_ != nullptr) local_->settle(sampled_);
    if (!sampled_) return false;
  }
  if (t.queue().has_room()) return true;
  lose();
  return false;
}

void RequestSpan::record(const End& end) noexcept {
  const Tracer& t = *tracer_;
  SpanQueue& queue = t.queue();
  const auto put = [&](const SpanFacts& facts, const Attributes& attributes) {
    SpanQueue::List list;
    if (queue.add(list, write_span(facts, attributes)))
      queue.push(list);
    else
      metric::count(t.metrics().no_room);
  };
  try {
    const std::int64_t offset = local_ != nullptr ? local_->unix_time(0) : unix_offset();
    if (handler_begin_ != 0)
      put({.span = {ids().trace_id, handler_id(), true},
           .parent = ids().span_id,
           .name = end.handler_name,
           .begin = handler_begin_ + offset,
           .end = std::min(handler_end_ != 0 ? handler_end_ : end.end, end.end) + offset,
           .tracestate = end.tracestate},
          {});
    put({.span = ids(),
         .parent = parent_,
         .parent_is_remote = parent_.valid(),
         .kind = SpanKind::server,
         .name = end.name,
         .begin = begin_ + offset,
         .end = end.end + offset,
         .status = end.status,
         .tracestate = end.tracestate},
        end.attributes);
  } catch (const std::bad_alloc&) {
    metric::count(t.metrics().no_room);
  }
}

}  // namespace fiberd::trace
