#pragma once
// after_func: a function that is called when a Context is done, as Go's context.AfterFunc. For what cannot wait on the
// context itself: to close a foreign handle, to wake a queue of one's own.
#include "core/base/source_location.hpp"
#include "core/base/unique_function.hpp"
#include "core/context/context.hpp"

namespace fiberd::context {

namespace detail {
class AfterRecord;
}

/// Takes an after_func back. Copies are of one registration. Keeps the context alive. Dropping it stops nothing.
class StopFunction {
 public:
  StopFunction() noexcept = default;
  StopFunction(const StopFunction& o) noexcept;
  StopFunction(StopFunction&& o) noexcept
      : context_(std::move(o.context_)), record_(std::exchange(o.record_, nullptr)) {}
  StopFunction& operator=(StopFunction o) noexcept {
    std::swap(context_, o.context_);
    std::swap(record_, o.record_);
    return *this;
  }
  ~StopFunction();
  /// True: the function will not be called; it is destroyed before this returns. False: it has been started (and may be
  /// running still), or was stopped before. Any thread; never parks.
  bool operator()() const noexcept;

 private:
  friend StopFunction after_func(const Context&, UniqueFunction, SourceLocation);
  StopFunction(Context context, detail::AfterRecord* record) noexcept : context_(std::move(context)), record_(record) {}
  Context context_;
  detail::AfterRecord* record_ = nullptr;
};

/// Calls `fn` once, on a fiber of its own, when `context` is done; at once if it is. Destroys it uncalled when it is
/// stopped, or when the last handle to `context` and those below goes and it was never done. When no fiber can be had
/// it is tried again, after 1 ms and at most 1 s; that is logged. Needs a runtime when `context` is done: without one
/// `fn` is destroyed, logged as an error. Throws std::bad_alloc. Any thread.
StopFunction after_func(const Context& context, UniqueFunction fn, SourceLocation where = SourceLocation::current());

}  // namespace fiberd::context
