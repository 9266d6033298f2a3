#pragma once
// RequestSpan: the span of a request that is being served, and of its handler: where a trace begins in this process, or
// goes on. On the stack of whoever serves. Of a request of which nothing is kept, and whose ids nobody wants to see,
// there is no more of it than when it began: some twenty instructions (docs/benchmarks.md).
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/trace/ids.hpp"
#include "core/trace/local_trace.hpp"
#include "core/trace/request_record.hpp"
#include "core/trace/span.hpp"
#include "core/trace/span_text.hpp"
#include "core/trace/tracer.hpp"

namespace fiberd::trace {

/// What there is of a RequestSpan once it is sampled, has a parent, or somebody wants to see something of it.
struct RequestSpanParts {
  TraceId trace_id{};
  SpanId span_id{};
  SpanId parent{};  ///< of another process
  SpanId handler_id{};
  std::int64_t handler_end = 0;  ///< 0: with the request
  bool sampled = false;
  bool refused = false;  ///< it was to be sampled, and is over the rate
  std::shared_ptr<LocalTrace> local{};
};

/// Used by the fiber that serves the request.
class RequestSpan {
 public:
  /// None: nothing is traced.
  RequestSpan() noexcept {}  // the rest is set by begin()
  RequestSpan(const std::shared_ptr<const Tracer>& tracer, std::string_view traceparent, std::int64_t begin) noexcept {
    this->begin(tracer, traceparent, begin);
  }
  /// Once. `tracer` outlives it. `traceparent`: what the caller says; empty: nothing. `begin`: monotonic ns. The
  /// handler is taken to begin now, too.
  void begin(const std::shared_ptr<const Tracer>& tracer, std::string_view traceparent, std::int64_t begin) noexcept {
    tracer_ = &tracer;
    begin_ = handler_begin_ = begin;
    handler_ended_ = false;
    if (!traceparent.empty()) [[unlikely]]
      go_on(traceparent);
    else if (tracer->draw()) [[unlikely]]
      begin_drawn();
  }
  RequestSpan(const RequestSpan&) = delete;
  RequestSpan& operator=(const RequestSpan&) = delete;

  /// Once it is settled, `sampled` says whether it was kept.
  [[nodiscard]] SpanContext ids() noexcept;
  /// The caller said which trace it belongs to.
  [[nodiscard]] bool has_parent() const noexcept { return made_ && made_->parent.valid(); }
  /// What contexts of the request carry: below the handler's span once that has begun. `tracestate`: the caller's; of
  /// the first call. Throws std::bad_alloc.
  [[nodiscard]] Current current(std::string tracestate);
  /// Whether a context of it carries something already: then current() needs no tracestate.
  [[nodiscard]] bool has_current() const noexcept { return made_ && made_->local != nullptr; }

  /// There is more of it than that it began: only then handler_begins() and handler_ends() have something to say of a
  /// handler before which nothing comes.
  [[nodiscard]] bool exists() const noexcept { return made_.has_value(); }
  /// Filters come first, or there is no handler.
  void no_handler_yet() noexcept { handler_begin_ = 0; }
  // Of what is kept for sure, and where there may be spans below, the handler's times are sharp. Else it begins as this
  // turn of the fiber did, with the request where nothing came between (`waited`), and ends with the request: the clock
  // costs as much as all the rest.
  void handler_begins(bool waited) noexcept;
  void handler_ends() noexcept;

  /// The request is over. True: it is kept, and record() is to be told what it was.
  [[nodiscard]] bool settle(unsigned status, std::uint64_t duration_ns) noexcept {
    if (made_ || tracer()->may_keep(status, duration_ns)) [[unlikely]]
      return settle_made(status, duration_ns);
    return false;
  }
  struct End {
    std::string_view name;          ///< of the request's span
    std::string_view handler_name;  ///< of the handler's
    SpanStatus status;
    std::int64_t end;  ///< monotonic ns
    std::string_view tracestate;
  };
  /// `attributes`: of the request's span.
  void record(const End& end, RequestRecord& attributes) noexcept;
  /// Instead, where there was no memory to tell.
  void lose() const noexcept {
    if (metric::Counter* const lost = tracer()->metrics().no_room) lost->add(handler_begin_ != 0 ? 2 : 1);
  }

 private:
  using Made = RequestSpanParts;
  void go_on(std::string_view traceparent) noexcept;
  void begin_drawn() noexcept;
  void sample(metric::Counter* why) noexcept;
  Made& made() noexcept;
  [[nodiscard]] const std::shared_ptr<const Tracer>& tracer() const noexcept { return *tracer_; }
  [[nodiscard]] bool settle_made(unsigned status, std::uint64_t duration_ns) noexcept;
  [[nodiscard]] bool is_sharp() const noexcept { return made_ && (made_->sampled || made_->local != nullptr); }
  [[nodiscard]] std::int64_t now() const noexcept;
  [[nodiscard]] SpanId handler_id() noexcept;

  // Not read before begin() has set them, but for the last one and, by handler_begins(), the first one.
  const std::shared_ptr<const Tracer>* tracer_ = nullptr;
  std::int64_t begin_;
  std::int64_t handler_begin_;  // 0: there was none
  bool handler_ended_;
  std::optional<Made> made_;
};

}  // namespace fiberd::trace
