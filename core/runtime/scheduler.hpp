#pragma once
// Scheduler: the G/M/P scheduler's state and its inner operations. The public face is runtime.hpp; the essay is at the
// head of scheduler.cpp. The parts: scheduler.cpp (finding work), switching.cpp (the hot path), spawn.cpp (birth and
// death of a fiber), park.cpp (cancellation, budget, pins), handoff.cpp (replacing Processors, GOMAXPROCS),
// blocking_section.cpp, lock_thread.cpp, deadlock.cpp, stats.cpp, stack_learning.cpp, cold_stacks.cpp. Types of their
// own beside it: GlobalQueue, RetiredList, Sysmon, FiberTable, SiteTable, BasicIdleSet.
#include <pthread.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/fiber/fault_handler.hpp"
#include "core/fiber/stack_pool.hpp"
#include "core/runtime/acceptor.hpp"
#include "core/runtime/blocking_pool.hpp"
#include "core/runtime/drain.hpp"
#include "core/runtime/fiber_table.hpp"
#include "core/runtime/global_queue.hpp"
#include "core/runtime/gomaxprocs.hpp"
#include "core/runtime/idle_set.hpp"
#include "core/runtime/machine.hpp"
#include "core/runtime/processor.hpp"
#include "core/runtime/processor_view.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/retired_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/service_thread.hpp"
#include "core/runtime/site_table.hpp"
#include "core/runtime/stack_pools.hpp"
#include "core/runtime/sysmon.hpp"
#include "core/runtime/tracer.hpp"

namespace fiberd::runtime {

inline constexpr unsigned kMaxProcessors = kMostProcessors;

/// Hangs in the scheduler's list while its fiber waits until it may begin a blocking section.
struct SectionWaiter : ListHook {
  Ticket ticket;
};

class Scheduler {
 public:
  /// Virtual: no threads and no epoll; the simulation drives it on the calling thread.
  enum class Kind : std::uint8_t { real, simulated };

  [[nodiscard]] static Result<std::unique_ptr<Scheduler>> create(const Options& options, Kind kind,
                                                                 std::uint64_t seed = 0);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// The one scheduler of the process that lives now.
  [[nodiscard]] static Scheduler* instance() noexcept { return living_.load(std::memory_order_acquire); }

  [[nodiscard]] std::error_code start_threads();
  [[nodiscard]] static Result<void> install_hooks() noexcept;
  void wait_until_no_fibers();
  void stop_threads();

  // ---- spawn.cpp
  /// `function` is taken when there is no error.
  [[nodiscard]] std::error_code spawn(const SpawnOptions& options, UniqueFunction& function, SourceLocation where)
      FIBERD_UNCHECKED_LOCKING;  // external_lock_ is for threads without a Processor alone
  /// For an exception that nobody takes: logged, and counted as one that ended a fiber. Any thread.
  void report_panic(const FiberOrigin& fiber, const Recovered& thrown) noexcept;
  [[nodiscard]] std::uint64_t live_fibers() const noexcept;
  void set_admission(Admission* admission) noexcept { admission_.store(admission, std::memory_order_release); }
  void set_admission_hook(AdmissionHook hook) noexcept {
    if (hook != nullptr) function_admission_.set(hook);
    set_admission(hook != nullptr ? &function_admission_ : nullptr);
  }

  // ---- scheduler.cpp
  /// Queues a runnable fiber. `next`: it should run as soon as the present one leaves.
  void ready(Fiber& fiber, bool next) noexcept;
  /// On a fiber: switches to the next one. Returns when this fiber runs again, maybe on another thread.
  /// `reason`: of a park, for traces.
  static void leave(After after, WaitReason reason = WaitReason::none) noexcept;
  static void leave_inline(After after, WaitReason reason) noexcept;
  static void finish_switch() noexcept;
  static void finish_otherwise(Machine& m, Fiber& f) noexcept;
  [[nodiscard]] Fiber& fiber_at(std::uint32_t index) const noexcept { return table_.at(index); }
  /// Fibers have indices in [1, n).
  [[nodiscard]] std::uint32_t fiber_indices() const noexcept { return table_.size(); }
  /// Visits every fiber that is parked, holding it still meanwhile. `visit` must not park.
  void for_each_parked_fiber(const std::function<void(const Fiber&)>& visit);

