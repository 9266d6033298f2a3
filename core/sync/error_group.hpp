#pragma once
// ErrorGroup: golang.org/x/sync/errgroup for fibers: parts of one piece of work, of which the first that fails ends
// all.
//
//   ErrorGroup group(ctx);
//   for (auto& part : parts) group.go("part", [&] { return fetch(group.context(), part); });
//   if (const Result<void> done = group.wait(); !done) …
//
// A part fails by returning an error or by an exception. The first failure is the group's: it cancels context() with
// that error as its cause (errc::exception, or a std::system_error's code, for an exception), and wait() returns or
// rethrows it. Later errors are counted (failures()); a later *exception* ends its fiber as any exception does: logged
// there with name and trace, and counted in fiberd_fibers_panicked_total.
//
// As in errgroup, parts that come after a failure are still started: they find their context done. Unlike there, the
// group waits for its parts when it is destroyed, after cancelling them: they may use what stands around it. An
// exception that no wait() has rethrown by then is logged.
//
// What the parts share with the group is counted by reference: the last part to end may still be leaving it while the
// waiter goes on and destroys the group.
#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/context/context.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/wait_group.hpp"

namespace fiberd::sync {

/// A part: nothing comes back, or an error.
template <class F>
concept GroupTask = std::invocable<F&> &&
    (std::is_void_v<std::invoke_result_t<F&>> || std::convertible_to<std::invoke_result_t<F&>, std::error_code> ||
     is_result<std::invoke_result_t<F&>>);

/// Made, used and destroyed on fibers. go(), try_go(), context(), failures(): any fiber, at the same time.
class ErrorGroup {
 public:
  /// context() is a child of `parent`. Throws std::bad_alloc.
  explicit ErrorGroup(const context::Context& parent = context::background());
  /// Cancels context() and waits until every part has ended.
  ~ErrorGroup();
  ErrorGroup(const ErrorGroup&) = delete;
  ErrorGroup& operator=(const ErrorGroup&) = delete;

  /// What the parts should obey: done at the first failure, when wait() has returned, or with the parent.
  [[nodiscard]] const context::Context& context() const noexcept { return state_->cancelable.context; }

  /// At most `n` parts at a time; 0: no new ones may start (go() waits until the limit is another, or its context is
  /// done); negative: no limit, as at the beginning. Only while there are no parts: otherwise a BUG, and nothing
  /// changes. A go() that waits for a place is no part yet: the new limit holds for it.
  void set_limit(std::int64_t n);

  /// Runs `fn` on a fiber of its own, as soon as the limit allows: waits until then (WaitReason::semaphore). When spawn
  /// refuses, its error becomes the group's as if the part had returned it.
  template <class F>
  requires GroupTask<std::decay_t<F>>
  void go(runtime::FiberName name, F&& fn, SourceLocation where = SourceLocation::current()) {
    const bool limited = state_->limited.load(std::memory_order_acquire);
    if (limited) (void)state_->places.acquire();
    if (auto started = start(Place(state_, limited), name, std::forward<F>(fn), where); !started)
      state_->fail(started.error());
  }
  /// The same; the wait for a place obeys `ctx`. Success: handed to the group, as by go(). Otherwise context::errc, and
  /// nothing has happened.
  template <class F>
  requires GroupTask<std::decay_t<F>>
  [[nodiscard]] Result<void> go(const context::Context& ctx, runtime::FiberName name, F&& fn,
                                SourceLocation where = SourceLocation::current()) {
    const bool limited = state_->limited.load(std::memory_order_acquire);
    if (const std::error_code error = limited ? error_of(state_->places.acquire(ctx)) : ctx.err()) return fail(error);
    if (auto started = start(Place(state_, limited), name, std::forward<F>(fn), where); !started)
      state_->fail(started.error());
    return {};
  }
  /// Never waits. Errors: resource_unavailable_try_again (the limit is reached), and spawn's; the part is not run then,
  /// and the group's error is not touched: the caller knows.
  template <class F>
  requires GroupTask<std::decay_t<F>>
  [[nodiscard]] Result<void> try_go(runtime::FiberName name, F&& fn, SourceLocation where = SourceLocation::current()) {
    const bool limited = state_->limited.load(std::memory_order_acquire);
    if (limited && !state_->places.try_acquire()) return fail(std::errc::resource_unavailable_try_again);
    return start(Place(state_, limited), name, std::forward<F>(fn), where);
  }

