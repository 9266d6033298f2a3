#pragma once
// Runtime: the scheduler as an object, and the calls a fiber makes on it. How it works: scheduler.cpp.
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>

#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/base/thread_locals.hpp"
#include "core/base/unique_function.hpp"
#include "core/fiber/guard_mode.hpp"
#include "core/fiber/stack_claim.hpp"
#include "core/fiber/stack_class.hpp"
#include "core/runtime/admission.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/runtime/mem_stats.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

struct Options {
  unsigned gomaxprocs = 0;  ///< Processors, at most 1,024; 0: environment, cgroup quota, affinity (gomaxprocs.hpp)
  std::size_t stack_size = 256 * 1024;  ///< bytes reserved per fiber; a multiple of the page size, 16 KiB … 64 MiB
  std::size_t small_stack_size = 64 * 1024;        ///< the same for StackClass::small
  std::size_t large_stack_size = 8 * 1024 * 1024;  ///< and for StackClass::large
  fiber::GuardMode stack_guards = fiber::GuardMode::automatic;
  unsigned blocking_threads = 64;  ///< upper bound of the blocking pool, 1 … 4096
  unsigned handoff_max = 4;        ///< Processors that may be held by long-running fibers and replaced, 0 … 64
  unsigned machines_max = 10'000;  ///< scheduler threads, those in blocking sections included, 1 … 100,000; never less
                                   ///< than 2 × GOMAXPROCS + handoff_max
  std::uint64_t random_seed = 0;  ///< 0: from the kernel
  /// Fibers with their stacks that are set aside for spawn_reserved(), and two more for each Processor, whom health
  /// checks ask: an eighth of all at most.
  unsigned reserve = 64;
  unsigned reserve_final = 16;  ///< of these, those that only StackClaim::finish may have
  /// The flight recorder (trace.hpp): bytes that the events of one Processor may take at most, up to 1 GiB; 0: it is
  /// off. A ring grows to that while its oldest event is younger than trace_min_age.
  std::size_t trace_buffer = std::size_t{1} << 20U;
  std::chrono::nanoseconds trace_min_age = std::chrono::seconds(10);
};

class Scheduler;
class SchedTrace;

using fiber::StackClass;

inline constexpr unsigned kAnyProcessor = ~0U;

/// How a fiber is spawned, beyond its name and function: `spawn({.name = "parse", .stack = StackClass::large}, fn)`.
struct SpawnOptions {
  FiberName name;
  /// Stacks of small and large size are mapped when the first fiber asks for one. To spawn one with a large stack takes
  /// two locks more.
  StackClass stack = StackClass::normal;
  unsigned processor = kAnyProcessor;                     ///< pinned to this one (modulo GOMAXPROCS) for its whole life
  fiber::StackClaim claim = fiber::StackClaim::ordinary;  ///< as spawn_reserved's; of stacks of normal size only
};

/// One scheduler with its threads. Several may exist one after the other; fibers belong to the one that spawned them.
class Runtime {
 public:
  /// Starts the machines. Errors: invalid_argument (an option out of range), not_enough_memory, threads exhausted.
  [[nodiscard]] static Result<std::unique_ptr<Runtime>> start(const Options& options = {});
  /// Waits until every fiber has ended (parked fibers included), then stops the threads.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Runs `fn` on a new fiber of this runtime and blocks the calling *thread* until it ends. Not from a fiber.
  /// An exception that leaves `fn` is rethrown here. The fiber may come from what is set aside (StackClaim::finish): a
  /// thread that waits is often one that stops the others. Throws std::system_error when not even that is left.
  void run(UniqueFunction fn, SourceLocation where = SourceLocation::current());

  /// spawn() for threads outside the runtime. Thread-safe.
  [[nodiscard]] Result<void> spawn(FiberName name, UniqueFunction fn, SourceLocation where = SourceLocation::current());
  [[nodiscard]] Result<void> spawn(const SpawnOptions& options, UniqueFunction fn,
                                   SourceLocation where = SourceLocation::current());

  /// Changes the number of Processors, 1 … 256 or what it was at the start if that is more; what is out of range counts
  /// as the nearest. No fiber, timer or descriptor is lost. Thread-safe; blocks the thread.
  void set_gomaxprocs(unsigned n);
  [[nodiscard]] unsigned gomaxprocs() const noexcept;
  /// Whom spawn asks from now on; nullptr: nobody. It must outlive the runtime: a spawn may be asking it still after it
  /// was replaced. Thread-safe.
  void set_admission(Admission* admission) noexcept;
  /// set_admission() with a function.
  void set_admission_hook(AdmissionHook hook) noexcept;

  /// Writes what the scheduler does to the log, a line each `period` (10 ms … 1 h; 0: no more); `detail`: with each
  /// Processor and fiber (sched_trace.hpp). FIBERDEBUG=schedtrace=1000[,scheddetail=1] asks for it at the start.
  /// Thread-safe. Errors: invalid_argument (a period out of range), the system's lack of threads.
  [[nodiscard]] Result<void> set_sched_trace(std::chrono::milliseconds period, bool detail = false);

