#pragma once
// The flight recorder's rings: what each Processor did last, written at every turn and read by whoever asks later.
//
// A ring has one writer at a time, its Processor's machine, and costs it a dozen instructions an event: the clock,
// three stores, one comparison. No read-modify-write, no lock, no branch on whether anybody reads. It is made of chunks
// of 16 KiB; the rare work (which chunk is next, whether to grow, who ran at its beginning) is done once a chunk, in
// full(). What decides: a chunk is written again when its youngest event is older than `min_age`; while it is younger
// the ring grows, up to its bound; at the bound it is overwritten all the same and counted as lost.
//
// Readers copy and never stop the writer. A chunk has a number, which grows from chunk to chunk; the writer takes it
// away (0) before it writes the first event over an old one and gives the new one when the header stands. Who finds the
// same number before and behind a copy has events of that chunk alone. Words are stored with release and loaded with
// acquire, which on x86-64 are plain moves, instead of with fences (which TSan does not understand): who reads a word
// of the new chunk reads its new number too.
//
// Without a ring (trace.buffer: 0, simulations) events go into a scrap of memory that is used again and again: the same
// few stores, and no branch for it. Threads without a Processor, and fibers whose Processor is a stand-in (blocking
// sections), write to a ring of all such threads under a lock, each event behind one that says whose it is.
//
// An event is 16 bytes: the clock, and a word of kind (8 bits), fiber (24) and argument (32), or of kind and a pointer
// (56) to text that lives for ever. Which fiber did something is not said at each: it is the one that the Processor
// ran, which the reader knows from the last switch, and from the chunk's header where that is in no chunk any more.
//
// Rejected: a ring of bytes with variable records (a reader cannot begin in the middle of it); one ring for all under
// an atomic index (a contended line at every switch); an event of 24 bytes with a fiber's number in each (half as much
// history for what the reader knows anyway).
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/base/cache_line.hpp"
#if !defined(__x86_64__)
#include "core/base/clock.hpp"
#endif

namespace fiberd::runtime {

enum class TraceKind : std::uint8_t {
  none,
  owner,          ///< of the events behind it in the ring of all threads: fiber; argument: the thread
  place,          ///< argument: the Processor's place from now on
  spawn,          ///< fiber; argument: low bits of its id. Then a slot: spawn site, name
  run,            ///< fiber; argument: how the one before it left (TraceLeave)
  stop,           ///< no fiber runs; argument: how the one before left
  ready,          ///< fiber; argument: Wake
  sleep,          ///< the Processor has nothing to do
  poll,           ///< argument: events that the Poller had
  timer,          ///< a timer's callback
  steal,          ///< argument: how many fibers
  handoff,        ///< argument: the place whose Processor was replaced
  retake,         ///< argument: the place whose Processor was taken from a blocking section
  section_begin,  ///< a call that blocks the thread
  section_end,
  request_begin,  ///< pointer: the route's name
  request_end,    ///< argument: status
  region_begin,   ///< pointer: its name
  region_end,     ///< pointer: its name
  log,            ///< pointer: category. Then slots of text: the first byte is its length
  count_
};

/// How a fiber left its Processor: After in the low byte, WaitReason in the next.
struct TraceLeave {
  std::uint32_t value = 0;
};

[[nodiscard]] constexpr std::uint64_t trace_word(TraceKind kind, std::uint32_t fiber, std::uint32_t argument) noexcept {
  return static_cast<std::uint64_t>(kind) | (std::uint64_t{fiber} << 8U) | (std::uint64_t{argument} << 32U);
}
[[nodiscard]] inline std::uint64_t trace_word(TraceKind kind, const char* text) noexcept {
  return static_cast<std::uint64_t>(kind) | (reinterpret_cast<std::uintptr_t>(text) << 8U);
}

struct TraceEvent {
  std::atomic<std::uint32_t> low{0};  ///< the clock's halves, as the CPU tells them
  std::atomic<std::uint32_t> high{0};
  std::atomic<std::uint64_t> word{0};
};
static_assert(sizeof(TraceEvent) == 16);

struct TraceTime {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  [[nodiscard]] std::uint64_t ticks() const noexcept { return (std::uint64_t{high} << 32U) | low; }
};

/// Ticks of the time-stamp counter, elsewhere monotonic ns.
[[gnu::always_inline]] inline TraceTime trace_now() noexcept {
  TraceTime t;
#if defined(__x86_64__)
  asm volatile("rdtsc" : "=a"(t.low), "=d"(t.high));
#else
  const auto ns = static_cast<std::uint64_t>(monotonic_now());
  t.low = static_cast<std::uint32_t>(ns);
  t.high = static_cast<std::uint32_t>(ns >> 32U);
#endif
  return t;
}

struct alignas(kCacheLine) TraceChunk {
  static constexpr std::size_t kBytes = std::size_t{16} * 1024;
  static constexpr std::size_t kEvents = kBytes / sizeof(TraceEvent) - 3;

