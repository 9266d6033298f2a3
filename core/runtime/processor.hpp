#pragma once
// Processor (P) and Slot. A Slot is one of the GOMAXPROCS places: it keeps what must survive when its Processor is
// replaced (Poller, timers, the queue of pinned fibers). A Processor is what one machine works with at a time.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/base/cache_line.hpp"
#include "core/base/lock.hpp"
#include "core/base/random.hpp"
#include "core/fiber/stack_pool.hpp"
#include "core/runtime/fiber.hpp"
#include "core/runtime/mem_stats.hpp"
#include "core/runtime/pin_word.hpp"
#include "core/runtime/poller.hpp"
#include "core/runtime/run_queue.hpp"
#include "core/runtime/runnext.hpp"
#include "core/runtime/section_word.hpp"
#include "core/runtime/stall_watch.hpp"
#include "core/runtime/trace_ring.hpp"

namespace fiberd::runtime {

/// A counter with one writer: no read-modify-write instruction.
class OwnedCounter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }
  /// Its writer: what is in it, and 0 from then on.
  std::uint64_t take() noexcept {
    const std::uint64_t n = get();
    value_.store(0, std::memory_order_relaxed);
    return n;
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Slot;
class Machine;

/// Every so many turns the global queue goes first.
inline constexpr std::uint32_t kFairTick = 61;
/// So many fairness periods: a ring that is never short of fibers changes half of them with the global queue.
inline constexpr std::uint32_t kRotateEvery = 4;

/// Of the fibers of one place in the source (site_table.hpp), those that were born and those that ended here.
struct SiteCounts {
  OwnedCounter spawned, ended;
};

/// One in so many times that a fiber becomes runnable is sampled. A prime: fibers that take turns in a rhythm are all
/// met.
inline constexpr std::uint32_t kSampleEvery = 251;

struct ProcessorStats {
  OwnedCounter created, ended, panicked, refused, switches, steals, budget_yields;
  std::array<OwnedCounter, static_cast<std::size_t>(WaitReason::count_)> parks;
  std::array<OwnedCounter, kLatencyBounds.size()> latency;
  OwnedCounter latency_sum;
};

class alignas(kCacheLine) Processor {
 public:
  enum class Phase : std::uint8_t { free, scheduling, running, sleeping };

  explicit Processor(std::uint64_t seed) noexcept : random(seed) {}

  // Written by the owner at every switch, read by sysmon.
  std::atomic<std::uint64_t> tick{0};
  std::atomic<Phase> phase{Phase::free};
  PinWord pin;  ///< whether the running fiber may be handed off
  /// Replaced, or its place is gone: its machine leaves it at the next entry into the runtime. Never goes back to
  /// false while a machine has it.
  std::atomic<bool> retired{false};
  BasicRunnext<Fiber> runnext;
  std::uint32_t runnext_streak = 0;
  std::int32_t budget = 0;
  std::uint32_t ready_count = 0;  ///< since the last sample of the latency
  /// The turn that begins with a look at the clock, timers and queues. sysmon makes it 0 when something waits for that.
  std::atomic<std::uint64_t> next_look{0};
  Slot* slot = nullptr;
  // Up to here one cache line, touched at every switch.
  std::int64_t now = 0;  ///< monotonic time of this scheduling round
  std::uint64_t next_fair = 0;
  std::uint32_t fair_turns = 0;
  bool refilled = false;               ///< the ring has taken many from the global queue since it was last looked at
  bool ran_pinned = false;             ///< the last turn that was looked for was a pinned fiber's
  std::atomic<bool> look_wide{false};  ///< sysmon: the next look begins with Poller and global queue
  std::int64_t slice_start = 0;
  std::uint64_t slice_tick = 0;
  // How long fibers run here: a bound that falls by an eighth a window (a fairness period, or until sleep).
  std::int64_t slice = 50'000;  ///< ns; at first nobody is taken for short
  std::int64_t window_start = 0;
  std::uint64_t window_tick = 0;
  Fiber* free_fibers = nullptr;
  std::uint32_t free_count = 0;
  std::uint32_t shard = 0;
  std::uint64_t next_id = 0;
  std::uint64_t last_id = 0;
  std::unique_ptr<SiteCounts[]> site_counts;  ///< by Fiber::site; nullptr in a stand-in, where nothing is counted
  TraceWriter trace;
  fiber::StackCache stacks;
  std::array<fiber::StackCache, fiber::kStackClasses - 1> other_stacks;
  Random random;
  BasicRunQueue<Fiber> queue;
  ProcessorStats stats;

  [[nodiscard]] fiber::StackCache& stacks_of(fiber::StackClass c) noexcept {
    if (c == fiber::StackClass::normal) [[likely]]
      return stacks;
    return other_stacks[static_cast<std::size_t>(c) - 1];
  }

  std::atomic<pid_t> thread{0};  ///< of the machine that has it, or had it last
  // sysmon saw the turn with this tick go on at that time; whoever ends it says how long it was.
  std::atomic<std::uint64_t> watched{0};
  std::atomic<std::int64_t> watched_at{0};
  std::atomic<std::int64_t> stalled_since{0};  ///< the turn that has become a stall began then; 0: none has

  SectionWord section;
  std::uint64_t stalled_section = 0;  ///< for which there was no machine; under the structure lock
  bool by_sysmon = false;
  Processor* next_free = nullptr;
};

struct Slot {
  unsigned index = 0;
  std::atomic<Processor*> processor{nullptr};
  Poller poller;
  /// Fibers pinned to this place that became runnable.
  std::atomic<std::uint32_t> pinned_count{0};
  Lock pinned_lock;
  Fiber* pinned_head FIBERD_GUARDED_BY(pinned_lock) = nullptr;
  Fiber* pinned_tail FIBERD_GUARDED_BY(pinned_lock) = nullptr;
  std::atomic<std::uint64_t> busy_ns{0};  ///< its Processor was awake: sysmon's looks, for who asks
  // sysmon's notes, its own: which Processor it saw here, at which tick, since when.
  const Processor* seen = nullptr;
  std::uint64_t seen_tick = 0;
  std::int64_t seen_since = 0;
  StallTurn turn;  // the stall watch's, of the turn that was seen last to go on
  const Processor* section_of = nullptr;
  std::uint64_t seen_section = 0;
  std::int64_t section_since = 0;
};

}  // namespace fiberd::runtime