  /// A snapshot. `measure_stacks` also asks the kernel for the resident and deepest stack bytes: a page-table walk,
  /// some milliseconds for a thousand stacks.
  [[nodiscard]] MemStats read_mem_stats(bool measure_stacks = false) const;
  [[nodiscard]] Scheduler& scheduler() noexcept { return *scheduler_; }

 private:
  explicit Runtime(std::unique_ptr<Scheduler> scheduler);
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<SchedTrace> trace_;
};

/// Starts `fn` on a new fiber. Callable on a fiber of a runtime. Errors: what the Admission answered; not_enough_memory
/// when memory is out, errc::out_of_stacks (which equals it) when stacks are; of other sizes out_of_small_stacks,
/// out_of_large_stacks. `fn` is then destroyed unrun. An exception that leaves `fn` ends that fiber only: it is logged
/// and counted. Who wants what `fn` returns or throws: sync::spawn_task (sync/task.hpp).
[[nodiscard]] Result<void> spawn(FiberName name, UniqueFunction fn, SourceLocation where = SourceLocation::current());
[[nodiscard]] Result<void> spawn(const SpawnOptions& options, UniqueFunction fn,
                                 SourceLocation where = SourceLocation::current());

/// As spawn, for what must go on when others have taken all fibers and stacks: reporting, draining, stopping. Such a
/// fiber takes one that was set aside (Options::reserve) when there is no other. Few at a time, and short-lived: they
/// are set aside for the next one. Errors: as spawn's, when those are out too; the Admission is asked as for any other.
[[nodiscard]] Result<void> spawn_reserved(fiber::StackClaim claim, FiberName name, UniqueFunction fn,
                                          SourceLocation where = SourceLocation::current());

/// Both: set aside, and pinned to Processor `processor` (modulo GOMAXPROCS).
[[nodiscard]] Result<void> spawn_reserved_on(fiber::StackClaim claim, unsigned processor, FiberName name,
                                             UniqueFunction fn, SourceLocation where = SourceLocation::current());

/// As spawn, but the fiber is pinned to Processor `processor` (modulo GOMAXPROCS) for its whole life.
[[nodiscard]] Result<void> spawn_on(unsigned processor, FiberName name, UniqueFunction fn,
                                    SourceLocation where = SourceLocation::current());

/// GOMAXPROCS of the present runtime. Thread-safe.
[[nodiscard]] unsigned gomaxprocs() noexcept;

/// Lets the other runnable fibers go first.
void yield() noexcept;

/// Called by runtime operations that did not have to park: a fiber that never parks is made to yield after 64 such
/// calls or 100 µs. May yield.
void spend_budget() noexcept;

/// The same for operations of a few nanoseconds: sixteen of them count as one. With no lock held.
inline void spend_little() noexcept {
  if ((++thread_locals()->little & 15U) == 0) [[unlikely]]
    spend_budget();
}

/// 64 random bits for choices that need not be secret; in a Simulation from its seed. Any thread; cheap on a fiber.
[[nodiscard]] std::uint64_t random() noexcept;

/// Sleeps. Returns success, or std::errc::operation_canceled.
Result<void> sleep_for(std::chrono::nanoseconds duration, Cancellation* cancellation = nullptr) noexcept;

/// True on a fiber.
[[nodiscard]] bool on_fiber() noexcept;
/// True in what the scheduler calls between fibers (a timer's callback, an idle descriptor's handler, a hang-up watch):
/// nothing may park there.
[[nodiscard]] bool in_scheduler() noexcept;

/// Monotonic ns, read at most once per scheduling round: cheap, up to some 100 µs old on a busy Processor.
[[nodiscard]] std::int64_t coarse_now() noexcept;

/// Whether `deadline` has passed: what a call asks before it does anything. The clock is read only where coarse_now()
/// leaves it open; a fiber that computes without a call of the runtime may be told so some 10 ms late, more where
/// threads are kept from running.
[[nodiscard]] bool past(Deadline deadline) noexcept;

/// Keeps the calling fiber on its Processor while it lives: it is neither stolen nor handed off. Nests.
class [[nodiscard]] Pin {
 public:
  [[nodiscard]] Pin() noexcept;
  ~Pin();
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
};

/// Brackets a call that blocks the thread. To begin and to end one costs some nanoseconds; if it lasts, for 20 µs while
/// other work waits or a millisecond anyhow (by sysmon's looks, hence up to 2 ms later), another thread goes on with
/// the Processor, and at the end the fiber queues for one. A wait inside, or a Pin, ends the section. When Options::
/// machines_max threads are in sections, or the system has no more threads, the fiber waits first until one of them is
/// over: do not let a section wait for what only another section brings about. On a pinned fiber, inside another
/// section, in a simulation and off fibers it does nothing.
class [[nodiscard]] BlockingSection {
 public:
  BlockingSection() noexcept;
  ~BlockingSection();
  BlockingSection(const BlockingSection&) = delete;
  BlockingSection& operator=(const BlockingSection&) = delete;

 private:
  const bool entered_;
};
template <std::invocable F>
decltype(auto) blocking_section(F&& fn) {
  const BlockingSection section;
  return std::forward<F>(fn)();
}

/// Statistics of the current runtime (call on a fiber) — see Runtime::read_mem_stats for other threads.
[[nodiscard]] MemStats read_mem_stats(bool measure_stacks = false);

}  // namespace fiberd::runtime
