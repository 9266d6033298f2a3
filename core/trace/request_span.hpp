#pragma once
// RequestSpan: the span of a request that is being served, and of its handler: where a trace begins in this process, or
// goes on. On the stack of whoever serves; it allocates nothing, and makes its ids only when somebody wants to see
// them, so that a request of which nothing is kept costs a few dozen instructions (docs/benchmarks.md).
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/trace/ids.hpp"
#include "core/trace/local_trace.hpp"
#include "core/trace/span.hpp"
#include "core/trace/span_text.hpp"
#include "core/trace/tracer.hpp"

namespace fiberd::trace {

/// Used by the fiber that serves the request.
class RequestSpan {
 public:
  /// `tracer` outlives it. `traceparent`: what the caller says; empty: nothing. `begin`: monotonic ns.
  RequestSpan(const std::shared_ptr<const Tracer>& tracer, std::string_view traceparent, std::int64_t begin) noexcept;
  RequestSpan(const RequestSpan&) = delete;
  RequestSpan& operator=(const RequestSpan&) = delete;

  /// Once it is settled, `sampled` says whether it was kept.
  [[nodiscard]] SpanContext ids() noexcept;
  /// The caller said which trace it belongs to.
  [[nodiscard]] bool has_parent() const noexcept { return parent_.valid(); }
  /// What contexts of the request carry: below the handler's span once that has begun. `tracestate`: the caller's; of
  /// the first call. Throws std::bad_alloc.
  [[nodiscard]] Current current(std::string tracestate);
  /// Whether a context of it carries something already: then current() needs no tracestate.
  [[nodiscard]] bool has_current() const noexcept { return local_ != nullptr; }

  // Of what is kept for sure, and where there may be spans below, the handler's times are sharp. Else it begins as this
  // turn of the fiber did, with the request where nothing came between (`waited`), and ends with the request: the clock
  // costs as much as all the rest.
  void handler_begins(bool waited) noexcept {
    in_handler_ = true;
    handler_begin_ = waited || is_sharp() ? now() : begin_;
  }
  void handler_ends() noexcept {
    in_handler_ = false;
    if (is_sharp()) [[unlikely]]
      handler_end_ = now();
  }

  /// The request is over. True: it is kept, and record() is to be told what it was.
  [[nodiscard]] bool settle(unsigned status, std::uint64_t duration_ns) noexcept {
    const TracerOptions& o = tracer_->options();
    const bool failed = o.errors && status >= 500;
    const bool slow = o.slow.count() != 0 && duration_ns >= static_cast<std::uint64_t>(o.slow.count());
    if (sampled_ || failed || slow) [[unlikely]]
      return settle_kept(failed, begin_ + static_cast<std::int64_t>(duration_ns));
    if (local_ != nullptr) [[unlikely]]
      local_->settle(false);
    return false;
  }
  struct End {
    std::string_view name;          ///< of the request's span
    std::string_view handler_name;  ///< of the handler's
    const Attributes& attributes;
    SpanStatus status;
    std::int64_t end;  ///< monotonic ns
    std::string_view tracestate;
  };
  void record(const End& end) noexcept;
  /// Instead, where there was no memory to tell.
  void lose() const noexcept {
    if (metric::Counter* const lost = tracer_->metrics().no_room) lost->add(handler_begin_ != 0 ? 2 : 1);
  }

 private:
  [[nodiscard]] bool settle_kept(bool failed, std::int64_t end) noexcept;
  [[nodiscard]] bool is_sharp() const noexcept { return sampled_ || local_ != nullptr; }
  [[nodiscard]] std::int64_t now() const noexcept;
  [[nodiscard]] SpanId handler_id() noexcept;

  const std::shared_ptr<const Tracer>& tracer_;
  TraceId trace_id_{};
  SpanId span_id_{};  // made when it is asked for, as the upper half of the trace's
  SpanId parent_{};   // of another process
  SpanId handler_id_{};
  bool sampled_ = false;
  std::int64_t begin_;
  std::int64_t handler_begin_ = 0;  // 0: there was none
  std::int64_t handler_end_ = 0;    // 0: with the request
  bool in_handler_ = false;
  std::shared_ptr<LocalTrace> local_;
};

}  // namespace fiberd::trace
