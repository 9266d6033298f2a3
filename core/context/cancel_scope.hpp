#pragma once
// CancelScope: a context that is cancelled when the scope ends that made it.
//
//   const context::CancelScope call(context::with_timeout(ctx, 5s));
//   return fetch(call, url);  // a const Context&
//
// What a `defer cancel()` is for: on every way out the child leaves its parent, and what still works for it is told.
#include <system_error>
#include <utility>

#include "core/context/context.hpp"

namespace fiberd::context {

class [[nodiscard]] CancelScope {
 public:
  [[nodiscard]] explicit CancelScope(Cancelable made) noexcept : made_(std::move(made)) {}
  ~CancelScope() { made_.cancel(); }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  [[nodiscard]] const Context& context() const noexcept { return made_.context; }
  // It stands for its context, where it lives on: one that dies at once would be cancelled already.
  operator const Context&() const& noexcept { return made_.context; }  // NOLINT(google-explicit-constructor)
  operator const Context&() && = delete;                               // NOLINT(google-explicit-constructor)
  /// Before the end of the scope, with a cause; as CancelFunction.
  void cancel(std::error_code cause = {}) const noexcept { made_.cancel(cause); }
  /// The right to cancel, for somebody else; the scope's end cancels all the same.
  [[nodiscard]] const CancelFunction& cancel_function() const noexcept { return made_.cancel; }

 private:
  const Cancelable made_;
};

}  // namespace fiberd::context