  /// The Processor's, or the simulation's.
  [[nodiscard]] Random& random_of(Processor& p) noexcept { return kind_ == Kind::simulated ? sim_random_ : p.random; }

  // ---- timers and pollers
  [[nodiscard]] static TimerHeap& timer_heap_for_caller() noexcept;
  static void timer_became_first(TimerHeap& heap) noexcept;
  [[nodiscard]] Poller& poller_for_caller() noexcept;
  [[nodiscard]] unsigned slot_for_caller() noexcept;
  /// nullptr: there is no such slot in this runtime.
  [[nodiscard]] Poller* poller_of(unsigned slot) noexcept {
    return slot < slot_count_.load(std::memory_order_acquire) ? &slots_[slot]->poller : nullptr;
  }

  // ---- handoff.cpp
  void set_gomaxprocs(unsigned n);
  [[nodiscard]] unsigned gomaxprocs() const noexcept { return gomaxprocs_.load(std::memory_order_acquire); }

  // ---- blocking_section.cpp
  /// Begins a section of the calling fiber. False: it has none (pinned, inside of one, not on a fiber, simulated).
  [[nodiscard]] static bool enter_section() noexcept;
  /// Ends it, unless a wait has.
  static void leave_section() noexcept;

  // ---- lock_thread.cpp
  /// Gives the calling fiber the thread that it runs on. Errors: LockThread's.
  [[nodiscard]] static std::error_code lock_thread() noexcept;
  static void unlock_thread() noexcept;

  /// Memory of free stacks goes back to the system, of each class some; true when there is more to do. Any thread;
  /// system calls.
  [[nodiscard]] bool trim_stacks() noexcept;

  // ---- stats.cpp
  [[nodiscard]] MemStats read_mem_stats(bool measure_stacks) const;

  // ---- spawn_sites.cpp
  [[nodiscard]] std::vector<SpawnSiteStats> read_spawn_sites() const;

  // ---- stack_learning.cpp
  /// In the handler of a fault: a learnt stack was too small, and there is a page more now.
  [[nodiscard]] bool outgrow(const void* address, const fiber::FaultRegisters& where) noexcept;

  // ---- fiber_list.cpp
  struct RunningFiber {
    std::uint32_t index = 0;
    pid_t thread = 0;
    bool pinned = false;
    bool has_thread = false;
    FiberOrigin origin{};
    std::size_t depth = 0;
    std::size_t in_use = 0;
    const fiber::Stack* stack = nullptr;
    std::array<std::uintptr_t, FiberView::kFrames> frames{};
  };
  /// What one machine's thread runs now; false: it runs none, or has not answered within 2 ms. Not on a fiber.
  [[nodiscard]] bool look_at_thread(pid_t thread, RunningFiber& running) noexcept;

  /// False: no fiber has that index now.
  [[nodiscard]] bool find_origin(std::uint32_t index, FiberOrigin& origin) const noexcept;
  std::size_t for_each_fiber(const std::function<bool(const FiberView&)>& visit);

  // ---- sched_trace.cpp
  [[nodiscard]] std::string describe(std::int64_t since, bool detail);
  [[nodiscard]] std::vector<ProcessorView> view_processors() const;

  // ---- deadlock.cpp
  /// Every Processor sleeps, and every fiber waits for what only another fiber does. A walk over all fibers, unless an
  /// answer is found earlier. Any thread.
  [[nodiscard]] bool maybe_deadlocked() noexcept;
  /// For reports: id, name, wait reason, spawn site, and the stack, a line each. The fiber is held still or simulated.
  [[nodiscard]] std::string describe_parked(const Fiber& f) const;

  [[nodiscard]] Tracer& tracer() noexcept { return tracer_; }

