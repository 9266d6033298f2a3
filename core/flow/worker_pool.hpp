#pragma once
// WorkerPool: a bounded number of fibers that run jobs from a bounded queue.
//
//   flow::WorkerPool pool({.name = "resize", .least = 0, .most = 8, .queue = 100, .max_wait = 1s});
//   if (!pool.submit(ctx, [image] { resize(image); })) …   // waits for room
//   Result<Image> small = pool.run(ctx, [&] { return resize(image); });                 // and for the result
//   pool.shutdown(ctx, flow::WorkerPool::Queued::drain);
//
// Workers are born when a job finds none idle and there are fewer than `most`; one that has been idle for `idle` dies
// if there are more than `least`. (A fixed pool has least = most; it, too, is born on demand.) The idle one that worked
// last gets the next job: its stack is warm, and the others may die.
//
// A job is handed to an idle worker, or to a new one, or queued, or, when the queue is full, it waits for room with its
// submitter (submit, run) or is refused (try_submit). Every job has one end: it is run, or it is refused, is counted by
// reason (refusals()) and its submitter is told: by the error of submit() or run(), or, when the submitter has gone on,
// through the job itself if it can take a std::error_code (success: run; else: why not).
//   queue_full     try_submit and try_run only
//   queue_timeout  it waited longer than max_wait, for room and in the queue together. Run's caller is told when that
//                  moment comes, submitted jobs when their turn comes; none of them is run after it.
//   pool_closed    shut down before it was run
//   no_worker      no fiber could be had for it (spawn refused), and none is there already
//
// A job that throws is logged, counted (panics()) and ends nothing but itself. What a run() job throws is rethrown to
// its caller instead.
//
// run() and cancelling. While the job waits, ctx ends the wait and the job will not be run. Once it runs, run() waits
// for its end, whatever becomes of ctx: the job may use its caller's variables. A job that is to stop early looks at
// ctx itself.
//
// Invariants. Whatever is queued, or waits for room, has a running worker that will come to it: workers look there
// before they idle or end. Nobody idles while something is queued.
//
// Locking. One base Lock guards the queue and both kinds of waiters; whoever takes a job, or a waiter, out of its list
// under the lock decides its fate. Nobody is woken and nothing is run under it. Every decision is one hold of it, with
// all that follows from it: pool_state.hpp. Rejected: a Channel of jobs. It cannot give up a job in its middle when its
// caller goes, and closing it would race with senders who may not know yet.
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/flow/pool_state.hpp"
#include "core/flow/refusals.hpp"
#include "core/metric/metrics.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/runtime/wait.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::flow {

struct WorkerPoolOptions {
  runtime::FiberName name = "worker";  ///< of its fibers
  std::uint32_t least = 0;             ///< workers that never die of idleness; ≤ most
  std::uint32_t most = 8;              ///< workers; ≥ 1
  std::uint32_t queue = 100;           ///< jobs that may wait for a worker; 0: none
  std::chrono::nanoseconds max_wait = std::chrono::nanoseconds::max();
  std::chrono::nanoseconds idle = std::chrono::seconds(10);
  metric::Histogram* waits = nullptr;  ///< ns from submission to the start of each job that was run
};

namespace detail {

/// What the pool knows of a job.
class PoolJob : public ListHook {
 public:
  PoolJob() noexcept = default;
  PoolJob(const PoolJob&) = delete;
  PoolJob& operator=(const PoolJob&) = delete;
  /// On a worker. What it throws is the pool's.
  virtual void run() = 0;
  /// Instead of run(). Whoever is told must not park for long.
  virtual void refuse(std::error_code why) = 0;
  /// The last that the pool does with it.
  virtual void finish() noexcept = 0;

  std::int64_t since = 0;              // monotonic ns
  JobStage stage = JobStage::outside;  // under the pool's lock

 protected:
  ~PoolJob() = default;
};

template <class F>
class SubmittedJob final : public PoolJob {
 public:
  explicit SubmittedJob(F fn) : fn_(std::move(fn)) {}
  void run() override {
    if constexpr (std::invocable<F&, std::error_code>) {
      fn_(std::error_code{});
    } else {
      fn_();
    }
  }
  void refuse(std::error_code why) override {
    if constexpr (std::invocable<F&, std::error_code>) fn_(why);
  }
  void finish() noexcept override { delete this; }

