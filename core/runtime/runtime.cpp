// Runtime: the public face of the scheduler, and its start and stop.
#include "core/runtime/runtime.hpp"

#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <semaphore>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/runtime/gomaxprocs.hpp"
#include "core/runtime/sched_trace.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

std::atomic<Scheduler*> Scheduler::living_{nullptr};

// Room is kept for so many, or for as many as there are at the start if that is more: the caches of stacks share what
// the kernel gives.
static constexpr unsigned kUsualProcessors = 256;

static std::uint64_t kernel_seed() noexcept {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = static_cast<std::uint64_t>(monotonic_now());
  return seed;
}

static constexpr std::size_t kMostTrace = std::size_t{1} << 30U;

static Options with_seed(Options options, std::uint64_t seed) {
  if (seed != 0) options.random_seed = seed;
  if (options.random_seed == 0) options.random_seed = kernel_seed();
  return options;
}

// A thread's stack and its guard are two maps; a machine's alternate signal stack and its guard two more.
static constexpr std::uint64_t kMapsPerThread = 2;
static constexpr std::uint64_t kMapsPerMachine = 4;
static constexpr std::uint64_t kMapsBesideThreads = 768;  // files, malloc's arenas, sections that block

static std::uint64_t maps_for_threads(const Options& options) noexcept {
  const std::uint64_t processors = options.gomaxprocs != 0 ? options.gomaxprocs : affinity_cpus();
  return std::max(fiber::StackPool::kMapsLeft, kMapsBesideThreads + kMapsPerThread * options.blocking_threads +
                                                   kMapsPerMachine * (processors + options.handoff_max));
}

unsigned Scheduler::affordable_blocking_threads() const {
  if (kind_ == Kind::simulated) return options_.blocking_threads;
  const std::uint64_t left = stacks_->stats().maps_left;  // 0: guards need no maps
  if (left == 0 || left >= maps_for_threads(options_)) return options_.blocking_threads;
  // Half of what is left to all: threads that cannot be started are waited for, memory that is not there kills.
  const auto threads =
      static_cast<unsigned>(std::clamp<std::uint64_t>(left / 2 / kMapsPerThread, 1, options_.blocking_threads));
  if (threads < options_.blocking_threads)
    log(LogLevel::warning, "vm.max_map_count is too low for " + std::to_string(options_.blocking_threads) +
                               " blocking threads beside stacks guarded by mprotect: " + std::to_string(threads) +
                               " at most are started");
  return threads;
}

Scheduler::Scheduler(const Options& options, Kind kind, std::uint64_t seed)
    : options_(with_seed(options, seed)),
      most_processors_(std::max(kUsualProcessors, options.gomaxprocs)),
      kind_(kind),
      tracer_(kind == Kind::real ? TraceOptions{options.trace_buffer, options.trace_min_age.count()} : TraceOptions{}),
      external_(0),
      sim_random_(options_.random_seed) {
  processors_.reserve(most_processors_ + kMaxRetired);
}

/// The number of Processors, where it was left open. False: what the environment asks for cannot be; said.
static bool settle_gomaxprocs(Options& options) {
  CpuLimits limits;
  if (options.gomaxprocs > kMostProcessors) {
    limits.error = "Options::gomaxprocs " + std::to_string(options.gomaxprocs) + " is out of range: 0 … " +
                   std::to_string(kMostProcessors);
  } else if (options.gomaxprocs == 0) {
    limits = detect_gomaxprocs();
    options.gomaxprocs = limits.gomaxprocs;
  }
  if (!limits.warning.empty()) log(LogLevel::warning, limits.warning);
  if (!limits.error.empty()) log(LogLevel::error, limits.error);
  return limits.error.empty();
}

/// False: one of the sizes of stacks cannot be; said.
static bool stack_sizes_can_be(const Options& options) {
  static constexpr std::size_t kLeast = 16 * 1024;
  static constexpr std::size_t kMost = 64 * 1024 * 1024;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const auto& [name, size] :
       {std::pair{"stack_size", options.stack_size}, std::pair{"small_stack_size", options.small_stack_size},
        std::pair{"large_stack_size", options.large_stack_size}}) {
    if (size >= kLeast && size <= kMost && size % page == 0) continue;
    log(LogLevel::error, "Options::" + std::string(name) + " " + std::to_string(size) +
                             " is out of range: " + std::to_string(kLeast) + " … " + std::to_string(kMost) +
                             ", a multiple of the page size " + std::to_string(page));
    return false;
  }
  return true;
}

