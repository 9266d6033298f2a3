#pragma once
// Task: a fiber that somebody joins: what its function returns, or throws, comes to whoever asks for it.
//
//   Result<sync::Task<Image>> left = sync::spawn_task("left", [&] { return render(scene, Half::left); });
//   if (!left) return fail(left.error());                      // no fiber for it
//   const Image right = render(scene, Half::right);
//   const Result<Image> image = left->join(ctx);               // rethrows what render threw
//
// The result is a Result: a function that returns Result<T> has a Task<T> (nothing is wrapped twice), one that returns
// std::error_code a Task<void>, every other one a Task of what it returns.
//
// Exceptions. join() rethrows, as std::future::get and ErrorGroup::wait do: who joins stands where the call would have
// stood, and an exception passes through a call. Translating it into an error would lose what it says.
//
// A Task that dies unjoined lets its fiber go on, detached, as in Go; its value, or error, is dropped with it. Its
// exception is not: the last one to let go of the task, the handle or the fiber, reports it as one that leaves a plain
// fiber's function is: logged with name, spawn site and trace, and counted in fiberd_fibers_panicked_total. Rejected:
// joining in the destructor, as std::jthread does. It is a wait that obeys no context, at a place where nobody expects
// one and perhaps off a fiber, under a lock, or while an exception passes; and who must have all parts ended before
// what they use goes away has ErrorGroup and WaitGroup for it. Rejected, too: terminating, as std::thread does.
//
// Several joiners. join() may be called by any number of fibers at once, and again. Success without a value, an error
// and an exception are told to each; a value is moved to one of them, the first, and the others get
// errc::already_joined. (Copying for each would make what a call does depend on whether a type can be copied.)
//
// Cost. One allocation, which holds the function, its result and the list of those who wait. A plain spawn pays
// nothing: nothing of this is in the fiber. What the function owns is destroyed before its task is done.
#include <atomic>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/base/bug.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/context/context.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

namespace detail {

template <class R>
struct TaskValue {
  using type = R;
};
template <class T>
struct TaskValue<Result<T>> {
  using type = T;
};
template <>
struct TaskValue<std::error_code> {
  using type = void;
};

/// What does not depend on the result: two references (the handle's and the fiber's), the end, and who waits for it.
class TaskCore {
 public:
  TaskCore() noexcept = default;
  TaskCore(const TaskCore&) = delete;
  TaskCore& operator=(const TaskCore&) = delete;
  virtual ~TaskCore() = default;
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire) != 0; }
  /// Success: done. nullptr: nothing but the end ends the wait.
  [[nodiscard]] std::error_code wait(const context::Context* ctx) noexcept;

 protected:
  /// The result is there. Whoever was waiting may destroy the handle as soon as it runs; the fiber's reference stays.
  void finish() noexcept;

 private:
  std::atomic<std::uint32_t> references_{2};
  std::atomic<std::uint32_t> done_{0};  // a number, since threads outside wait on it
  Lock lock_;
  WaitQueue waiters_ FIBERD_GUARDED_BY(lock_);
};

template <class T>
class TaskState : public TaskCore {
 public:
  ~TaskState() override {
    if (const Thrown* const thrown = std::get_if<Thrown>(&outcome_); thrown != nullptr && !claimed_.load())
      runtime::report_panic(thrown->by, thrown->what);
  }
  /// After done(). Rethrows what the function threw.
  Result<T> take() {
    if (const Thrown* const thrown = std::get_if<Thrown>(&outcome_)) {
      claimed_.store(true);
      thrown->what.rethrow();
    }
    auto& result = std::get<Result<T>>(outcome_);
    if constexpr (std::is_void_v<T>) {
      return result;
    } else {
      if (!result) return fail(result.error());
      if (claimed_.exchange(true)) return fail(errc::already_joined);
      return std::move(result);
    }
  }

 protected:
  template <class F>
  void run(F& fn) noexcept {
    try {
      using R = std::invoke_result_t<F&>;
      if constexpr (std::is_void_v<R>) {
        fn();
        outcome_.template emplace<Result<T>>();
      } else if constexpr (std::is_same_v<R, std::error_code>) {
        if (const std::error_code error = fn())
          outcome_.template emplace<Result<T>>(fail(error));
        else
          outcome_.template emplace<Result<T>>();
      } else if constexpr (std::is_same_v<R, Result<T>>) {
        outcome_.template emplace<Result<T>>(fn());
      } else {
        outcome_.template emplace<Result<T>>(tl::in_place, fn());
      }
    } catch (...) {
      outcome_.template emplace<Thrown>(
          Thrown{runtime::current_origin(), runtime::Recovered(std::current_exception())});
    }
  }