  // ---- helpers of other rooms
  [[nodiscard]] BlockingPool& blocking_pool() noexcept { return *blocking_; }
  [[nodiscard]] ServiceThread& service_thread() noexcept { return *service_; }
  /// nullptr: no fiber had a stack of this class yet.
  [[nodiscard]] const fiber::StackPool* stack_pool(fiber::StackClass c = fiber::StackClass::normal) const noexcept {
    return c == fiber::StackClass::normal ? stacks_.get() : other_stacks_.find(c);
  }

  // ---- simulation.cpp
  /// Runs fibers on the calling thread until none is left. False: deadlock (all wait, no timer).
  [[nodiscard]] bool run_simulated() noexcept;
  /// Gives the stacks to the next simulation. Only when no fiber is left.
  void keep_simulation_stacks() noexcept FIBERD_UNCHECKED_LOCKING;  // one thread is left

 private:
  friend class AcceptorRegistration;
  friend class Sysmon;
  friend void enter_runtime() noexcept;
  friend void spend_budget() noexcept;
  friend bool wake(Ticket ticket, Wake cause) noexcept;
  explicit Scheduler(const Options& options, Kind kind, std::uint64_t seed);
  [[nodiscard]] unsigned affordable_blocking_threads() const;

  // scheduler.cpp
  static void* machine_main(void* machine) noexcept;
  void run_machine(Machine& m) noexcept;
  Fiber* find_runnable(Machine& m) noexcept;
  static Fiber* pick_fast(Processor& p) noexcept;
  static Fiber* pop_local(Processor& p) noexcept;
  Fiber* pop_global(Processor& p, std::uint32_t most = 129) noexcept {
    return global_.empty() ? nullptr : global_.pop(p, gomaxprocs(), most);
  }
  Fiber* pop_pinned(Slot& slot) noexcept;
  Fiber* steal(Machine& m) noexcept;
  Fiber* steal_from(Processor& thief, Processor& victim) noexcept;
  void sleep(Machine& m) noexcept;
  unsigned poll(Machine& m, Poller& poller, std::int64_t timeout) noexcept;
  unsigned poll_stale(Machine& m) noexcept;
  void record_latency(Processor& p, Fiber& f) noexcept;
  static void note_own_wake(Fiber& f) noexcept;
  static void end_watch(Machine& m) noexcept;
  /// `left`: how the fiber before left the Processor, if one did.
  void begin_run(Machine& m, Fiber& f, std::uint32_t left = 0) noexcept;
  void bind_stack(Processor& p, Fiber& f) noexcept;
  bool push_local(Processor& p, Fiber& f, bool next) noexcept;
  void overflow(Processor& p, Fiber* f) noexcept;
  void rotate(Processor& p) noexcept;
  Fiber* pick_due(Machine& m) noexcept;
  static void plan_look(Processor& p) noexcept;
  void push_pinned(Fiber& f) noexcept;
  /// `yields`: `f` has just run here, also where `m` is on its own stack by now.
  void ready_slow(Fiber& f, bool next, Machine* m, bool yields = false) noexcept;
  void give_up_runnext(Processor& p) noexcept;
  void wake_helper() noexcept;
  static void end_window(Processor& p) noexcept;
  [[nodiscard]] bool work_anywhere() const noexcept;
  [[nodiscard]] std::int64_t run_timers(Slot& slot, std::int64_t now) noexcept;
  Fiber* pick_simulated(Machine& m) noexcept;
  [[nodiscard]] std::error_code take_simulation_stacks();
  void abandon_fibers();

  // spawn.cpp
  static void fiber_main(void* argument) noexcept;
  static void run_function(Fiber& f) noexcept;
  Fiber* take_free_fiber(Processor& p) noexcept;
  Fiber* take_reserved_fiber(Processor& p, fiber::StackClaim claim) noexcept;
  void set_fibers_aside() noexcept;
  void recycle(Processor& p, Fiber& f) noexcept;
  [[nodiscard]] std::error_code take_other_credit(Processor& p, fiber::StackClass c) noexcept;
  /// Of a class that some fiber has, or had.
  [[nodiscard]] fiber::StackPool& pool_of(fiber::StackClass c) noexcept {
    if (c == fiber::StackClass::normal) [[likely]]
      return *stacks_;
    return *other_stacks_.find(c);
  }
  void flush_stacks(Processor& p) noexcept;
  void give_back_fibers(Processor& p, std::uint32_t keep) noexcept;
  std::uint64_t next_id(Processor& p) noexcept;