 private:
  F fn_;
};

}  // namespace detail

/// submit, run and shutdown wait: only on fibers. try_submit and the rest: anywhere a runtime lives, also inside the
/// scheduler. Thread-safe.
class WorkerPool {
 public:
  enum class Queued : std::uint8_t { drain, drop };

  explicit WorkerPool(const WorkerPoolOptions& options) noexcept;
  /// It must have been shut down, or never used; else that is a BUG, and on a fiber it is done now (drop).
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// `fn()` or `fn(std::error_code)` (see above) runs on a worker. Waits while the queue is full. Errors, and then the
  /// pool has not got it (fn is destroyed without being told): pool_closed, queue_timeout, no_worker, the context's.
  /// Throws std::bad_alloc.
  template <class F>
  [[nodiscard]] Result<void> submit(const context::Context& ctx, F&& fn) {
    return as_result(submit_owned(std::make_unique<detail::SubmittedJob<std::decay_t<F>>>(std::forward<F>(fn)), &ctx));
  }
  /// As submit, but never waits: queue_full.
  template <class F>
  [[nodiscard]] Result<void> try_submit(F&& fn) {
    return as_result(
        submit_owned(std::make_unique<detail::SubmittedJob<std::decay_t<F>>>(std::forward<F>(fn)), nullptr));
  }
  /// Runs `fn` on a worker and waits for its result: Result<T> for T, void, std::error_code or Result<T>. `fn` may use
  /// the caller's variables. Errors as submit; an exception that leaves fn is rethrown here.
  template <runtime::ResultFunction F>
  [[nodiscard]] auto run(const context::Context& ctx, F&& fn);
  template <runtime::ResultFunction F>
  [[nodiscard]] auto run(F&& fn) {
    return run(context::background(), std::forward<F>(fn));
  }

  /// As run, but where that would wait for room in the queue it is refused: queue_full.
  template <runtime::ResultFunction F>
  [[nodiscard]] auto try_run(const context::Context& ctx, F&& fn);

  /// As try_submit would refuse at this moment: counted, and the reason. Anywhere.
  [[nodiscard]] Result<void> check() noexcept;

  /// No job is taken from now on; what is queued is run (drain) or refused (drop); submitters who wait for room are
  /// refused. Then waits until the last worker has ended and the last who waited in submit() or run() has left it; a
  /// context that is done ends that wait only. Success: the pool may be destroyed, once all who called this are back.
  /// Callable again, by several; drop after drain drops what is left. Not from a job of this pool: it would wait for
  /// itself.
  [[nodiscard]] Result<void> shutdown(const context::Context& ctx, Queued queued = Queued::drain);
  [[nodiscard]] Result<void> shutdown(Queued queued = Queued::drain) { return shutdown(context::background(), queued); }

