#pragma once
// blocking(fn): runs fn on the blocking pool while the fiber waits (WaitReason::blocking).
//
//   const int fd = runtime::blocking([&] { return open_leaf(path); });          // cannot be given up: no allocation
//   auto r = runtime::try_blocking(Deadline::in(1s), nullptr, [path] { … });      // may be given up
//
// A call that has begun cannot be stopped. Who gives up leaves it behind: the callable and its result live on the heap
// and die when the call ends, on the pool's thread. So what is passed to try_blocking must own all it uses; references
// to the fiber's stack are right only for blocking(). A job that had not started when it was given up is dropped.
//
// Exceptions of fn are carried to the fiber. One that comes after the fiber gave up has nobody to go to: it is logged.
// Off fibers, and in a simulation, fn runs at once in the caller.
#include <atomic>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/runtime/blocking_pool.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

namespace detail {

/// The value, or the exception, of a call.
template <class T>
class Outcome {
 public:
  template <class F>
  void run(F& fn) noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        std::invoke(fn);
        value_.emplace();
      } else {
        value_.emplace(std::invoke(fn));
      }
    } catch (...) {
      exception_ = std::current_exception();
    }
  }
  [[nodiscard]] const std::exception_ptr& exception() const noexcept { return exception_; }
  T take() {
    if (exception_ != nullptr) std::rethrow_exception(std::exchange(exception_, nullptr));
    if constexpr (!std::is_void_v<T>) return std::move(*value_);
  }

 private:
  struct Nothing {};
  std::optional<std::conditional_t<std::is_void_v<T>, Nothing, T>> value_;
  std::exception_ptr exception_;
};

/// try_blocking's result: a Result stays what it is, an error alone becomes a Result<void>, another type is wrapped.
template <class T>
using AsResult =
    std::conditional_t<is_result<T>, T, Result<std::conditional_t<std::is_same_v<T, std::error_code>, void, T>>>;

void log_orphaned_exception(const std::exception_ptr& exception) noexcept;

template <class F, class T>
struct StackJob : BlockingPool::Job {
  explicit StackJob(F& f) noexcept : fn(f) {
    run = [](BlockingPool::Job& job) noexcept {
      auto& self = static_cast<StackJob&>(job);
      self.outcome.run(self.fn);
      wake(Ticket(self.ticket));  // a copy: after the wake the fiber may end and take the job along
    };
  }
  F& fn;
  Ticket ticket;
  Outcome<T> outcome;
};

template <class F, class T>
struct HeapJob : BlockingPool::Job {
  template <class G>
  explicit HeapJob(G&& f) : fn(std::forward<G>(f)) {  // NOLINT: a job is never copied, so nothing is hidden
    run = [](BlockingPool::Job& job) noexcept {
      auto& self = static_cast<HeapJob&>(job);
      self.outcome.run(self.fn);
      const bool heard = wake(self.ticket);
      if (!heard && self.outcome.exception() != nullptr) log_orphaned_exception(self.outcome.exception());
      self.release();
    };
  }
  void release() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  F fn;
  Ticket ticket;
  Outcome<T> outcome;
  std::atomic<unsigned> references{2};  // the fiber and the pool
};

/// try_blocking with a translation of the give-up: `error_for(Wake::timeout | Wake::canceled)` → std::error_code.
template <class F, class ErrorOf>
auto try_blocking(Deadline deadline, Cancellation* cancellation, F&& fn, ErrorOf error_for)
    -> AsResult<std::invoke_result_t<std::decay_t<F>&>> {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  using R = AsResult<T>;
  const auto value_of = [](Outcome<T>& outcome) -> R {
    if constexpr (std::is_void_v<T>) {
      outcome.take();
      return R();
    } else if constexpr (std::is_same_v<T, std::error_code>) {
      if (const std::error_code error = outcome.take()) return fail(error);
      return R();
    } else {
      return R(outcome.take());
    }
  };
  if (cancellation != nullptr && cancellation->canceled()) return fail(error_for(Wake::canceled));
  if (past(deadline)) return fail(error_for(Wake::timeout));
  if (!on_fiber() || current_blocking_pool().runs_inline()) {
    std::decay_t<F> callable(std::forward<F>(fn));
    Outcome<T> outcome;
    outcome.run(callable);
    return value_of(outcome);
  }

  using Job = HeapJob<std::decay_t<F>, T>;
  struct Release {
    void operator()(Job* j) const noexcept { j->release(); }
  };
  const std::unique_ptr<Job, Release> job(new Job(std::forward<F>(fn)));
  BlockingPool& pool = current_blocking_pool();
  const Ticket ticket = prepare_park(WaitReason::blocking);
  job->ticket = ticket;
  if (const std::error_code error = pool.submit(*job)) {
    (void)abandon_park(ticket);
    job->release();
    return fail(error);
  }
  const Wake how = park_until(ticket, deadline, cancellation);
  if (how == Wake::ready) return value_of(job->outcome);
  if (pool.withdraw(*job)) job->release();
  return fail(error_for(how));
}

}  // namespace detail

/// What can be called on another thread or fiber for its result: it returns nothing, or a value, but no reference
/// (return a pointer).
template <class F>
concept ResultFunction = std::invocable<F> && !std::is_reference_v<std::invoke_result_t<F>>;

/// Runs `fn` on the pool and returns its value; rethrows its exception. Obeys no deadline: waits for the call's end.
/// Throws std::system_error(resource_unavailable_try_again) when the pool has no thread and cannot start one.
template <ResultFunction F>
auto blocking(F&& fn) -> std::invoke_result_t<F> {
  using T = std::invoke_result_t<F>;
  if (!on_fiber() || current_blocking_pool().runs_inline()) return std::invoke(std::forward<F>(fn));
  detail::StackJob<std::remove_reference_t<F>, T> job(fn);
  job.ticket = prepare_park(WaitReason::blocking);
  if (const std::error_code error = current_blocking_pool().submit(job)) {
    (void)abandon_park(job.ticket);
    throw std::system_error(error, "blocking pool");
  }
  (void)park_until(job.ticket);
  return job.outcome.take();
}

/// As blocking(), until `deadline` (std::errc::timed_out) or `cancellation` (std::errc::operation_canceled); both are
/// looked at before anything is done. `cancellation` may be nullptr. A Result that fn returns is passed on as it is,
/// and an error code becomes a Result<void>: success when it is none.
/// Errors also: resource_unavailable_try_again when the pool has no thread and cannot start one.
template <ResultFunction F>
auto try_blocking(Deadline deadline, Cancellation* cancellation, F&& fn) {
  return detail::try_blocking(deadline, cancellation, std::forward<F>(fn), [](Wake how) { return to_error(how); });
}

}  // namespace fiberd::runtime
