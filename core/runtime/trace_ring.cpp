#include "core/runtime/trace_ring.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "core/base/clock.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/tracer.hpp"

namespace fiberd::runtime {

// ---------------------------------------------------------------------------------------------- the writer

static std::uint32_t running_fiber(std::uint64_t last_word) noexcept {
  // At a switch the last event knows it better than the machine, which is told of it behind the event.
  const auto kind = static_cast<TraceKind>(last_word & 0xffU);
  if (kind == TraceKind::stop || kind == TraceKind::place) return 0;
  if (kind == TraceKind::run) return static_cast<std::uint32_t>(last_word >> 8U) & 0xffffffU;
  const Machine* const m = Machine::current_machine();
  return m != nullptr && m->current != nullptr ? m->current->index : 0;
}

[[gnu::noinline, gnu::cold]] void TraceWriter::full(std::uint64_t last_word) noexcept {
  TraceEvent* const cursor = cursor_.load(std::memory_order_relaxed);
  if (ring_ != nullptr) {
    ring_->turn(running_fiber(last_word));
    return;
  }
  if (forwards_ != nullptr) forwards_->take(scrap_.data(), static_cast<std::size_t>(cursor - scrap_.data()));
  use_scrap();
}

[[gnu::noinline, gnu::cold]] void TraceWriter::record(std::uint64_t word, const char* text, std::size_t size) noexcept {
  size = std::min(size, kMostText);
  const std::size_t slots = 1 + (1 + size + 15) / 16;
  TraceEvent* e = cursor_.load(std::memory_order_relaxed);
  if (ring_ == nullptr) {
    e = scrap_.data();
  } else if (e + slots > end_) {
    const Machine* const m = Machine::current_machine();
    ring_->turn(m != nullptr && m->current != nullptr ? m->current->index : 0);
    e = cursor_.load(std::memory_order_relaxed);
  }
  std::array<std::uint64_t, 32> words{};
  auto* const bytes = reinterpret_cast<char*>(words.data());
  bytes[0] = static_cast<char>(size);
  std::memcpy(bytes + 1, text, size);
  const TraceTime t = trace_now();
  e->low.store(t.low, std::memory_order_release);
  e->high.store(t.high, std::memory_order_release);
  e->word.store(word, std::memory_order_release);
  for (std::size_t i = 1; i < slots; ++i) {
    e[i].low.store(static_cast<std::uint32_t>(words[2 * i - 2]), std::memory_order_release);
    e[i].high.store(static_cast<std::uint32_t>(words[2 * i - 2] >> 32U), std::memory_order_release);
    e[i].word.store(words[2 * i - 1], std::memory_order_release);
  }
  cursor_.store(e + slots, std::memory_order_release);
  if (e + slots >= end_) full(word);
}

// ---------------------------------------------------------------------------------------------- the ring

TraceRing* TraceRing::make(std::size_t bytes, std::int64_t min_age) noexcept {
  const std::size_t most = std::max<std::size_t>(bytes / TraceChunk::kBytes, 2);
  void* const at = mmap(nullptr, most * TraceChunk::kBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  // Zero pages are chunks without a number.
  auto* const ring =
      new (std::nothrow) TraceRing(static_cast<TraceChunk*>(at), static_cast<std::uint32_t>(most), min_age);
  if (ring == nullptr) munmap(at, most * TraceChunk::kBytes);
  return ring;
}

TraceRing::~TraceRing() { munmap(chunks_, std::size_t{most_} * TraceChunk::kBytes); }

void TraceRing::attach(TraceWriter& writer) noexcept {
  writer_ = &writer;
  writer.ring_ = this;
  begin(0, 0, monotonic_now());
  grown_.store(1, std::memory_order_release);
}

void TraceRing::begin(std::uint32_t i, std::uint32_t fiber, std::int64_t now) noexcept {
  TraceChunk& c = chunks_[i];
  c.number.store(0, std::memory_order_release);
  c.before.store(written_.load(std::memory_order_relaxed), std::memory_order_release);
  c.began.store(now, std::memory_order_release);
  c.fiber.store(fiber, std::memory_order_release);
  c.used.store(0, std::memory_order_release);
  writer_->end_ = c.events.data() + TraceChunk::kEvents - 1;
  writer_->cursor_.store(c.events.data(), std::memory_order_release);
  const std::uint64_t number = newest_.load(std::memory_order_relaxed) + 1;
  c.number.store(number, std::memory_order_release);
  newest_.store(number, std::memory_order_release);
  present_ = i;
}

void TraceRing::turn(std::uint32_t fiber) noexcept {
  TraceChunk& present = chunks_[present_];
  const TraceEvent* const cursor = writer_->cursor_.load(std::memory_order_relaxed);
  const auto used = static_cast<std::uint32_t>(cursor - present.events.data());
  present.used.store(used, std::memory_order_release);
  written_.store(written_.load(std::memory_order_relaxed) + used, std::memory_order_relaxed);
  const std::int64_t now = monotonic_now();
  const std::uint32_t grown = grown_.load(std::memory_order_relaxed);
  // The oldest one is next. Its youngest event is as old as the beginning of the one behind it.
  const TraceChunk& oldest = chunks_[present.next];
  const bool alone = present.next == present_;
  const bool young = alone || now - chunks_[oldest.next].began.load(std::memory_order_relaxed) < min_age_;
  if (young && grown < most_) {
    chunks_[grown].next = present.next;
    present.next = grown;
    begin(grown, fiber, now);
    grown_.store(grown + 1, std::memory_order_release);
    return;
  }
  if (young)
    lost_.store(lost_.load(std::memory_order_relaxed) + oldest.used.load(std::memory_order_relaxed),
                std::memory_order_relaxed);
  begin(present.next, fiber, now);
}

}  // namespace fiberd::runtime