 private:
  struct Thrown {
    runtime::FiberOrigin by;
    runtime::Recovered what;
  };
  std::variant<std::monostate, Result<T>, Thrown> outcome_;  // written before finish(), then only its value is moved
  std::atomic<bool> claimed_{false};                         // the value has been taken, the exception been thrown
};

template <class T, class F>
class TaskBlock final : public TaskState<T> {
 public:
  template <class G>
  TaskBlock(std::in_place_t /*tag*/, G&& fn) : fn_(std::forward<G>(fn)) {}
  void run() noexcept {
    TaskState<T>::run(*fn_);
    fn_.reset();
    TaskState<T>::finish();
  }

 private:
  std::optional<F> fn_;
};

struct ReleaseTask {
  void operator()(TaskCore* state) const noexcept { state->release(); }
};

}  // namespace detail

/// What a task can run: it takes nothing and returns nothing, or a value, but no reference (return a pointer).
template <class F>
concept TaskFunction = std::invocable<F&> && !std::is_reference_v<std::invoke_result_t<F&>>;

/// A handle to a fiber's result. Movable. join(), wait() and done(): any number of fibers at once; moving and
/// destroying must not race with them, as with any object. WaitReason::join.
template <class T>
class [[nodiscard]] Task {
 public:
  /// Of no fiber: joining it is a BUG and std::errc::invalid_argument.
  Task() noexcept = default;

  /// Waits until the function has returned, and gives what it returned or throws what it threw. A value is given once:
  /// then errc::already_joined. Off fibers it blocks the thread; in a scheduler's callback it is a BUG and
  /// std::errc::operation_not_permitted.
  [[nodiscard]] Result<T> join() { return join_under(nullptr); }
  /// The same, but gives up when `ctx` is done: context::errc; the fiber goes on, and may be joined later. (The
  /// function may return the same error: then done() is true.) Only on a fiber, unless nothing can cancel `ctx`:
  /// otherwise a BUG and std::errc::operation_not_permitted.
  [[nodiscard]] Result<T> join(const context::Context& ctx) { return join_under(&ctx); }
  /// Waits as join(ctx), and leaves the result to a later join().
  [[nodiscard]] Result<void> wait(const context::Context& ctx) const noexcept { return as_result(wait_under(&ctx)); }
  /// The function has returned, and all it owned is gone. Any thread.
  [[nodiscard]] bool done() const noexcept { return state_ != nullptr && state_->done(); }
  /// Has a fiber: it was neither detached nor moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
  /// Lets the fiber go on alone, as the destructor does.
  void detach() noexcept { state_.reset(); }

 private:
  template <TaskFunction F>
  friend auto spawn_task(const runtime::SpawnOptions& options, F&& fn, SourceLocation where);
  explicit Task(detail::TaskState<T>* state) noexcept : state_(state) {}

  std::error_code wait_under(const context::Context* ctx) const noexcept {
    if (FIBERD_BUG_IF(state_ == nullptr)) return std::make_error_code(std::errc::invalid_argument);
    return state_->wait(ctx);
  }
  Result<T> join_under(const context::Context* ctx) {
    if (const std::error_code error = wait_under(ctx)) return fail(error);
    return state_->take();
  }

  std::unique_ptr<detail::TaskState<T>, detail::ReleaseTask> state_;
};

/// Starts `fn` on a new fiber and returns Result<Task<T>>, T as said above. Errors: spawn's; `fn` is then destroyed
/// unrun. Throws std::bad_alloc, and what copying `fn` throws.
template <TaskFunction F>
[[nodiscard]] auto spawn_task(const runtime::SpawnOptions& options, F&& fn,
                              SourceLocation where = SourceLocation::current()) {
  using Function = std::decay_t<F>;
  using T = typename detail::TaskValue<std::remove_cv_t<std::invoke_result_t<Function&>>>::type;
  using Block = detail::TaskBlock<T, Function>;
  auto* const block = new Block(std::in_place, std::forward<F>(fn));
  Task<T> task(block);
  // The fiber's reference; given back when it has run, or was refused.
  std::unique_ptr<Block, detail::ReleaseTask> own(block);
  const Result<void> spawned = runtime::spawn(
      options, [own = std::move(own)] { own->run(); }, where);
  if (!spawned) return Result<Task<T>>(fail(spawned.error()));
  return Result<Task<T>>(std::move(task));
}
template <TaskFunction F>
[[nodiscard]] auto spawn_task(runtime::FiberName name, F&& fn, SourceLocation where = SourceLocation::current()) {
  return spawn_task(runtime::SpawnOptions{.name = name}, std::forward<F>(fn), where);
}

}  // namespace fiberd::sync
