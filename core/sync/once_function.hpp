#pragma once
// OnceFunction and OnceValue: Go's sync.OnceFunc and sync.OnceValue: a function that is called at most once, however
// often and by however many it is asked for, and whose outcome is kept.
//
//   static sync::OnceValue config([] { return load_config(); });
//   use(config());                                                   // loads it at the first use, anywhere
//
// The outcome may be an exception: then every call throws it again. (A plain Once forgets it: once.hpp.) The function
// and what it owns are destroyed as soon as it has returned or thrown. After the first time a call costs one load.
#include <concepts>
#include <functional>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/runtime/recover.hpp"
#include "core/sync/once.hpp"

namespace fiberd::sync {

namespace detail {

/// The function and what it threw; F is destroyed when it has been called.
template <std::invocable F>
class OnceCall {
 protected:
  explicit OnceCall(F fn) : fn_(std::in_place, std::move(fn)) {}
  ~OnceCall() = default;
  OnceCall(const OnceCall&) = delete;
  OnceCall& operator=(const OnceCall&) = delete;

  /// What Once calls: keep(fn) calls the function and keeps what it returns.
  template <class Keep>
  [[nodiscard]] auto caller(Keep keep) noexcept {
    return [this, keep] {
      try {
        keep(*fn_);
      } catch (...) {
        thrown_ = runtime::Recovered(std::current_exception());
      }
      fn_.reset();
    };
  }

  Once once_;
  std::optional<F> fn_;
  runtime::Recovered thrown_;  // written inside once_
};

}  // namespace detail

/// Calls: any number of fibers at once; those who come while the function runs wait for it. A function that calls
/// itself by this waits for itself. Must outlive every call. WaitReason::once.
template <std::invocable F>
class OnceFunction : private detail::OnceCall<F> {
 public:
  explicit OnceFunction(F fn) : detail::OnceCall<F>(std::move(fn)) {}

  /// Throws what the function threw.
  void operator()() {
    this->once_.call(this->caller([](F& fn) { (void)fn(); }));
    this->thrown_.rethrow();
  }
  /// The wait for who is calling it obeys `ctx`. Errors: context::errc; nothing is known about the function then.
  [[nodiscard]] Result<void> operator()(const context::Context& ctx) {
    if (const auto called = this->once_.call(ctx, this->caller([](F& fn) { (void)fn(); })); !called) return called;
    this->thrown_.rethrow();
    return {};
  }
};

/// As OnceFunction, and the value that the function returned is kept: a Result<T> is a good one where it can fail.
template <std::invocable F>
requires(!std::is_void_v<std::invoke_result_t<F&>>) class OnceValue : private detail::OnceCall<F> {
 public:
  using value_type = std::remove_cvref_t<std::invoke_result_t<F&>>;

  explicit OnceValue(F fn) : detail::OnceCall<F>(std::move(fn)) {}

  /// The value, which lives as long as this. Throws what the function threw.
  const value_type& operator()() {
    this->once_.call(this->caller([this](F& fn) { value_.emplace(fn()); }));
    this->thrown_.rethrow();
    return *value_;
  }
  /// The wait for who is calling it obeys `ctx`. Errors: context::errc.
  [[nodiscard]] Result<std::reference_wrapper<const value_type>> operator()(const context::Context& ctx) {
    if (const std::error_code error =
            error_of(this->once_.call(ctx, this->caller([this](F& fn) { value_.emplace(fn()); }))))
      return fail(error);
    this->thrown_.rethrow();
    return std::cref(*value_);
  }

 private:
  std::optional<value_type> value_;
};

}  // namespace fiberd::sync
