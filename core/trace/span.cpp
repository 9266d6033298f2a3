#include "core/trace/span.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/utf8.hpp"
#include "core/trace/local_trace.hpp"
#include "core/trace/source.hpp"
#include "core/trace/traceparent.hpp"

namespace fiberd::trace {

struct Span::Record {
  SpanId parent{};
  SpanKind kind{};
  SpanStatus status = SpanStatus::unset;
  bool first = false;    // of a trace that no request has begun
  bool refused = false;  // which was to be sampled, and is over the rate
  std::int64_t begin = 0;
  std::string name{};
  std::string message{};
  Attributes attributes{};
  Attributes events{};
};

SpanContext current(const context::Context& ctx) noexcept {
  const Current* const there = context::value(ctx, kCurrent);
  return there != nullptr ? there->span : SpanContext();
}

Span::Span() noexcept = default;
Span::~Span() { end(); }

Span::Span(const context::Context& ctx, std::string_view name, SpanKind kind) : context_(ctx) {
  const Current* const parent = context::value(ctx, kCurrent);
  if (parent == nullptr) {
    begin_trace(name, kind);
    return;
  }
  local_ = parent->local;
  ids_ = {parent->span.trace_id, make_span_id(), parent->span.sampled};
  if (local_->recording()) record(parent->span.span_id, name, kind);
}

void Span::record(SpanId parent, std::string_view name, SpanKind kind) {
  record_ = std::make_unique<Record>();
  record_->parent = parent;
  record_->kind = kind;
  record_->begin = monotonic_now();
  record_->name = name.substr(0, utf8_cut(name, kMostName));
}

/// Of what no request has begun; as RequestSpan does.
void Span::begin_trace(std::string_view name, SpanKind kind) {
  const auto* const source = context::value(context_, kSource);
  if (source == nullptr || *source == nullptr) return;
  std::shared_ptr<const Tracer> tracer = (*source)->tracer();
  if (tracer == nullptr) return;
  const Tracer& t = *tracer;
  const bool drawn = t.draw();
  const bool sampled = drawn && t.admit(monotonic_now());
  local_ = std::make_shared<LocalTrace>(std::move(tracer), sampled, std::string());
  ids_ = {t.make_id(drawn), make_span_id(), sampled};
  if (sampled) metric::count(t.metrics().by_ratio);
  if (!local_->recording()) {
    if (drawn) metric::count(t.metrics().over_rate);
    return;
  }
  record({}, name, kind);
  record_->first = true;
  record_->refused = drawn && !sampled;
}

/// Whether the trace is kept, of which this was the first span.
bool Span::settle_trace(const Record& record, std::int64_t now) noexcept {
  if (ids_.sampled) return true;
  const Tracer& t = local_->tracer();
  const bool failed = record.status == SpanStatus::error;
  const bool wanted = t.may_keep(failed ? 500 : 200, static_cast<std::uint64_t>(now - record.begin));
  const bool kept = wanted && t.admit(now);
  if (kept)
    metric::count(failed && t.options().errors ? t.metrics().by_error : t.metrics().by_slow);
  else if (wanted || record.refused)
    metric::count(t.metrics().over_rate);
  local_->settle(kept);
  ids_.sampled = kept;
  return kept;
}

Span::Span(Span&& o) noexcept
    : context_(std::move(o.context_)),
      local_(std::move(o.local_)),
      ids_(std::exchange(o.ids_, {})),
      record_(std::move(o.record_)),
      entered_(std::exchange(o.entered_, false)) {}

Span& Span::operator=(Span&& o) noexcept {
  if (this == &o) return *this;
  end();
  context_ = std::move(o.context_);
  local_ = std::move(o.local_);
  ids_ = std::exchange(o.ids_, {});
  record_ = std::move(o.record_);
  entered_ = std::exchange(o.entered_, false);
  return *this;
}

const context::Context& Span::context() {
  if (!entered_ && local_ != nullptr) {
    context_ = context::with_value(context_, kCurrent, Current{ids_, local_});
    entered_ = true;
  }
  return context_;
}

Span& Span::set(std::string_view key, const Value& value) {
  if (record_ != nullptr) record_->attributes.add(key, value);
  return *this;
}

Span& Span::event(std::string_view name, std::initializer_list<Attribute> attributes) {
  if (record_ != nullptr)
    record_->events.add_event(name, local_->unix_time(monotonic_now()), {attributes.begin(), attributes.size()});
  return *this;
}

Span& Span::fail(std::string_view what) {
  if (record_ == nullptr) return *this;
  record_->status = SpanStatus::error;
  record_->message = what.substr(0, utf8_cut(what, kMostValue));
  return *this;
}

Span& Span::ok() noexcept {
  if (record_ == nullptr) return *this;
  record_->status = SpanStatus::ok;
  record_->message.clear();
  return *this;
}

void Span::end() noexcept {
  const std::unique_ptr<Record> record = std::move(record_);
  if (record == nullptr || !local_->recording()) return;
  const std::int64_t now = std::max(monotonic_now(), record->begin);
  if (record->first && !settle_trace(*record, now)) return;
  const SpanFacts facts{.span = ids_,
                        .parent = record->parent,
                        .kind = record->kind,
                        .name = record->name,
                        .begin = local_->unix_time(record->begin),
                        .end = local_->unix_time(now),
                        .status = record->status,
                        .message = record->message,
                        .tracestate = local_->tracestate()};
  try {
    local_->add(write_span(facts, record->attributes, record->events));
  } catch (const std::bad_alloc&) {
    local_->lose();
  }
}

std::string Span::traceparent() const {
  if (!ids_.valid()) return {};
  const auto text = write_traceparent(ids_);
  return {text.data(), text.size()};
}

std::string_view Span::tracestate() const noexcept {
  return local_ != nullptr ? std::string_view(local_->tracestate()) : std::string_view();
}

}  // namespace fiberd::trace
