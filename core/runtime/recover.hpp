#pragma once
// recover: Go's `recover` for exceptions: runs a function and keeps what it throws, with the place it was thrown at.
//
//   if (const Recovered r = recover([&] { handler(request); })) log(LogLevel::error, r.what() + r.trace());
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/fiber/throw_trace.hpp"
#include "core/runtime/fiber_origin.hpp"

namespace fiberd::runtime {

/// For logs: "type: what()"; "exception of type T" for what is no std::exception; "" for none. Inside or outside of a
/// catch block, on any thread.
[[nodiscard]] std::string describe(const std::exception_ptr& exception);

/// What a function threw, or nothing. Copyable; may travel to another fiber or thread.
class [[nodiscard]] Recovered {
 public:
  /// Nothing was thrown.
  Recovered() noexcept = default;
  /// Inside the catch block: later the trace may be lost.
  explicit Recovered(std::exception_ptr exception) noexcept
      : exception_(std::move(exception)), frame_count_(fiber::throw_trace(exception_, frames_)) {}

  /// Something was thrown.
  explicit operator bool() const noexcept { return exception_ != nullptr; }
  [[nodiscard]] const std::exception_ptr& exception() const noexcept { return exception_; }
  /// As describe().
  [[nodiscard]] std::string what() const { return describe(exception_); }
  /// The throw site and its callers, a line "\n    function+0x1f (module)" each; " unknown" when it was not recorded;
  /// "" for none. Symbolized here and not at the throw.
  [[nodiscard]] std::string trace() const;
  /// Throws it again; does nothing for none.
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::exception_ptr exception_;
  std::array<std::uintptr_t, fiber::kThrowFrames> frames_{};
  std::size_t frame_count_ = 0;
};

/// The calling fiber; id 0 off fibers.
[[nodiscard]] FiberOrigin current_origin() noexcept;
/// For an exception of that fiber's that nobody has taken: logged with its trace and counted, as one that leaves a
/// fiber's function is. Any thread, while a runtime lives.
void report_panic(const FiberOrigin& fiber, const Recovered& thrown) noexcept;

/// What recover() calls: it returns nothing (keep a result in a captured variable).
template <class F>
concept ReturnsNothing = std::invocable<F> && std::is_void_v<std::invoke_result_t<F>>;

/// Calls fn(). Anything that can be thrown is caught. On a fiber or not; fn may park.
template <ReturnsNothing F>
Recovered recover(F&& fn) {
  try {
    std::forward<F>(fn)();
  } catch (...) {
    return Recovered(std::current_exception());
  }
  return {};
}

}  // namespace fiberd::runtime
