#include "core/runtime/tracer.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

Tracer::Moment Tracer::moment() noexcept {
  // The clock is read between two looks at the counter; of a few tries the one with the least between counts, for a
  // thread may be robbed of its CPU there.
  Moment best;
  std::uint64_t least = UINT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = trace_now().ticks();
    const std::int64_t ns = monotonic_now();
    const std::uint64_t behind = trace_now().ticks();
    if (behind - before >= least) continue;
    least = behind - before;
    best = {before + least / 2, ns};
  }
  return best;
}

Tracer::Tracer(const TraceOptions& options) noexcept : options_(options), began_(moment()) {
  if (!on()) return;
  shared_.reset(TraceRing::make(options_.buffer, options_.min_age));
  const LockGuard guard(shared_lock_);
  if (shared_ != nullptr) shared_->attach(shared_writer_);
}

Tracer::~Tracer() = default;

void Tracer::attach(TraceWriter& writer) noexcept {
  if (!on()) return;
  std::unique_ptr<TraceRing> ring(TraceRing::make(options_.buffer, options_.min_age));
  const LockGuard guard(lock_);
  try {
    rings_.reserve(rings_.size() + 1);
  } catch (const std::bad_alloc&) {
    ring.reset();
  }
  if (ring == nullptr) {
    log(LogLevel::warning, "trace: no memory for a Processor's ring: what it does is not recorded");
    return;
  }
  ring->attach(writer);
  rings_.push_back(std::move(ring));
}

void Tracer::forward(TraceWriter& writer) noexcept {
  if (shared_ == nullptr) return;
  writer.forwards_ = this;
  writer.use_scrap();
}

void Tracer::put(TraceWriter& writer, std::uint32_t place) noexcept {
  if (writer.ring_ == nullptr) return;
  writer.ring_->set_place(place);
  writer.record(trace_word(TraceKind::place, 0, place));
}

/// Whose the next events are, and room for them behind it: never in the next chunk.
void Tracer::take(const TraceEvent* events, std::size_t n) noexcept {
  const Machine* const m = Machine::current_machine();
  const std::uint32_t fiber = m != nullptr && m->current != nullptr ? m->current->index : 0;
  const auto thread = static_cast<std::uint32_t>(m != nullptr ? m->tid.load(std::memory_order_relaxed)
                                                              : static_cast<pid_t>(::gettid()));
  const LockGuard guard(shared_lock_);
  static constexpr std::uint64_t kNobody = trace_word(TraceKind::stop, 0, 0);  // runs on a ring of all threads
  TraceWriter& w = shared_writer_;
  if (w.cursor_.load(std::memory_order_relaxed) + n + 1 > w.end_) w.full(kNobody);
  TraceEvent* e = w.cursor_.load(std::memory_order_relaxed);
  e->low.store(events->low.load(std::memory_order_relaxed), std::memory_order_release);
  e->high.store(events->high.load(std::memory_order_relaxed), std::memory_order_release);
  e->word.store(trace_word(TraceKind::owner, fiber, thread), std::memory_order_release);
  ++e;
  for (std::size_t i = 0; i < n; ++i, ++e) {
    e->low.store(events[i].low.load(std::memory_order_relaxed), std::memory_order_release);
    e->high.store(events[i].high.load(std::memory_order_relaxed), std::memory_order_release);
    e->word.store(events[i].word.load(std::memory_order_relaxed), std::memory_order_release);
  }
  w.cursor_.store(e, std::memory_order_release);
  if (e >= w.end_) w.full(kNobody);
}

void Tracer::record_outside(std::uint64_t word) noexcept {
  if (shared_ == nullptr) return;
  const TraceTime t = trace_now();
  TraceEvent event;
  event.low.store(t.low, std::memory_order_relaxed);
  event.high.store(t.high, std::memory_order_relaxed);
  event.word.store(word, std::memory_order_relaxed);
  take(&event, 1);
}

void Tracer::record_outside(std::uint64_t word, const void* first, const void* second) noexcept {
  if (shared_ == nullptr) return;
  const TraceTime t = trace_now();
  std::array<TraceEvent, 2> events;
  events[0].low.store(t.low, std::memory_order_relaxed);
  events[0].high.store(t.high, std::memory_order_relaxed);
  events[0].word.store(word, std::memory_order_relaxed);
  const auto a = reinterpret_cast<std::uintptr_t>(first);
  events[1].low.store(static_cast<std::uint32_t>(a), std::memory_order_relaxed);
  events[1].high.store(static_cast<std::uint32_t>(a >> 32U), std::memory_order_relaxed);
  events[1].word.store(reinterpret_cast<std::uintptr_t>(second), std::memory_order_relaxed);
  take(events.data(), events.size());
}

std::vector<const TraceRing*> Tracer::rings() const {
  std::vector<const TraceRing*> all;
  const LockGuard guard(lock_);
  all.reserve(rings_.size());
  for (const auto& ring : rings_) all.push_back(ring.get());
  return all;
}

TraceStats Tracer::stats() const noexcept {
  TraceStats out;
  const auto add = [&out](const TraceRing& ring) {
    out.events += ring.written();
    out.lost += ring.lost();
    out.bytes += std::uint64_t{ring.chunks()} * TraceChunk::kBytes;
  };
  if (shared_ != nullptr) add(*shared_);
  const LockGuard guard(lock_);
  for (const auto& ring : rings_) add(*ring);
  return out;
}

}  // namespace fiberd::runtime
