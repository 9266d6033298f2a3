#pragma once
// Context: a deadline, a cancellation and values that travel along with a piece of work, as Go's context.Context.
//
// Contexts form a tree. background() is the root: never done. with_cancel, with_deadline and with_timeout derive a
// child. A context is done when its CancelFunction is called, when its deadline passes, or when its parent is done,
// whichever is first; that is final, happens once, and reaches every descendant with the same err() and cause().
// with_value (value.hpp) adds a value, without_cancel cuts the tie to the parent's end, after_func (after_func.hpp) has
// a function called at the end.
//
// Rules of use:
//  - Pass a Context as the first argument (`const Context&`), from caller to callee. Do not keep one in a struct that
//    outlives the work: what a struct needs is a context of its own.
//  - Call the CancelFunction on every path, usually through a scope guard, as soon as the work is over: it takes the
//    child out of its parent. One that dies uncalled cancels nothing; a context that ends without ever having been done
//    is counted, with the place that made it (live_contexts.hpp): where that grows, somebody forgets.
//  - A Context gives no right to cancel it: that is the CancelFunction's, which with_cancel and its like return, and
//  which
//    is handed on only to who shall have it.
//  - Cancelling says "the answer is no longer wanted"; it does not wait until the work has stopped.
//  - A Context is safe to use from any number of fibers and threads at once, like a shared_ptr's object; one *handle*
//    is not (copy it).
//
// How it works: node.hpp.
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/source_location.hpp"
#include "core/context/errc.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::context {

class Context;

namespace detail {
class Link;
class Node;
struct Access;
void acquire(Link* link) noexcept;
void release(Link* link) noexcept;
/// Makes a context done whose deadline a wait has seen pass.
void expire(const Context& context) noexcept;
}  // namespace detail

class Context {
 public:
  /// background()
  constexpr Context() noexcept = default;
  Context(const Context& o) noexcept : link_(o.link_) {
    if (link_ != nullptr) detail::acquire(link_);
  }
  Context(Context&& o) noexcept : link_(std::exchange(o.link_, nullptr)) {}
  Context& operator=(Context o) noexcept {
    std::swap(link_, o.link_);
    return *this;
  }
  ~Context() {
    if (link_ != nullptr) detail::release(link_);
  }

  /// True when it was cancelled or its deadline has passed. An atomic load; of a context with a deadline that is not
  /// done yet also a look at the clock.
  [[nodiscard]] bool done() const noexcept { return static_cast<bool>(err()); }
  /// Success while not done; then errc::canceled or errc::deadline_exceeded. Costs what done() costs.
  [[nodiscard]] std::error_code err() const noexcept;
  /// The error given to the CancelFunction that did it, or with the deadline that passed, here or in an ancestor;
  /// otherwise the same as err().
  [[nodiscard]] std::error_code cause() const noexcept;
  /// The earliest deadline of this context and its ancestors; Deadline::never() without one.
  [[nodiscard]] Deadline deadline() const noexcept;
  /// What waits obey; nullptr where nothing cancels. Valid as long as this handle, or a copy, lives. Who waits on it is
  /// woken at the deadline too, for which the context's own timer is armed: a place in a timer heap, once.
  [[nodiscard]] runtime::Cancellation* cancellation() const noexcept;
  /// As cancellation(), for a wait that is told deadline() as well: the fiber's own timer ends it, and arming that is
  /// one store. After Wake::timeout call to_error (waits.hpp), so that the context is done too.
  [[nodiscard]] runtime::Cancellation* wait_point() const noexcept;

  friend bool operator==(const Context& a, const Context& b) noexcept { return a.link_ == b.link_; }

 private:
  friend struct detail::Access;
  explicit Context(detail::Link* adopted) noexcept : link_(adopted) {}
  detail::Link* link_ = nullptr;
};

/// Makes its context done with errc::canceled. Callable many times, from any thread; only the first counts. Keeps the
/// context alive. Does not cancel when destroyed.
class CancelFunction {
 public:
  /// Does nothing.
  CancelFunction() noexcept = default;
  /// `cause`: what cause() then says; success means none. Never parks.
  void operator()(std::error_code cause = {}) const noexcept;

 private:
  // Not from a context: whoever is given one could end its caller's work.
  friend struct detail::Access;
  explicit CancelFunction(Context context) noexcept : context_(std::move(context)) {}
  Context context_;
};

struct Cancelable {
  Context context;
  CancelFunction cancel;
};

/// The root: never done, no deadline.
[[nodiscard]] inline Context background() noexcept { return Context(); }
/// A child of `parent`; done at once if the parent is. `where` is what live_contexts.hpp tells of it. Throws
/// std::bad_alloc. Any thread.
[[nodiscard]] Cancelable with_cancel(const Context& parent, SourceLocation where = SourceLocation::current());
/// As with_cancel, and done with errc::deadline_exceeded at `deadline` or its parent's deadline. A deadline already
/// past: done at once. `cause`: what cause() says when this deadline was the end; success means none.
[[nodiscard]] Cancelable with_deadline(const Context& parent, Deadline deadline, std::error_code cause = {},
                                       SourceLocation where = SourceLocation::current());
/// with_deadline(parent, Deadline::in(timeout), cause).
[[nodiscard]] Cancelable with_timeout(const Context& parent, std::chrono::nanoseconds timeout,
                                      std::error_code cause = {}, SourceLocation where = SourceLocation::current());
/// The values of `parent`, but neither its end nor its deadline: for work that a request leaves behind. Never done.
/// Throws std::bad_alloc.
[[nodiscard]] Context without_cancel(const Context& parent);

}  // namespace fiberd::context
