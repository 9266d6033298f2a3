#pragma once
// Span: a piece of work inside of a request, for the collector of traces.
//
//   Result<void> serve(http::Exchange& ex) override {
//     trace::Span span(ex.context(), "load user");
//     span.set("user.id", id);
//     auto user = load(span.context(), id);     // what it calls, and asks of others, stands below it
//     if (!user) span.fail(user.error().message());
//     …
//   }                                            // the span ends with its object
//
// Work that no request has begun has spans, too, where its context knows how traces begin (source.hpp): those that the
// daemon gives on_start and TCP handlers do. There the first span is a trace's: an error said by fail() keeps it as a
// request's 5xx does, and so does how long it took.
//
// A context of neither kind has no spans: then this does nothing, and context() is the one that was given. What is
// written down only for a trace that is kept, or may be yet (tracer.hpp), is not even looked at else; ask recording()
// before what is dear to find out.
//
// Not fiberd::runtime::trace, which is the flight recorder: what the scheduler did last, of all requests, in memory.
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "core/context/context.hpp"
#include "core/context/value.hpp"
#include "core/trace/ids.hpp"
#include "core/trace/span_text.hpp"

namespace fiberd::trace {

class LocalTrace;

/// What a context carries.
struct Current {
  SpanContext span{};
  std::shared_ptr<LocalTrace> local{};
};
inline constexpr context::Key<Current> kCurrent("trace");

/// The span in which `ctx` is; all zero: none.
[[nodiscard]] SpanContext current(const context::Context& ctx) noexcept;

/// Moved, not copied; used by one fiber at a time.
class Span {
 public:
  /// None.
  Span() noexcept;
  /// A child of the span in which `ctx` is, or the first of a trace; it begins now. Throws std::bad_alloc.
  explicit Span(const context::Context& ctx, std::string_view name, SpanKind kind = SpanKind::internal);
  Span(Span&& o) noexcept;
  Span& operator=(Span&& o) noexcept;
  ~Span();

  /// There is one, and its trace is kept or may be.
  [[nodiscard]] bool recording() const noexcept { return record_ != nullptr; }
  /// Its ids; all zero without one.
  [[nodiscard]] const SpanContext& ids() const noexcept { return ids_; }
  /// `ctx` with this span in it, for what belongs to it. Throws std::bad_alloc at the first call.
  [[nodiscard]] const context::Context& context();

  /// Texts are anybody's; they are cut at kMostValue. Throws std::bad_alloc.
  Span& set(std::string_view key, const Value& value);
  /// Something that happened just now. Throws std::bad_alloc.
  Span& event(std::string_view name, std::initializer_list<Attribute> attributes = {});
  /// It went wrong. `what` may be empty. Throws std::bad_alloc.
  Span& fail(std::string_view what);
  /// It went well, whatever was said before.
  Span& ok() noexcept;
  /// Now and not at its object's end. From then on nothing of it changes.
  void end() noexcept;

  // For clients of other protocols: what a request is to carry. Empty without a span.
  /// As W3C Trace Context's traceparent.
  [[nodiscard]] std::string traceparent() const;
  [[nodiscard]] std::string_view tracestate() const noexcept;

 private:
  struct Record;
  void begin_trace(std::string_view name, SpanKind kind);
  void record(SpanId parent, std::string_view name, SpanKind kind);
  [[nodiscard]] bool settle_trace(const Record& record, std::int64_t now) noexcept;
  context::Context context_;
  std::shared_ptr<LocalTrace> local_;
  SpanContext ids_{};
  std::unique_ptr<Record> record_;
  bool entered_ = false;  // context_ has this span in it

 public:
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
};

}  // namespace fiberd::trace
