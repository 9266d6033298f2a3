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

WorkerPool::WorkerPool(const WorkerPoolOptions& options) noexcept
    : options_(options), state_({options.least, options.most, options.queue}) {}

WorkerPool::~WorkerPool() {
  bool over = false;
  {
    const LockGuard guard(lock_);
    over = state_.quiet() && state_.queued() == 0;
  }
  if (over) return;
  report_bug("a worker pool dies that was not shut down");
  if (runtime::on_fiber()) (void)shutdown(Queued::drop);
}

std::uint32_t WorkerPool::workers() const noexcept {
  const LockGuard guard(lock_);
  return state_.workers();
}
std::uint32_t WorkerPool::busy() const noexcept {
  const LockGuard guard(lock_);
  return state_.workers() - state_.idle();
}
std::uint32_t WorkerPool::queued() const noexcept {
  const LockGuard guard(lock_);
  return state_.queued();
}
std::uint32_t WorkerPool::waiting_for_room() const noexcept {
  const LockGuard guard(lock_);
  return state_.waiting();
}

Deadline WorkerPool::limit_of(const Job& job) const noexcept { return Deadline::after(job.since, options_.max_wait); }

// ---------------------------------------------------------------------------------------------- submitting

std::error_code WorkerPool::give(Job& job, const context::Context* ctx, bool stays) {
  if (ctx != nullptr)
    if (const std::error_code error = ctx->err()) return error;
  job.since = monotonic_now();
  // Now: once it hangs where a worker finds it, the job may be done and gone before this fiber has left.
  const Deadline limit = limit_of(job);
  runtime::Ticket wake;
  Submitter me;
  State::Given given{};
  {
    const LockGuard guard(lock_);
    given = state_.give(job, ctx != nullptr ? &me : nullptr, stays, wake);
    if (given == State::Given::closed) return refused(errc::pool_closed);
    if (given == State::Given::no_room) return refused(errc::queue_full);
  }
  if (given == State::Given::waits) return wait_for_room(me, *ctx, limit, stays);
  if (given == State::Given::needs_worker) return start_worker(job, stays);
  if (wake) runtime::wake(wake);
  return {};
}

Result<void> WorkerPool::check() noexcept {
  const LockGuard guard(lock_);
  if (state_.closed()) return fail(refused(errc::pool_closed));
  if (!state_.has_worker() && !state_.has_room()) return fail(refused(errc::queue_full));
  return {};
}

/// Under the lock, or by one that the pool still counts: it must not be gone.
std::error_code WorkerPool::refused(errc why) noexcept {
  refusals_.add(why);
  return why;
}

/// As refused(): what ended the wait of one that nobody else has decided about.
std::error_code WorkerPool::gave_up_by(std::error_code how) noexcept {
  if (how.category() != context::category()) return refused(errc::queue_timeout);
  gave_up_.fetch_add(1, std::memory_order_relaxed);
  return how;
}

std::error_code WorkerPool::wait_for_room(Submitter& me, const context::Context& ctx, Deadline limit, bool stays) {
  const std::error_code how = error_of(context::park_until(ctx, me.ticket, limit));
  std::error_code result;
  sync::WakeChain ended;
  {
    const LockGuard guard(lock_);
    result = state_.was_taken(me, stays, ended) ? me.refused : gave_up_by(how);
  }
  ended.wake();
  return result;
}

std::error_code WorkerPool::start_worker(Job& job, bool stays) {
  if (runtime::spawn(options_.name, [this, first = &job] { worker(first); })) return {};
  runtime::Ticket wake;
  bool given = false;
  {
    const LockGuard guard(lock_);
    given = state_.not_born(job, stays, wake);
  }
  if (wake) runtime::wake(wake);
  if (given) return {};
  // Nobody may be left for those who counted on this worker.
  for (State::Refused orphan{};;) {
    {
      const LockGuard guard(lock_);
      orphan = state_.refuse_orphan(errc::no_worker, wake = {});
    }
    if (!settle(errc::no_worker, orphan, wake)) break;
  }
  sync::WakeChain ended;
  {
    const LockGuard guard(lock_);
    (void)refused(errc::no_worker);
    state_.leave(ended);
  }
  ended.wake();
  return errc::no_worker;
}

/// Tells one that was taken out why it is refused. False: there was none.
bool WorkerPool::settle(errc why, const State::Refused& who, runtime::Ticket wake) noexcept {
  if (who.submitter == nullptr && who.job == nullptr) return false;
  refusals_.add(why);
  if (wake) runtime::wake(wake);
  if (who.job != nullptr) {
    tell(*who.job, why);
    who.job->finish();
  }
  return true;
}

std::error_code WorkerPool::await(RunJob& job, const context::Context& ctx) {
  sync::WakeChain ended;
  for (;;) {
    bool waits = false;
    {
      const LockGuard guard(lock_);
      if (job.done_) {
        state_.leave(ended);
        break;
      }
      waits = job.stage == detail::JobStage::queued;
      job.ticket_ = runtime::prepare_park(runtime::WaitReason::pool, this);
    }
    if (!waits) {
      (void)runtime::park_until(job.ticket_);
      continue;
    }
    const std::error_code how = error_of(context::park_until(ctx, job.ticket_, limit_of(job)));
    if (!how) continue;
    std::error_code result;
    runtime::Ticket wake;
    {
      const LockGuard guard(lock_);
      if (!state_.take_back(job, wake, ended)) continue;  // it runs: its end is waited for
      result = gave_up_by(how);
    }
    if (wake) runtime::wake(wake);
    ended.wake();
    return result;
  }
  ended.wake();
  return {};
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
    state_.born();
  }
  IdleWorker me;
  Deadline until;
  sync::WakeChain ended;
  for (auto next = State::Next::work; next != State::Next::end;) {
    if (next == State::Next::work) {
      carry_out(*job);
    } else {
      (void)runtime::park_until(me.ticket, until);
    }
    runtime::Ticket wake;
    {
      const LockGuard guard(lock_);
      next = next == State::Next::work ? state_.next(me, job, wake, ended) : state_.woken(me, job, wake, ended);
      if (next == State::Next::idle) until = state_.more_than_least() ? Deadline::in(options_.idle) : Deadline::never();
    }
    if (wake) runtime::wake(wake);
  }
  ended.wake();
}

Result<void> WorkerPool::shutdown(const context::Context& ctx, Queued queued) {
  runtime::Ticket wake;
  {
    const LockGuard guard(lock_);
    state_.close();
  }
  for (State::Refused one{};;) {
    {
      const LockGuard guard(lock_);
      one = state_.refuse(queued == Queued::drop, errc::pool_closed, wake = {});
    }
    if (!settle(errc::pool_closed, one, wake)) break;
  }
  for (bool more = true; more;) {
    {
      const LockGuard guard(lock_);
      more = state_.wake_idle(wake);
    }
    if (more) runtime::wake(wake);
  }
  Waiter me;
  {
    const LockGuard guard(lock_);
    if (state_.quiet_or_wait(me)) return {};
  }
  return as_result(sync::wait(lock_, me, &ctx));
}

}  // namespace fiberd::flow