  [[nodiscard]] std::uint32_t workers() const noexcept;
  [[nodiscard]] std::uint32_t busy() const noexcept;    ///< workers that have a job
  [[nodiscard]] std::uint32_t queued() const noexcept;  ///< jobs
  [[nodiscard]] std::uint32_t waiting_for_room() const noexcept;
  [[nodiscard]] std::uint64_t completed() const noexcept { return completed_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t panics() const noexcept { return panics_.load(std::memory_order_relaxed); }
  /// Jobs whose submitter's context was done before they were run.
  [[nodiscard]] std::uint64_t gave_up() const noexcept { return gave_up_.load(std::memory_order_relaxed); }
  [[nodiscard]] const RefusalCounts& refusals() const noexcept { return refusals_; }

 private:
  using Job = detail::PoolJob;
  /// In one of the lists of PoolState.
  struct Waiter : sync::Waiter {
    void begin() noexcept { ticket = runtime::prepare_park(runtime::WaitReason::pool); }
  };
  struct IdleWorker : Waiter {
    Job* job = nullptr;
  };
  struct Submitter : Waiter {
    Job* job = nullptr;
    std::error_code refused;
  };
  struct Parts {
    using Ticket = runtime::Ticket;
    using Job = WorkerPool::Job;
    using Worker = IdleWorker;
    using Submitter = WorkerPool::Submitter;
    using Ended = Waiter;
    using Chain = sync::WakeChain;
  };
  using State = detail::BasicPoolState<Parts>;
  class RunJob;
  template <class F>
  class ResultJob;

  template <class T>
  std::error_code submit_owned(std::unique_ptr<T> job, const context::Context* ctx) {
    const std::error_code error = give(*job, ctx, false);
    if (!error) (void)job.release();  // the pool's now; it may be gone
    return error;
  }
  /// Success: the pool has it. `ctx` null: does not wait. `stays`: await() follows a success.
  std::error_code give(Job& job, const context::Context* ctx, bool stays);
  std::error_code wait_for_room(Submitter& me, const context::Context& ctx, Deadline limit, bool stays);
  std::error_code start_worker(Job& job, bool stays);
  std::error_code refused(errc why) noexcept;
  bool settle(errc why, const State::Refused& who, runtime::Ticket wake) noexcept;
  std::error_code await(RunJob& job, const context::Context& ctx);
  void worker(Job* job) noexcept;
  void carry_out(Job& job) noexcept;
  void tell(Job& job, std::error_code why) noexcept;
  void report_panic() noexcept;
  [[nodiscard]] std::error_code gave_up_by(std::error_code how) noexcept;
  [[nodiscard]] Deadline limit_of(const Job& job) const noexcept;

  const WorkerPoolOptions options_;
  mutable Lock lock_;
  State state_ FIBERD_GUARDED_BY(lock_);
  std::atomic<std::uint64_t> completed_{0};
  std::atomic<std::uint64_t> panics_{0};
  std::atomic<std::uint64_t> gave_up_{0};
  RefusalCounts refusals_;
};

/// A job on its caller's stack, who waits for it.
class WorkerPool::RunJob : public detail::PoolJob {
 public:
  explicit RunJob(WorkerPool& pool) noexcept : pool_(pool) {}
  void refuse(std::error_code why) override { refused_ = why; }
  void finish() noexcept override;

 protected:
  friend class WorkerPool;
  ~RunJob() = default;
  WorkerPool& pool_;
  runtime::Ticket ticket_;  // under the pool's lock
  bool done_ = false;
  std::error_code refused_;
  std::exception_ptr exception_;
};

template <class F>
class WorkerPool::ResultJob final : public RunJob {
 public:
  using Returned = std::invoke_result_t<F&>;
  template <class T>
  struct Wrapped {
    using type = Result<T>;
  };
  template <class T>
  struct Wrapped<Result<T>> {
    using type = Result<T>;
  };
  using Outcome = typename Wrapped<std::conditional_t<std::is_same_v<Returned, std::error_code>, void, Returned>>::type;

  ResultJob(WorkerPool& pool, F& fn) noexcept : RunJob(pool), fn_(fn) {}
  void run() override {
    try {
      if constexpr (std::is_void_v<Returned>) {
        fn_();
        outcome_.emplace();
      } else if constexpr (std::is_same_v<Returned, std::error_code>) {
        const std::error_code error = fn_();
        if (error) {
          outcome_.emplace(fail(error));
        } else {
          outcome_.emplace();
        }
      } else {
        outcome_.emplace(fn_());
      }
    } catch (...) {
      exception_ = std::current_exception();
    }
  }
  Outcome take(std::error_code error) {
    if (error) return fail(error);
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
    if (refused_) return fail(refused_);
    return std::move(*outcome_);
  }

 private:
  F& fn_;
  std::optional<Outcome> outcome_;
};

template <runtime::ResultFunction F>
auto WorkerPool::run(const context::Context& ctx, F&& fn) {
  ResultJob<std::remove_reference_t<F>> job(*this, fn);
  std::error_code error = give(job, &ctx, true);
  if (!error) error = await(job, ctx);
  return job.take(error);
}

template <runtime::ResultFunction F>
auto WorkerPool::try_run(const context::Context& ctx, F&& fn) {
  ResultJob<std::remove_reference_t<F>> job(*this, fn);
  std::error_code error = ctx.err();
  if (!error) error = give(job, nullptr, true);
  if (!error) error = await(job, ctx);
  return job.take(error);
}

}  // namespace fiberd::flow
