#include "core/trace/span.hpp"

#include <utility>

#include "core/base/clock.hpp"
#include "core/base/utf8.hpp"
#include "core/trace/local_trace.hpp"
#include "core/trace/traceparent.hpp"

namespace fiberd::trace {

struct Span::Record {
  SpanId parent{};
  SpanKind kind{};
  SpanStatus status = SpanStatus::unset;
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
  if (parent == nullptr) return;
  local_ = parent->local;
  ids_ = {parent->span.trace_id, make_span_id(), parent->span.sampled};
  if (!local_->recording()) return;
  record_ = std::make_unique<Record>();
  record_->parent = parent->span.span_id;
  record_->kind = kind;
  record_->begin = monotonic_now();
  record_->name = name.substr(0, utf8_cut(name, kMostName));
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
  const SpanFacts facts{.span = ids_,
                        .parent = record->parent,
                        .kind = record->kind,
                        .name = record->name,
                        .begin = local_->unix_time(record->begin),
                        .end = local_->unix_time(monotonic_now()),
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