  // stack_learning.cpp
  void configure_sites();
  void begin_measuring(Fiber& self) noexcept;
  void end_measuring(Fiber& self) noexcept;
  [[nodiscard]] bool make_learnt_pool(fiber::StackClass c) noexcept;
  void tell_outgrown() noexcept;

  // cold_stacks.cpp
  void cool_parked_stacks(std::int64_t now, std::uint32_t parts) noexcept;
  [[nodiscard]] std::size_t cool(Fiber& f) noexcept;

  // stats.cpp
  void read_stack_stats(MemStats& out, bool measure) const;
  void measure_high_water(MemStats& out) const;

  // handoff.cpp
  Processor* new_processor(Slot& slot) noexcept FIBERD_REQUIRES(structure_lock_);
  [[nodiscard]] bool replace(Processor& p) noexcept FIBERD_REQUIRES(structure_lock_);
  [[nodiscard]] Machine* idle_machine() noexcept FIBERD_REQUIRES(structure_lock_);
  static void assign(Machine& m, Processor& p) noexcept;
  void leave_processor(Machine& m) noexcept;
  [[nodiscard]] bool wait_for_processor(Machine& m) noexcept;
  void share_runnext(Processor& p) noexcept FIBERD_REQUIRES(structure_lock_);
  static void rouse(Processor& p) noexcept;
  bool retire_from(unsigned now);
  std::error_code prepare_slot(unsigned index) FIBERD_REQUIRES(structure_lock_);

  // blocking_section.cpp
  bool end_section(Machine& m) noexcept;
  bool retake(Processor& p, std::uint64_t section) noexcept;
  void wait_for_section() noexcept;
  void admit_sections(unsigned least, List<SectionWaiter>& admitted) noexcept FIBERD_REQUIRES(structure_lock_);
  static void wake_admitted(List<SectionWaiter>& admitted) noexcept;
  [[nodiscard]] unsigned section_room() const noexcept FIBERD_REQUIRES(structure_lock_);
  [[nodiscard]] unsigned machine_limit() const noexcept FIBERD_REQUIRES(structure_lock_);
  void put_spare(Machine& m) noexcept FIBERD_REQUIRES(structure_lock_);
  void trim_machines() noexcept;
  void say_machines_are_out(std::string_view consequence) noexcept;

  // lock_thread.cpp
  [[nodiscard]] bool may_lock_machine() const noexcept FIBERD_REQUIRES(structure_lock_);
  static void give_thread_back(Machine& m, Fiber& f) noexcept;
  static void leave_thread(Fiber& f) noexcept;
  void run_lodger(Machine& m) noexcept;
  void leave_stand_in(Machine& m) noexcept;

  // fiber_list.cpp
  void look_at_running(std::vector<RunningFiber>& running);
  [[nodiscard]] bool look_at_waiting(Fiber& f, FiberView& view);
  std::uint32_t looks_ FIBERD_GUARDED_BY(structure_lock_) = 0;

  static std::atomic<Scheduler*> living_;
  // deadlock.cpp
  [[nodiscard]] std::uint64_t activity() const noexcept;
  void look_for_deadlock(std::int64_t now) noexcept;

  const Options options_;
  const unsigned most_processors_;
  const Kind kind_;
  Tracer tracer_;  // before what writes into its rings
  std::atomic<Admission*> admission_{nullptr};
  FunctionAdmission function_admission_;
  SpawnRefusals refusals_;
  std::atomic<unsigned> gomaxprocs_{0};
  Drain drain_;                        // somebody waits for the last fiber
  std::atomic<bool> stopping_{false};  // machines leave

