#include "core/flow/worker_pool.hpp"

#include <algorithm>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/fiber/throw_trace.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::flow {

static WorkerPoolOptions sane(WorkerPoolOptions o) noexcept {
  o.most = std::max(o.most, 1U);
  o.least = std::min(o.least, o.most);
  return o;
}

WorkerPool::WorkerPool(const WorkerPoolOptions& options) noexcept : options_(sane(options)) {}

WorkerPool::~WorkerPool() {
  if (workers() == 0 && queued() == 0) return;
  report_bug("a worker pool dies that was not shut down");
  if (runtime::on_fiber()) (void)shutdown(Queued::drop);
}

std::uint32_t WorkerPool::workers() const noexcept {
  const LockGuard guard(lock_);
  return workers_;
}
std::uint32_t WorkerPool::busy() const noexcept {
  const LockGuard guard(lock_);
  return workers_ - idle_count_;
}
std::uint32_t WorkerPool::queued() const noexcept {
  const LockGuard guard(lock_);
  return queued_;
}

Deadline WorkerPool::limit_of(const Job& job) const noexcept {
  const std::int64_t wait = options_.max_wait.count();
  return wait > INT64_MAX - job.since ? Deadline::never() : Deadline::at(job.since + wait);
}

// ---------------------------------------------------------------------------------------------- submitting

void WorkerPool::enqueue(Job& job) noexcept {
  job.stage = Job::Stage::queued;
  queue_.push_back(job);
  ++queued_;
}

/// Takes a job out of the queue, for whatever end; the first who waits for room gets it and is to be woken.
void WorkerPool::take_from_queue(Job& job, runtime::Ticket& wake) noexcept {
  List<Job>::remove(job);
  job.stage = Job::Stage::taken;
  --queued_;
  Submitter* const s = closed_ ? nullptr : submitters_.pop();
  if (s == nullptr) return;
  enqueue(*s->job);
  wake = s->ticket;
}

/// Under the lock: where the job goes. `wake` is to be woken then.
WorkerPool::Given WorkerPool::place(Job& job, bool may_start_worker, runtime::Ticket& wake) noexcept {
  if (closed_) return Given::closed;
  if (IdleWorker* const w = idle_.pop()) {
    --idle_count_;
    job.stage = Job::Stage::taken;
    w->job = &job;
    wake = w->ticket;
    return Given::yes;
  }
  if (may_start_worker && workers_ < options_.most) {
    ++workers_;
    job.stage = Job::Stage::taken;
    return Given::needs_worker;
  }
  // Nobody who waits for room is overtaken.
  if (queued_ >= options_.queue || !submitters_.empty()) return Given::no_room;
  enqueue(job);
  return Given::yes;
}

std::error_code WorkerPool::give(Job& job, const context::Context* ctx) {
  if (ctx != nullptr)
    if (const std::error_code error = ctx->err()) return error;
  job.since = monotonic_now();
  // Now: once it hangs where a worker finds it, the job may be done and gone before this fiber has left.
  const Deadline limit = limit_of(job);
  runtime::Ticket wake;
  Submitter me;
  me.job = &job;
  Given given{};
  {
    const LockGuard guard(lock_);
    given = place(job, true, wake);
    if (given == Given::no_room && ctx != nullptr) {
      submitters_.add(me, runtime::WaitReason::pool);
      outside_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  switch (given) {
    case Given::yes:
      if (wake) runtime::wake(wake);
      return {};
    case Given::needs_worker: return start_worker(job);
    case Given::closed: return refused(errc::pool_closed);
    case Given::no_room: break;
  }
  return ctx != nullptr ? wait_for_room(me, *ctx, limit) : refused(errc::queue_full);
}

std::error_code WorkerPool::check() noexcept {
  bool full = false;
  {
    const LockGuard guard(lock_);
    if (!closed_ && (idle_count_ != 0 || workers_ < options_.most)) return {};
    full = queued_ >= options_.queue || !submitters_.empty();
    if (!closed_ && !full) return {};
    full = !closed_;
  }
  return refused(full ? errc::queue_full : errc::pool_closed);
}

std::error_code WorkerPool::refused(errc why) noexcept {
  refusals_.add(why);
  return why;
}

std::error_code WorkerPool::wait_for_room(Submitter& me, const context::Context& ctx, Deadline limit) {
  const std::error_code how = context::park_until(me.ticket, ctx, limit);
  outside_.fetch_sub(1, std::memory_order_relaxed);
  {
    const LockGuard guard(lock_);
    if (!me.linked()) return me.refused;  // taken in, or refused and counted by who did it
    sync::BasicWaitQueue<Submitter>::remove(me);
  }
  if (how.category() != context::category()) return refused(errc::queue_timeout);
  gave_up_.fetch_add(1, std::memory_order_relaxed);
  return how;
}

std::error_code WorkerPool::start_worker(Job& job) {
  if (runtime::spawn(options_.name, [this, first = &job] { worker(first); })) return {};
  // There is no fiber for it. Those who run already will come to it, if there is room.
  runtime::Ticket wake;
  bool given = false;
  {
    const LockGuard guard(lock_);
    --workers_;
    given = running_ != 0 && place(job, false, wake) == Given::yes;
  }
  if (wake) runtime::wake(wake);
  if (!given) refuse_orphans();
  worker_is_gone();
  return given ? std::error_code{} : refused(errc::no_worker);
}

/// Who counted on a worker that could not be born: nobody will come for what is queued.
void WorkerPool::refuse_orphans() noexcept {
  while (refuse_one(
      errc::no_worker, [this] { return workers_ == 0; }, true)) {
  }
}

/// Refuses the first who waits for room, or (`jobs`) the first of the queue, while `go_on` says so under the lock.
template <class GoOn>
bool WorkerPool::refuse_one(errc why, GoOn go_on, bool jobs) noexcept {
  Job* job = nullptr;
  runtime::Ticket wake;
  {
    const LockGuard guard(lock_);
    if (!go_on()) return false;
    if (Submitter* const s = submitters_.pop()) {
      s->refused = why;
      wake = s->ticket;
    } else if (jobs && (job = queue_.front()) != nullptr) {
      take_from_queue(*job, wake);
    } else {
      return false;
    }
  }
  refusals_.add(why);
  if (job == nullptr) {
    runtime::wake(wake);
  } else {
    tell(*job, why);
    job->finish();
  }
  return true;
}

std::error_code WorkerPool::await(RunJob& job, const context::Context& ctx) {
  for (;;) {
    bool waits = false;
    {
      const LockGuard guard(lock_);
      if (job.done_) return {};
      waits = job.stage == Job::Stage::queued;
      job.ticket_ = runtime::prepare_park(runtime::WaitReason::pool);
    }
    if (!waits) {
      (void)runtime::park_until(job.ticket_);
      continue;
    }
    const std::error_code how = context::park_until(job.ticket_, ctx, limit_of(job));
    if (!how) continue;
    runtime::Ticket wake;
    {
      const LockGuard guard(lock_);
      if (job.stage != Job::Stage::queued) continue;  // it runs: its end is waited for
      take_from_queue(job, wake);
    }
    if (wake) runtime::wake(wake);
    if (how.category() != context::category()) return refused(errc::queue_timeout);
    gave_up_.fetch_add(1, std::memory_order_relaxed);
    return how;
  }
}

void WorkerPool::RunJob::finish() noexcept {
  runtime::Ticket ticket;
  {
    const LockGuard guard(pool_.lock_);
    done_ = true;
    ticket = ticket_;
  }
  // From here on the job may be gone.
  if (ticket) runtime::wake(ticket);
}

// ---------------------------------------------------------------------------------------------- workers

static std::string describe_exception() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "something that is no std::exception";
  }
}

