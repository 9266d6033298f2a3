#pragma once
// A snapshot of what the runtime does and holds: what Go's runtime.ReadMemStats and schedtrace tell, for fibers.
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/fiber/guard_mode.hpp"
#include "core/fiber/stack_class.hpp"
#include "core/runtime/admission.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

/// Buckets of the runnable→running latency: upper bounds in ns, 1, 2 and 5 of each decade from 1 µs to 5 s; the last is
/// +Inf.
inline constexpr std::array<std::uint64_t, 22> kLatencyBounds{
    1'000,       2'000,       5'000,         10'000,        20'000,        50'000,     100'000,    200'000,
    500'000,     1'000'000,   2'000'000,     5'000'000,     10'000'000,    20'000'000, 50'000'000, 100'000'000,
    200'000'000, 500'000'000, 1'000'000'000, 2'000'000'000, 5'000'000'000, UINT64_MAX};

/// Buckets of the length of stalls: upper bounds in ns, from 16 ms; the last is +Inf.
inline constexpr std::array<std::uint64_t, 12> kStallBounds{16'000'000,    32'000'000,    64'000'000,     128'000'000,
                                                            256'000'000,   512'000'000,   1'024'000'000,  2'048'000'000,
                                                            4'096'000'000, 8'192'000'000, 16'384'000'000, UINT64_MAX};

/// Stacks of one class.
struct StackClassStats {
  std::uint64_t size = 0;  ///< bytes of address space a stack
  std::uint64_t in_use = 0;
  std::uint64_t cached = 0;
  std::uint64_t most = 0;            ///< how many there may be; 0 where none was asked for yet
  std::uint64_t bytes_reserved = 0;  ///< address space
  std::uint64_t bytes_resident = 0;  ///< by mincore(2); only when asked for
  std::uint64_t high_water = 0;      ///< deepest of those looked at, bytes; only when asked for
};

struct MemStats {
  // Scheduler
  unsigned gomaxprocs = 0;
  std::uint64_t fibers_created = 0;
  std::uint64_t fibers_ended = 0;
  std::uint64_t fibers_panicked = 0;  ///< ended by an exception
  std::uint64_t deadlocks = 0;        ///< times that every fiber waited for another one (see deadlock.cpp)
  std::uint64_t channel_unsent = 0;   ///< values that a send which does not wait found no room for
  std::uint64_t spawns_refused = 0;   ///< by Admission or for lack of stacks
  /// The same by reason; those that never happened have none.
  std::array<SpawnRefusal, kSpawnRefusals> spawn_refusals{};
  std::uint64_t fibers_runnable = 0;
  std::uint64_t fibers_running = 0;
  std::uint64_t fibers_waiting = 0;
  std::uint64_t switches = 0;
  std::uint64_t steals = 0;    ///< fibers taken from another Processor
  std::uint64_t handoffs = 0;  ///< Processors replaced under a fiber that held them
  std::uint64_t budget_yields = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(WaitReason::count_)> parks{};  ///< by reason
  std::uint64_t local_queue_depth = 0;                                              ///< sum over Processors
  std::uint64_t global_queue_depth = 0;
  std::array<std::uint64_t, kLatencyBounds.size()> latency_buckets{};  ///< not cumulative; one switch in 251 is sampled
  std::uint64_t latency_sum_ns = 0;
  // Fibers that held their Processor for 10 ms and more (stall_watch.hpp)
  std::uint64_t stalls_computing = 0;
  std::uint64_t stalls_blocking = 0;  ///< that blocked their thread
  std::uint64_t stalls_robbed = 0;    ///< whose thread had no CPU: nobody's fault in this process
  std::array<std::uint64_t, kStallBounds.size()> stall_buckets{};  ///< those over, of the first two; not cumulative
  std::uint64_t stall_sum_ns = 0;
  unsigned processors_idle = 0;
  unsigned machines = 0;        ///< scheduler threads, handed-off ones and those in blocking sections included
  unsigned machines_spare = 0;  ///< threads kept for the next ones
  // Blocking sections (those on the fiber's own thread; not the blocking pool)
  std::uint64_t sections_blocked = 0;  ///< that go on now and whose Processor another thread has
  std::uint64_t sections_retaken = 0;  ///< that lasted so long that their Processor was taken
  std::uint64_t sections_waited = 0;   ///< that had to wait to begin, since threads were out
  std::uint64_t sections_stalled = 0;  ///< that lasted and kept their Processor, since threads were out
  // Fibers with a thread of their own (LockThread)
  std::uint64_t threads_locked = 0;
  std::uint64_t locks_refused = 0;  ///< for want of threads
  // Stacks: of all classes, but for stacks_most and what follows, which are of normal size
  std::array<StackClassStats, fiber::kStackClasses> stack_classes{};  ///< by fiber::StackClass
  std::uint64_t stacks_in_use = 0;
  std::uint64_t stacks_cached = 0;
  std::uint64_t stack_bytes_reserved = 0;  ///< address space
  std::uint64_t stack_bytes_resident = 0;  ///< by mincore(2); only when asked for
  std::uint64_t stack_high_water = 0;      ///< deepest of up to 4,096 stacks in use, bytes; only when asked for
  std::uint64_t stacks_unguarded = 0;
  std::uint64_t stacks_outgrown = 0;        ///< learnt ones that were too small for once
  std::uint64_t stacks_cooled = 0;          ///< of fibers parked for long, of which something was given back
  std::uint64_t stack_bytes_cooled = 0;     ///< what that was
  std::uint64_t stacks_most = 0;            ///< how many there may be; with mprotect what vm.max_map_count allows
  std::uint64_t stacks_reserve = 0;         ///< of these, set aside for spawn_reserved()
  std::uint64_t stacks_reserve_in_use = 0;  ///< and taken
  fiber::GuardKind guard_kind = fiber::GuardKind::guard_install;
  // Poller and timers
  std::uint64_t poll_calls = 0;
  std::uint64_t poll_events = 0;
  std::uint64_t poll_descriptors = 0;
  std::uint64_t poll_wakeups = 0;  ///< eventfd writes to sleeping Processors
  std::uint64_t timers_armed = 0;  ///< nodes in the heaps now
  std::uint64_t timers_fired = 0;
  // Blocking pool
  std::uint64_t blocking_threads = 0;
  std::uint64_t blocking_busy = 0;
  std::uint64_t blocking_queued = 0;
  std::uint64_t blocking_jobs = 0;
};

}  // namespace fiberd::runtime