  BasicIdleSet<kMaxProcessors> idle_;
  FiberTable table_;
  std::unique_ptr<fiber::StackPool> stacks_;
  StackPools other_stacks_;
  SiteTable sites_;
  LogLimit outgrown_log_{1'000'000'000};
  std::uint32_t cool_next_ = 1;  // sysmon's: the fiber it looks at next
  std::atomic<std::uint64_t> stacks_cooled_{0};
  std::atomic<std::uint64_t> stack_bytes_cooled_{0};

  GlobalQueue global_;

  // Free fibers beyond the Processors' own lists
  Lock free_lock_;
  Fiber* free_fibers_ FIBERD_GUARDED_BY(free_lock_) = nullptr;
  // Set aside: taken when no other is left, replaced when there are some again.
  Fiber* reserved_fibers_ FIBERD_GUARDED_BY(free_lock_) = nullptr;
  unsigned reserved_count_ FIBERD_GUARDED_BY(free_lock_) = 0;
  std::atomic<std::uint64_t> next_id_{1};

  // Threads outside the machines (sysmon, service thread, main) share this stand-in for a Processor.
  Lock external_lock_;
  Processor external_;

  // Slots, Processors, machines. Slots and Processors are never freed while the scheduler lives: thieves and sysmon
  // read them without a lock.
  mutable Lock structure_lock_;
  std::array<std::unique_ptr<Slot>, kMaxProcessors> slots_;
  std::atomic<unsigned> slot_count_{0};
  std::vector<std::unique_ptr<Processor>> processors_ FIBERD_GUARDED_BY(structure_lock_);
  Processor* free_processors_ FIBERD_GUARDED_BY(structure_lock_) = nullptr;
  RetiredList retired_;
  std::atomic<std::uint64_t> handoffs_{0};
  std::vector<std::unique_ptr<Machine>> machines_ FIBERD_GUARDED_BY(structure_lock_);
  Machine* spare_machines_ FIBERD_GUARDED_BY(structure_lock_) = nullptr;
  unsigned spare_count_ FIBERD_GUARDED_BY(structure_lock_) = 0;
  unsigned spare_least_ FIBERD_GUARDED_BY(structure_lock_) = 0;  // since sysmon looked last
  unsigned system_limit_ FIBERD_GUARDED_BY(structure_lock_) =
      ~0U;  // machines that there were when the system gave no more threads
  int thread_error_ FIBERD_GUARDED_BY(structure_lock_) = 0;  // what it said
  List<SectionWaiter> section_waiters_ FIBERD_GUARDED_BY(structure_lock_);
  unsigned sections_blocked_ FIBERD_GUARDED_BY(structure_lock_) = 0;  // whose Processors were retaken
  std::atomic<bool> sections_wait_{false};  // who comes now must look whether it may; changes under the lock
  std::atomic<std::uint64_t> sections_retaken_{0};
  std::atomic<std::uint64_t> sections_waited_{0};
  std::atomic<std::uint64_t> sections_stalled_{0};
  unsigned locked_count_ FIBERD_GUARDED_BY(structure_lock_) = 0;  // machines with a lodger
  std::atomic<std::uint64_t> locked_turns_{0};                    // of lodgers
  std::atomic<std::uint64_t> locks_refused_{0};                   // for want of threads
  LogLimit machines_log_{60'000'000'000};
  List<AcceptorRecord> acceptors_ FIBERD_GUARDED_BY(structure_lock_);
  std::vector<std::unique_ptr<AcceptorRecord>> acceptor_records_ FIBERD_GUARDED_BY(structure_lock_);

  Sysmon sysmon_{*this};
  bool registered_ = false;
  struct DeadlockWatch {
    std::uint64_t activity = 0;  ///< switches and spawns so far, when it was last seen to change
    std::int64_t since = 0;
    bool told = false;
    LogLimit log{60'000'000'000};
  } deadlock_watch_;
  std::atomic<std::uint64_t> deadlocks_{0};

  std::unique_ptr<BlockingPool> blocking_;
  std::unique_ptr<ServiceThread> service_;

  // Simulation
  Random sim_random_;
  std::vector<Fiber*> sim_queue_;
  std::int64_t sim_now_ = 0;
  friend class Simulation;
  static std::int64_t simulated_clock() noexcept;
};

/// At every entry into the runtime from a fiber: a fiber whose Processor was given away goes to the back of the global
/// queue and continues on a Processor that is still in force.
void enter_runtime() noexcept;

}  // namespace fiberd::runtime
