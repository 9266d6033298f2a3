#pragma once
// Once: a function that is called once, by whoever comes first; the others wait until it has returned.
//
// Semantics, as Go's sync.Once with panics: the first call of call() runs its function, and whatever happens there, the
// Once is done when it is left. If the function throws, the exception goes to that first caller; the function counts as
// having been called; everybody who waited, and everybody who comes later, returns as after a success, and no other
// function is ever tried. (std::call_once tries again. Then every caller of a function that fails the same way each
// time runs it again, one after the other, and who waits for whom depends on luck.) Who needs the error keeps it beside
// the Once.
//
// What the function wrote happens before every return of call(). A function that calls the same Once waits for itself,
// for ever, as in Go. After the first time call() costs one load.
#include <atomic>
#include <cstdint>
#include <system_error>
#include <utility>

#include "core/base/defer.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

class Once {
 public:
  Once() noexcept = default;
  ~Once() {
    if (state_.load(std::memory_order_acquire) == State::running) [[unlikely]]
      report_early_death("a once died while its function ran");
  }
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  /// Calls fn() if nobody has called anything here yet, else waits until that call is over. Only on a fiber, unless
  /// nobody else may be in here now.
  template <class F>
  void call(F&& fn) {
    if (!done()) (void)call_slow(context::Context(), std::forward<F>(fn));
  }

  /// The same; the wait obeys `ctx` (the function itself does not, unless it looks at it). A context that is done
  /// already: no call, no wait, its error. Errors: context::errc; nothing is known about the function then.
  template <class F>
  [[nodiscard]] Result<void> call(const context::Context& ctx, F&& fn) {
    if (const std::error_code error = ctx.err()) return fail(error);
    if (done()) return {};
    return as_result(call_slow(ctx, std::forward<F>(fn)));
  }

  /// The function has been called and left. Any thread.
  [[nodiscard]] bool done() const noexcept { return state_.load(std::memory_order_acquire) == State::done; }

 private:
  enum class State : std::uint8_t { fresh, running, done };

  template <class F>
  std::error_code call_slow(const context::Context& ctx, F&& fn) {
    State expected = State::fresh;
    if (!state_.compare_exchange_strong(expected, State::running, std::memory_order_acquire)) return wait(ctx);
    const defer released([this]() noexcept { finish(); });
    std::forward<F>(fn)();
    return {};
  }
  std::error_code wait(const context::Context& ctx) noexcept;
  void finish() noexcept;

  std::atomic<State> state_{State::fresh};
  Lock lock_;
  bool over_ FIBERD_GUARDED_BY(lock_) = false;  // under the lock: nobody waits any more
  WaitQueue waiters_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