  /// Waits until every part has ended, then cancels context(). Returns the first error, or rethrows if the first
  /// failure was an exception (every wait() does). A later go() starts a new round under a context that is done.
  [[nodiscard]] Result<void> wait();
  /// The same, but gives up when `ctx` is done: then context::errc while parts still run (running() > 0), which are not
  /// cancelled by that.
  [[nodiscard]] Result<void> wait(const context::Context& ctx);

  /// Parts that have not ended.
  [[nodiscard]] std::uint64_t running() const noexcept { return state_->parts.count(); }
  /// Parts that failed, the first included.
  [[nodiscard]] std::uint64_t failures() const noexcept;

 private:
  static constexpr std::int64_t kPlaces = std::int64_t{1} << 62U;
  struct State {
    /// True: it was the first, and is the group's.
    bool fail(std::error_code error, runtime::Recovered thrown = {}) noexcept;
    bool fail(runtime::Recovered thrown) noexcept;

    context::Cancelable cancelable;
    std::atomic<bool> limited{false};
    Semaphore places{static_cast<std::uint64_t>(kPlaces)};  // the same one for ever: a go() may wait in it
    std::int64_t shut = 0;                                  // so many of them the limit has taken out
    WaitGroup parts;
    Lock lock;
    std::error_code first_error FIBERD_GUARDED_BY(lock);
    runtime::Recovered first_exception FIBERD_GUARDED_BY(lock);
    std::uint64_t failed FIBERD_GUARDED_BY(lock) = 0;
    bool rethrown = false;  // by the group's owner only
  };

  /// A part's place in the group; given back when the part is over, or was never run.
  class Place {
   public:
    /// `limited`: one of the places was taken for it.
    Place(std::shared_ptr<State> state, bool limited) noexcept : state_(std::move(state)), limited_(limited) {
      state_->parts.add();
    }
    Place(Place&&) noexcept = default;
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (state_ == nullptr) return;
      if (limited_) state_->places.release();
      state_->parts.done();
    }
    State& state() noexcept { return *state_; }

   private:
    std::shared_ptr<State> state_;
    bool limited_;
  };

  template <class F>
  class Task {
   public:
    Task(Place place, F fn) : place_(std::move(place)), fn_(std::move(fn)) {}
    void operator()() {
      try {
        if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
          fn_();
        } else if constexpr (is_result<std::invoke_result_t<F&>>) {
          if (const auto result = fn_(); !result) place_.state().fail(result.error());
        } else if (const std::error_code error = fn_()) {
          place_.state().fail(error);
        }
      } catch (...) {
        // Not the first: the fiber's root logs and counts it.
        if (!place_.state().fail(runtime::Recovered(std::current_exception()))) throw;
      }
    }

   private:
    Place place_;  // dies after fn_ and what it owns
    F fn_;
  };

  /// The place is there before `fn` is copied, which may throw: what the limit gave out is given back in any case.
  template <class F>
  [[nodiscard]] Result<void> start(Place place, runtime::FiberName name, F&& fn, SourceLocation where) {
    return runtime::spawn(name, Task<std::decay_t<F>>(std::move(place), std::forward<F>(fn)), where);
  }
  std::error_code finish() FIBERD_UNCHECKED_LOCKING;  // no part is left

  std::shared_ptr<State> state_;
};

}  // namespace fiberd::sync