/// In a handler.
void WorkerPool::report_panic() noexcept {
  panics_.fetch_add(1, std::memory_order_relaxed);
  try {
    log(LogLevel::error, "a job of the pool \"" + std::string(options_.name) + "\" threw: " + describe_exception() +
                             "; thrown at:" + fiber::throw_site_trace());
  } catch (...) {
    log(LogLevel::error, "a job of a pool threw, and memory to describe it is out");
  }
}

void WorkerPool::tell(Job& job, std::error_code why) noexcept {
  try {
    job.refuse(why);
  } catch (...) {
    report_panic();
  }
}

void WorkerPool::carry_out(Job& job) noexcept {
  const std::int64_t waited = monotonic_now() - job.since;
  if (waited > options_.max_wait.count()) {
    refusals_.add(errc::queue_timeout);
    tell(job, errc::queue_timeout);
  } else {
    if (options_.waits != nullptr)
      options_.waits->observe(static_cast<std::uint64_t>(std::max<std::int64_t>(waited, 0)));
    try {
      job.run();
    } catch (...) {
      report_panic();
    }
    completed_.fetch_add(1, std::memory_order_relaxed);
  }
  job.finish();
}

void WorkerPool::worker(Job* job) noexcept {
  {
    const LockGuard guard(lock_);
    ++running_;
  }
  IdleWorker me;
  for (;;) {
    if (job != nullptr) carry_out(*job);
    runtime::Ticket wake;
    Deadline until;
    {
      const LockGuard guard(lock_);
      job = queue_.front();
      if (job != nullptr) {
        take_from_queue(*job, wake);
      } else if (Submitter* const s = submitters_.pop()) {
        job = s->job;
        job->stage = Job::Stage::taken;
        wake = s->ticket;
      } else if (closed_) {
        break;
      } else {
        me.job = nullptr;
        until = workers_ > options_.least ? Deadline::in(options_.idle) : Deadline::never();
        idle_.add_front(me, runtime::WaitReason::pool);
        ++idle_count_;
      }
    }
    if (wake) runtime::wake(wake);
    if (job != nullptr) continue;
    (void)runtime::park_until(me.ticket, until);
    const LockGuard guard(lock_);
    job = me.job;
    if (!me.linked()) continue;
    sync::BasicWaitQueue<IdleWorker>::remove(me);
    --idle_count_;
    if (workers_ > options_.least) break;
  }
  {
    const LockGuard guard(lock_);
    --running_;
    --workers_;
  }
  worker_is_gone();
}

/// The last of a closed pool tells those who wait for it, and touches nothing afterwards.
void WorkerPool::worker_is_gone() noexcept {
  sync::WakeChain chain;
  {
    const LockGuard guard(lock_);
    if (workers_ == 0 && closed_) ended_.take_all(chain);
  }
  chain.wake();
}

std::error_code WorkerPool::shutdown(const context::Context& ctx, Queued queued) {
  {
    const LockGuard guard(lock_);
    closed_ = true;
  }
  while (refuse_one(
      errc::pool_closed, [] { return true; }, queued == Queued::drop)) {
  }
  for (;;) {
    runtime::Ticket wake;
    {
      const LockGuard guard(lock_);
      IdleWorker* const w = idle_.pop();
      if (w == nullptr) break;
      --idle_count_;
      wake = w->ticket;
    }
    runtime::wake(wake);
  }
  sync::Waiter me;
  {
    const LockGuard guard(lock_);
    if (workers_ == 0) return {};
    ended_.add(me, runtime::WaitReason::pool);
  }
  return sync::wait(lock_, me, &ctx);
}

}  // namespace fiberd::flow