  std::atomic<std::uint64_t> number{0};  ///< from 1; 0: it is being written over
  std::atomic<std::uint64_t> before{0};  ///< slots of the ring before this chunk's first
  std::atomic<std::int64_t> began{0};    ///< monotonic ns
  std::atomic<std::uint32_t> fiber{0};   ///< that ran when it began
  std::atomic<std::uint32_t> used{0};    ///< slots, once another chunk is written
  std::uint32_t next = 0;                ///< in the order of writing; the writer's
  std::uint32_t place = 0;               ///< of the Processor when it began
  std::uint64_t unused = 0;
  std::array<TraceEvent, kEvents> events;
};
static_assert(sizeof(TraceChunk) == TraceChunk::kBytes);

class TraceRing;
class Tracer;

/// The writer's end of a ring. Its members are the owner's alone, but for the cursor, which readers look at.
class TraceWriter {
 public:
  TraceWriter() noexcept { use_scrap(); }
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  [[gnu::always_inline]] void record(std::uint64_t word) noexcept {
    TraceEvent* const e = cursor_.load(std::memory_order_relaxed);
    const TraceTime t = trace_now();
    e->low.store(t.low, std::memory_order_release);
    e->high.store(t.high, std::memory_order_release);
    e->word.store(word, std::memory_order_release);
    cursor_.store(e + 1, std::memory_order_release);
    if (e + 1 >= end_) [[unlikely]]
      full(word);
  }
  /// An event and a slot behind it: there is always room for two.
  [[gnu::always_inline]] void record(std::uint64_t word, const void* first, const void* second) noexcept {
    TraceEvent* const e = cursor_.load(std::memory_order_relaxed);
    const TraceTime t = trace_now();
    const auto a = reinterpret_cast<std::uintptr_t>(first);
    e->low.store(t.low, std::memory_order_release);
    e->high.store(t.high, std::memory_order_release);
    e->word.store(word, std::memory_order_release);
    e[1].low.store(static_cast<std::uint32_t>(a), std::memory_order_release);
    e[1].high.store(static_cast<std::uint32_t>(a >> 32U), std::memory_order_release);
    e[1].word.store(reinterpret_cast<std::uintptr_t>(second), std::memory_order_release);
    cursor_.store(e + 2, std::memory_order_release);
    if (e + 2 >= end_) [[unlikely]]
      full(word);
  }
  /// An event with `size` bytes behind it, kMostText at most.
  static constexpr std::size_t kMostText = 255;
  void record(std::uint64_t word, const char* text, std::size_t size) noexcept;

 private:
  friend class TraceRing;
  friend class Tracer;
  void full(std::uint64_t last_word) noexcept;
  void use_scrap() noexcept {
    cursor_.store(scrap_.data(), std::memory_order_relaxed);
    // One event at a time where somebody is to have it, else as many as fit.
    end_ = scrap_.data() + (forwards_ != nullptr ? 1 : kScrap - 1);
  }

  static constexpr std::size_t kScrap = 20;  // an event with the longest text, and one more
  std::atomic<TraceEvent*> cursor_{nullptr};
  TraceEvent* end_ = nullptr;   // one slot before the chunk's end
  TraceRing* ring_ = nullptr;   // nullptr: the scrap
  Tracer* forwards_ = nullptr;  // who takes what is in the scrap; nullptr: nobody
  std::array<TraceEvent, kScrap> scrap_;
};

/// The memory of one ring. Never freed while its Tracer lives.
class TraceRing {
 public:
  /// Address space for `bytes`, in whole chunks; memory comes with use. nullptr: there is none.
  [[nodiscard]] static TraceRing* make(std::size_t bytes, std::int64_t min_age) noexcept;
  ~TraceRing();
  TraceRing(const TraceRing&) = delete;
  TraceRing& operator=(const TraceRing&) = delete;

  /// `writer` writes here from now on. Once.
  void attach(TraceWriter& writer) noexcept;
  void set_place(std::uint32_t place) noexcept { place_.store(place, std::memory_order_relaxed); }

  [[nodiscard]] const TraceWriter& writer() const noexcept { return *writer_; }
  [[nodiscard]] std::uint32_t chunks() const noexcept { return grown_.load(std::memory_order_acquire); }
  [[nodiscard]] const TraceChunk& chunk(std::uint32_t i) const noexcept { return chunks_[i]; }
  [[nodiscard]] std::uint64_t newest() const noexcept { return newest_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint32_t place() const noexcept { return place_.load(std::memory_order_relaxed); }
  [[nodiscard]] const TraceEvent* cursor() const noexcept { return writer_->cursor_.load(std::memory_order_acquire); }
  /// Slots so far, as of the newest chunk's beginning; and those written over before they were min_age old.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  friend class TraceWriter;
  TraceRing(TraceChunk* chunks, std::uint32_t most, std::int64_t min_age) noexcept
      : chunks_(chunks), most_(most), min_age_(min_age) {}
  /// The writer goes on in another chunk. `fiber` runs now.
  void turn(std::uint32_t fiber) noexcept;
  void begin(std::uint32_t i, std::uint32_t fiber, std::int64_t now) noexcept;

  TraceChunk* const chunks_;
  const std::uint32_t most_;
  const std::int64_t min_age_;
  TraceWriter* writer_ = nullptr;
  std::uint32_t present_ = 0;
  std::atomic<std::uint32_t> grown_{0};
  std::atomic<std::uint64_t> newest_{0};
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint32_t> place_{0};
};

}  // namespace fiberd::runtime
