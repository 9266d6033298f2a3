#include "core/trace/local_trace.hpp"

#include <chrono>
#include <utility>

#include "core/base/clock.hpp"

namespace fiberd::trace {

std::int64_t unix_offset() noexcept {
  return std::chrono::nanoseconds(wall_now().time_since_epoch()).count() - monotonic_now();
}

LocalTrace::LocalTrace(std::shared_ptr<const Tracer> tracer, bool sampled, std::string tracestate) noexcept
    : tracer_(std::move(tracer)),
      tracestate_(std::move(tracestate)),
      offset_(unix_offset()),
      state_(sampled               ? State::kept
             : tracer_->may_keep() ? State::open
                                   : State::dropped) {}

LocalTrace::~LocalTrace() {
  // Of a request that was never settled: it was not accounted for.
  tracer_->queue().drop(held_);
}

bool LocalTrace::recording() const noexcept { return state_.load(std::memory_order_acquire) != State::dropped; }

void LocalTrace::add(std::string&& span) noexcept {
  SpanQueue& queue = tracer_->queue();
  const TracerMetrics& metrics = tracer_->metrics();
  SpanQueue::List one;
  // Made outside of the lock; what becomes of it is decided under it.
  if (!recording()) return;
  if (!queue.add(one, std::move(span))) {
    metric::count(metrics.no_room);
    return;
  }
  bool many = false;
  {
    const LockGuard guard(lock_);
    if (state_.load(std::memory_order_relaxed) == State::open) {
      many = held_.count >= tracer_->options().spans;
      if (!many) {
        one.first->next = held_.first;
        if (held_.first == nullptr) held_.last = one.first;
        held_.first = one.first;
        ++held_.count;
        return;
      }
    }
  }
  if (!many && recording()) return queue.push(one);
  if (many) metric::count(metrics.too_many);
  queue.drop(one);
}

void LocalTrace::settle(bool keep) noexcept {
  SpanQueue::List held;
  {
    const LockGuard guard(lock_);
    if (state_.load(std::memory_order_relaxed) != State::open) return;
    state_.store(keep ? State::kept : State::dropped, std::memory_order_release);
    held = std::exchange(held_, {});
  }
  if (keep)
    tracer_->queue().push(held);
  else
    tracer_->queue().drop(held);
}

}  // namespace fiberd::trace
