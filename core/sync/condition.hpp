#pragma once
// Condition: sync.Cond, or std::condition_variable for fibers, over sync::Mutex.
#include <concepts>
#include <system_error>
#include <utility>

#include "core/context/context.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Waits release the mutex and hold it again when they return, whatever they return. No spurious wake-ups, but between
/// a notification and the return of the wait others may have held the mutex: look at the condition again, or use the
/// forms with a predicate. notify_one and notify_all: any thread, with or without the mutex. WaitReason::condition.
class Condition {
 public:
  Condition() noexcept = default;
  ~Condition() { queue_.dies("a condition died while fibers waited for it"); }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  /// `held` is anything with a mutex() that is locked by the calling fiber: std::unique_lock<Mutex>.
  template <class Guard>
  void wait(Guard& held) noexcept {
    (void)wait_on(*held.mutex(), nullptr);
  }
  template <class Guard, std::predicate Predicate>
  void wait(Guard& held, Predicate&& predicate) {
    while (!predicate()) wait(held);
  }
  /// Success: notified. Otherwise context::errc. The mutex is held in either case. errc::not_owner when the caller did
  /// not hold it, which is a BUG: then it was not waited, and the mutex is not held.
  template <class Guard>
  [[nodiscard]] Result<void> wait(const context::Context& ctx, Guard& held) noexcept {
    return as_result(wait_on(*held.mutex(), &ctx));
  }
  /// Success: the predicate holds.
  template <class Guard, std::predicate Predicate>
  [[nodiscard]] Result<void> wait(const context::Context& ctx, Guard& held, Predicate&& predicate) {
    while (!predicate())
      if (const Result<void> woken = this->wait(ctx, held); !woken.has_value())
        return predicate() ? Result<void>() : woken;
    return {};
  }
  void notify_one() noexcept;
  void notify_all() noexcept;

 private:
  [[nodiscard]] std::error_code wait_on(Mutex& mutex, const context::Context* ctx) noexcept;
  Lock lock_;
  WaitQueue queue_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