Result<std::unique_ptr<Scheduler>> Scheduler::create(const Options& wanted, Kind kind, std::uint64_t seed) {
  AsymmetricBarrier::enable();
  Options options = wanted;
  if (kind == Kind::real && !settle_gomaxprocs(options)) return fail(std::errc::invalid_argument);
  if (options.reserve != 0) options.reserve += 2 * options.gomaxprocs;
  if (!stack_sizes_can_be(options) || options.blocking_threads < 1 || options.blocking_threads > 4096 ||
      options.handoff_max > 64 || options.machines_max < 1 || options.machines_max > 100'000 ||
      options.trace_buffer > kMostTrace || options.trace_min_age.count() < 0)
    return fail(std::errc::invalid_argument);
  std::unique_ptr<Scheduler> s(new Scheduler(options, kind, seed));
  if (kind == Kind::simulated) {
    if (const std::error_code error = s->take_simulation_stacks()) return fail(error);
  } else {
    fiber::StackPool::Options stack_options;
    stack_options.stack_size = options.stack_size;
    stack_options.mode = options.stack_guards;
    stack_options.caches = s->most_processors_ + kMaxRetired + 1;
    stack_options.maps_left = maps_for_threads(options);
    stack_options.reserve = options.reserve;
    stack_options.reserve_final = options.reserve_final;
    auto stacks = fiber::StackPool::create(stack_options);
    if (!stacks) return fail(stacks.error());
    s->stacks_ = std::move(*stacks);
    s->other_stacks_.configure(stack_options, options.small_stack_size, options.large_stack_size);
    s->set_fibers_aside();
  }
  s->blocking_ = std::make_unique<BlockingPool>(s->affordable_blocking_threads(), kind == Kind::simulated);
  s->service_ = std::make_unique<ServiceThread>();
  Scheduler* none = nullptr;
  if (!living_.compare_exchange_strong(none, s.get(), std::memory_order_acq_rel))
    return fail(std::errc::device_or_resource_busy);
  s->registered_ = true;
  if (const Result<void> hooks = install_hooks(); !hooks) return fail(hooks.error());
  return s;
}

std::error_code Scheduler::start_threads() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  const unsigned wanted = options_.gomaxprocs;
  if (const std::error_code error = [&] {
        const LockGuard guard(structure_lock_);
        return prepare_slot(0);
      }())
    return error;
  set_gomaxprocs(wanted);
  if (gomaxprocs() != wanted) {
    // It has said which; asked again it says why. A place that could be prepared had no thread.
    const LockGuard guard(structure_lock_);
    if (const std::error_code error = prepare_slot(gomaxprocs())) return error;
    return std::make_error_code(std::errc::resource_unavailable_try_again);
  }
  return sysmon_.start();
}

void Scheduler::wait_until_no_fibers() {
  drain_.wait([this] { return live_fibers() == 0; });
}

void Scheduler::stop_threads() {
  std::vector<Machine*> machines;
  {
    const LockGuard guard(structure_lock_);
    stopping_.store(true, std::memory_order_seq_cst);
    for (unsigned i = 0; i < slot_count_.load(std::memory_order_relaxed); ++i)
      if (Processor* const p = slots_[i]->processor.load(std::memory_order_relaxed))
        p->retired.store(true, std::memory_order_seq_cst);
  }
  sysmon_.stop();
  {
    // Now that sysmon ends none of them.
    const LockGuard guard(structure_lock_);
    for (const auto& m : machines_) machines.push_back(m.get());
  }
  for (Machine* const m : machines) {
    m->wakeups.fetch_add(1, std::memory_order_release);
    m->wakeups.notify_one();
  }
  for (unsigned i = 0; i < slot_count_.load(std::memory_order_relaxed); ++i) slots_[i]->poller.wake();
  for (Machine* const m : machines) pthread_join(m->thread, nullptr);
  gomaxprocs_.store(1, std::memory_order_relaxed);
}

Scheduler::~Scheduler() {
  blocking_.reset();
  service_.reset();
  if (!registered_) return;
  TimerHeap::runtime_ends();
  living_.store(nullptr, std::memory_order_release);
}

