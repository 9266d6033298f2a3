#pragma once
// Context: a deadline and a cancellation that travel along with a piece of work, as Go's context.Context.
//
// Contexts form a tree. background() is the root: never done. with_cancel, with_deadline and with_timeout derive a
// child. A context is done when its CancelFunction is called, when its deadline passes, or when its parent is done,
// whichever is first; that is final, happens once, and reaches every descendant with the same err() and cause().
//
// Rules of use:
//  - Pass a Context as the first argument (`const Context&`), from caller to callee. Do not keep one in a struct that
//    outlives the work: what a struct needs is a context of its own.
//  - Call the CancelFunction on every path, usually through a scope guard, as soon as the work is over: it takes the
//    child out of its parent. One that dies uncalled cancels nothing; a context that ends without ever having been done
//    is counted (never_canceled_count()): where that grows, somebody forgets.
//  - Cancelling says "the answer is no longer wanted"; it does not wait until the work has stopped.
//  - A Context is safe to use from any number of fibers and threads at once, like a shared_ptr's object; one *handle*
//    is not (copy it).
//
// How it works. A handle is an intrusive reference to a node; background is the null handle. A node is a
// runtime::Cancellation, in which waiting fibers hang, and holds a reference to its parent; the parent knows its
// children by an intrusive list without owning them. Going done: under the node's lock the reason is set, once, and the
// children are taken out, each with a reference if it is not already dying; then, without the lock, the node's waiters
// are woken and the children follow, from a work list rather than by recursion. No two locks are ever held together. A
// dying child unlinks itself under its parent's lock, so whoever holds that lock sees only children whose memory still
// lives.
//
// The deadline is a runtime::Timer of the node whose callback makes it done. A parent's earlier deadline is the child's
// too and needs no timer of its own. A deadline that is not reached costs the store that arms it and the one that
// disarms it (timer.hpp).
//
// Rejected: cancelling in the destructor of the handle. Handles are copied into spawned fibers, so it would make the
// order in which copies die part of the meaning.
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/context/errc.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::context {

namespace detail {
class Node;
void acquire(Node* node) noexcept;
void release(Node* node) noexcept;
}  // namespace detail

class Context;
namespace detail {
/// Makes a context done whose deadline a wait has seen pass before the context's timer did.
void expire(const Context& context) noexcept;
}  // namespace detail

class Context {
 public:
  /// background()
  constexpr Context() noexcept = default;
  Context(const Context& o) noexcept : node_(o.node_) {
    if (node_ != nullptr) detail::acquire(node_);
  }
  Context(Context&& o) noexcept : node_(std::exchange(o.node_, nullptr)) {}
  Context& operator=(Context o) noexcept {
    std::swap(node_, o.node_);
    return *this;
  }
  ~Context() {
    if (node_ != nullptr) detail::release(node_);
  }

  /// True when it was cancelled or its deadline has passed (and the timer has said so). One atomic load.
  [[nodiscard]] bool done() const noexcept;
  /// Success while not done; then errc::canceled or errc::deadline_exceeded. One atomic load.
  [[nodiscard]] std::error_code err() const noexcept;
  /// The error given to the CancelFunction that did it, here or in an ancestor; otherwise the same as err().
  [[nodiscard]] std::error_code cause() const noexcept;
  /// The earliest deadline of this context and its ancestors; Deadline::never() without one.
  [[nodiscard]] Deadline deadline() const noexcept;
  /// What waits obey; nullptr for background(). Valid as long as this handle, or a copy, lives.
  [[nodiscard]] runtime::Cancellation* cancellation() const noexcept;

  friend bool operator==(const Context& a, const Context& b) noexcept { return a.node_ == b.node_; }

 private:
  friend class detail::Node;
  explicit Context(detail::Node* adopted) noexcept : node_(adopted) {}
  detail::Node* node_ = nullptr;
};

/// Makes its context done with errc::canceled. Callable many times, from any thread; only the first counts. Keeps the
/// context's node alive. Does not cancel when destroyed.
class CancelFunction {
 public:
  CancelFunction() noexcept = default;
  explicit CancelFunction(Context context) noexcept : context_(std::move(context)) {}
  /// `cause`: what cause() then says; success means none. Never parks.
  void operator()(std::error_code cause = {}) const noexcept;

 private:
  Context context_;
};

struct Cancelable {
  Context context;
  CancelFunction cancel;
};

/// The root: never done, no deadline.
[[nodiscard]] inline Context background() noexcept { return Context(); }
/// A child of `parent`; done at once if the parent is. Throws std::bad_alloc. Any thread.
[[nodiscard]] Cancelable with_cancel(const Context& parent);
/// As with_cancel, and done with errc::deadline_exceeded at `deadline` or its parent's deadline. A deadline already
/// past: done at once. A deadline needs a living runtime, and the context must die before that runtime does.
[[nodiscard]] Cancelable with_deadline(const Context& parent, Deadline deadline);
/// with_deadline(parent, Deadline::in(timeout)).
[[nodiscard]] Cancelable with_timeout(const Context& parent, std::chrono::nanoseconds timeout);

/// Contexts that ended without ever having been done, since the process began.
[[nodiscard]] std::uint64_t never_canceled_count() noexcept;

}  // namespace fiberd::context
