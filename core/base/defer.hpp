#pragma once
// defer: Go's `defer` as a scope guard.
//
//   const defer close([&] { file.close(); });
//
// Runs its function when the scope is left, by whatever way, the guard made last first. It runs on the fiber, so it may
// park. A function that throws is a bug: reported, and the exception ends there (the scope may be left by another one).
#include <concepts>
#include <type_traits>
#include <utility>

#include "core/base/bug.hpp"

namespace fiberd {

template <std::invocable F>
class [[nodiscard]] defer {  // NOLINT: reads like Go's
 public:
  [[nodiscard]] explicit defer(F function) noexcept(std::is_nothrow_move_constructible_v<F>)
      : function_(std::move(function)) {}
  ~defer() {
    if (dismissed_) return;
    if constexpr (std::is_nothrow_invocable_v<F&>) {
      function_();
    } else {
      try {
        function_();
      } catch (...) {
        report_bug("a deferred function threw");
      }
    }
  }
  defer(const defer&) = delete;
  defer& operator=(const defer&) = delete;

  /// The function is not called any more.
  void dismiss() const noexcept { dismissed_ = true; }

 private:
  [[no_unique_address]] F function_;
  mutable bool dismissed_ = false;
};

}  // namespace fiberd
