#pragma once
// LocalTrace: the spans that one request leaves in this process, beside its own, and what is to become of them. Made
// when somebody asks for the request's context; lives as long as anybody has that or a span below it.
//
//   open ──settle(true)──▶ kept      spans that end go to the queue at once; those that were held, too
//     └────settle(false)─▶ dropped   and what ends now is forgotten
//
// One that is sampled from the beginning is kept from the beginning. So a fiber that outlives its request, with a
// context that was cut loose of it, still has its spans where the request's are.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/base/lock.hpp"
#include "core/trace/ids.hpp"
#include "core/trace/span_queue.hpp"
#include "core/trace/tracer.hpp"

namespace fiberd::trace {

/// Any thread.
class LocalTrace {
 public:
  /// `tracestate`: the caller's, to be passed on.
  LocalTrace(std::shared_ptr<const Tracer> tracer, bool sampled, std::string tracestate) noexcept;
  ~LocalTrace();
  LocalTrace(const LocalTrace&) = delete;
  LocalTrace& operator=(const LocalTrace&) = delete;

  /// Whether a span that ends now may be kept: else nothing of it need be written down.
  [[nodiscard]] bool recording() const noexcept;
  [[nodiscard]] const Tracer& tracer() const noexcept { return *tracer_; }
  [[nodiscard]] const std::string& tracestate() const noexcept { return tracestate_; }
  /// Unix ns of a monotonic time: by one offset for all of the trace, so that what is inside stays inside.
  [[nodiscard]] std::int64_t unix_time(std::int64_t monotonic) const noexcept { return monotonic + offset_; }
  /// A span has ended: write_span()'s text.
  void add(std::string&& span) noexcept;
  /// One has ended for which there was no memory.
  void lose() noexcept { metric::count(tracer_->metrics().no_room); }
  void settle(bool keep) noexcept;

 private:
  enum class State : std::uint8_t { open, kept, dropped };
  const std::shared_ptr<const Tracer> tracer_;
  const std::string tracestate_;
  const std::int64_t offset_;
  std::atomic<State> state_;
  Lock lock_;
  SpanQueue::List held_ FIBERD_GUARDED_BY(lock_);  // while it is open
};

/// Unix ns - monotonic ns, as the clocks are now.
[[nodiscard]] std::int64_t unix_offset() noexcept;

}  // namespace fiberd::trace
