#pragma once
// after_func: a function that is called, on a fiber of its own, when a time has passed: Go's time.AfterFunc. (When a
// context is done: context::after_func.)
//
//   const sync::FunctionTimer reminder = sync::after_func(5s, [session] { session->remind(); });
//   …
//   reminder.stop();
#include <chrono>
#include <utility>

#include "core/base/source_location.hpp"
#include "core/base/unique_function.hpp"

namespace fiberd::sync {

namespace detail {
class FunctionRecord;
}

/// The handle of an after_func. Copies are of one timer. Dropping it stops nothing. stop() and reset(): any thread, at
/// the same time; they never park.
class FunctionTimer {
 public:
  FunctionTimer() noexcept = default;
  FunctionTimer(const FunctionTimer& o) noexcept;
  FunctionTimer(FunctionTimer&& o) noexcept : record_(std::exchange(o.record_, nullptr)) {}
  FunctionTimer& operator=(FunctionTimer o) noexcept {
    std::swap(record_, o.record_);
    return *this;
  }
  ~FunctionTimer();

  /// True: the call that stood out will not be made. False: none did; the last one may be running still, and is not
  /// waited for.
  bool stop() const noexcept;
  /// The function is called `duration` from now, and not when it was to be called before. The answer is as stop()'s:
  /// after false the last call and the next may run at the same time.
  bool reset(std::chrono::nanoseconds duration) const noexcept;

 private:
  friend FunctionTimer after_func(std::chrono::nanoseconds, UniqueFunction, SourceLocation);
  explicit FunctionTimer(detail::FunctionRecord* adopted) noexcept : record_(adopted) {}
  detail::FunctionRecord* record_ = nullptr;
};

/// Calls `fn` once, `duration` from now (not positive: at once), and again after each reset() that comes later. It is
/// destroyed when no call stands out or runs and no handle is left, by whoever lets go last: the fiber that called it,
/// or the owner of the handle. When no fiber can be had it is tried again, after 1 ms and at most 1 s. Only while a
/// runtime runs; what stands out when that ends is neither called nor destroyed. Throws std::bad_alloc. Any thread;
/// never parks.
FunctionTimer after_func(std::chrono::nanoseconds duration, UniqueFunction fn,
                         SourceLocation where = SourceLocation::current());

}  // namespace fiberd::sync