BlockingPool& current_blocking_pool() noexcept { return Scheduler::instance()->blocking_pool(); }
ServiceThread& current_service_thread() noexcept { return Scheduler::instance()->service_thread(); }

// ---------------------------------------------------------------------------------------------- Runtime

Runtime::Runtime(std::unique_ptr<Scheduler> scheduler)
    : scheduler_(std::move(scheduler)), trace_(std::make_unique<SchedTrace>()) {}

Result<std::unique_ptr<Runtime>> Runtime::start(const Options& options) {
  auto scheduler = Scheduler::create(options, Scheduler::Kind::real);
  if (!scheduler) return fail(scheduler.error());
  if (const std::error_code error = (*scheduler)->start_threads()) {
    (*scheduler)->stop_threads();
    return fail(error);
  }
  std::unique_ptr<Runtime> made(new Runtime(std::move(*scheduler)));
  if (const SchedTraceWish wish = wished_sched_trace(); wish.period.count() != 0)
    if (const Result<void> traced = made->set_sched_trace(wish.period, wish.detail); !traced)
      log(LogLevel::warning, "FIBERDEBUG=schedtrace: " + traced.error().message());
  return made;
}

Result<void> Runtime::set_sched_trace(std::chrono::milliseconds period, bool detail) {
  return trace_->set(period, detail);
}

Runtime::~Runtime() {
  scheduler_->wait_until_no_fibers();
  trace_.reset();
  scheduler_->stop_threads();
}

void Runtime::run(UniqueFunction fn, SourceLocation where) {
  struct Shared {
    std::binary_semaphore done{0};
    std::exception_ptr exception;
  } shared;
  UniqueFunction wrapped([&shared, function = std::move(fn)]() mutable {
    try {
      function();
      function.reset();
    } catch (...) {
      shared.exception = std::current_exception();
    }
    shared.done.release();
  });
  if (const std::error_code error =
          scheduler_->spawn({.name = "run", .claim = fiber::StackClaim::finish}, wrapped, where))
    throw std::system_error(error);
  shared.done.acquire();
  if (shared.exception) std::rethrow_exception(std::exchange(shared.exception, nullptr));
}

Result<void> Runtime::spawn(const SpawnOptions& options, UniqueFunction fn, SourceLocation where) {
  if (const std::error_code error = scheduler_->spawn(options, fn, where)) return fail(error);
  return {};
}

Result<void> Runtime::spawn(FiberName name, UniqueFunction fn, SourceLocation where) {
  if (const std::error_code error = scheduler_->spawn({.name = name}, fn, where)) return fail(error);
  return {};
}

Result<void> spawn(const SpawnOptions& options, UniqueFunction fn, SourceLocation where) {
  if (const std::error_code error = Scheduler::instance()->spawn(options, fn, where)) return fail(error);
  return {};
}

Result<void> spawn(FiberName name, UniqueFunction fn, SourceLocation where) {
  if (const std::error_code error = Scheduler::instance()->spawn({.name = name}, fn, where)) return fail(error);
  return {};
}

Result<void> spawn_reserved(fiber::StackClaim claim, FiberName name, UniqueFunction fn, SourceLocation where) {
  return spawn({.name = name, .claim = claim}, std::move(fn), where);
}

Result<void> spawn_reserved_on(fiber::StackClaim claim, unsigned processor, FiberName name, UniqueFunction fn,
                               SourceLocation where) {
  return spawn({.name = name, .processor = processor, .claim = claim}, std::move(fn), where);
}

Result<void> spawn_on(unsigned processor, FiberName name, UniqueFunction fn, SourceLocation where) {
  return spawn({.name = name, .processor = processor}, std::move(fn), where);
}

unsigned gomaxprocs() noexcept { return Scheduler::instance()->gomaxprocs(); }

void Runtime::set_gomaxprocs(unsigned n) { scheduler_->set_gomaxprocs(n); }
unsigned Runtime::gomaxprocs() const noexcept { return scheduler_->gomaxprocs(); }
void Runtime::set_admission(Admission* admission) noexcept { scheduler_->set_admission(admission); }
void Runtime::set_admission_hook(AdmissionHook hook) noexcept { scheduler_->set_admission_hook(hook); }
MemStats Runtime::read_mem_stats(bool measure_stacks) const { return scheduler_->read_mem_stats(measure_stacks); }

}  // namespace fiberd::runtime
