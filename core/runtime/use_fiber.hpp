#pragma once
// use_fiber: a completion token that makes any Asio asynchronous operation a call that the fiber waits for.
//
//   asio::steady_timer timer(current_service_thread().io_context());
//   Result<void> waited = timer.async_wait(use_fiber);
//   Result<std::size_t> n = pipe.async_read_some(buffer, use_fiber(Deadline::in(1s)));
//
// What the call returns, by the operation's signature: void() and void(error_code) → Result<void>; void(error_code, T)
// and void(T) → Result<T>; more values → Result<std::tuple<…>>. A leading std::exception_ptr is rethrown. With an
// error the values are lost (bytes moved before it, for example).
//
// The I/O object must be made on the service thread's io_context. The operation is started by the fiber and completed
// on the service thread; its handler stores the values in state that both sides own. A fiber that gives up — its
// deadline (std::errc::timed_out) or cancellation (std::errc::operation_canceled) — has the cancellation signal emitted
// *on the service thread* (signals are not thread-safe against an operation of many steps) and waits until it has been
// emitted, so that the I/O object is alive during it; it does not wait for the operation's end. Buffers and, for
// operations of many steps, the I/O object must therefore outlive a given-up operation: own them by shared_ptr in such
// code.
//
// Not in a simulation: there time is virtual and Asio's is not; the call ends with std::errc::not_supported.
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

/// The token. `cancellation` may be nullptr and must outlive the call.
struct UseFiber {
  /// Turns a give-up into its error; `argument` is passed on. nullptr: to_error().
  using Translate = std::error_code (*)(const void* argument, Wake how) noexcept;

  Deadline deadline = Deadline::never();
  Cancellation* cancellation = nullptr;
  Translate translate = nullptr;
  const void* argument = nullptr;

  [[nodiscard]] constexpr UseFiber operator()(Deadline until, Cancellation* by = nullptr) const noexcept {
    return UseFiber{until, by, nullptr, nullptr};
  }
};
inline constexpr UseFiber use_fiber{};

namespace detail {

/// What does not depend on the values: the wait, the give-up.
class FiberOperation {
 public:
  virtual ~FiberOperation() = default;
  FiberOperation() = default;
  FiberOperation(const FiberOperation&) = delete;
  FiberOperation& operator=(const FiberOperation&) = delete;

  /// Before the start. Non-zero: the operation must not be started.
  [[nodiscard]] std::error_code prepare(const UseFiber& token) noexcept;
  /// After the start: waits, or gives up. Non-zero: the operation was given up (or dropped).
  [[nodiscard]] static std::error_code await(const std::shared_ptr<FiberOperation>& self, const UseFiber& token);
  void abandon() noexcept { (void)abandon_park(ticket_); }

  void complete() noexcept { wake(ticket_); }
  /// The handler was destroyed uncalled: its io_context or object died.
  void drop() noexcept {
    dropped_ = true;
    wake(ticket_);
  }
  [[nodiscard]] boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }

 private:
  Ticket ticket_;
  bool dropped_ = false;
  bool ended_ = false;  // service thread only
  boost::asio::cancellation_signal signal_;

 protected:
  void mark_ended() noexcept { ended_ = true; }
};

template <class T>
struct IsErrorCode
    : std::bool_constant<std::is_same_v<T, boost::system::error_code> || std::is_same_v<T, std::error_code>> {};

/// Sorts the arguments of a handler into exception, error and values.
template <class... Args>
struct Signature {
  using First = void;
  using Values = std::tuple<std::decay_t<Args>...>;
  static constexpr bool kLeading = false;
};
template <class A, class... Rest>
struct Signature<A, Rest...> {
  using First = std::decay_t<A>;
  static constexpr bool kLeading = IsErrorCode<First>::value || std::is_same_v<First, std::exception_ptr>;
  using Values = std::conditional_t<kLeading, std::tuple<std::decay_t<Rest>...>,
                                    std::tuple<std::decay_t<A>, std::decay_t<Rest>...>>;
};

template <class Values>
struct ReturnOf {
  using type = Result<Values>;
};
template <>
struct ReturnOf<std::tuple<>> {
  using type = Result<void>;
};
template <class T>
struct ReturnOf<std::tuple<T>> {
  using type = Result<T>;
};

template <class... Args>
class FiberOperationOf final : public FiberOperation {
 public:
  using Sorted = Signature<Args...>;
  using Values = typename Sorted::Values;
  using Return = typename ReturnOf<Values>::type;

  template <class... Actual>
  void store(Actual&&... actual) {
    mark_ended();
    if constexpr (Sorted::kLeading) {
      store_leading(std::forward<Actual>(actual)...);
    } else {
      values_.emplace(std::forward<Actual>(actual)...);
    }
  }
  [[nodiscard]] Return take() {
    if (exception_ != nullptr) std::rethrow_exception(exception_);
    if constexpr (std::is_same_v<Values, std::tuple<>>) {
      return as_result(error_);
    } else {
      if (error_) return fail(error_);
      if constexpr (std::tuple_size_v<Values> == 1) {
        return std::move(std::get<0>(*values_));
      } else {
        return std::move(*values_);
      }
    }
  }
  [[nodiscard]] static Return failed(std::error_code error) { return fail(error); }

 private:
  template <class Leading, class... Actual>
  void store_leading(Leading&& leading, Actual&&... actual) {
    if constexpr (std::is_same_v<typename Sorted::First, std::exception_ptr>) {
      exception_ = std::forward<Leading>(leading);
    } else {
      error_ = std::error_code(leading);
    }
    values_.emplace(std::forward<Actual>(actual)...);
  }

  std::error_code error_;
  std::exception_ptr exception_;
  std::optional<Values> values_;
};

template <class... Args>
class FiberHandler {
 public:
  using Operation = FiberOperationOf<Args...>;
  using cancellation_slot_type = boost::asio::cancellation_slot;  // NOLINT: Asio's name

  explicit FiberHandler(std::shared_ptr<Operation> operation) noexcept : operation_(std::move(operation)) {}
  FiberHandler(FiberHandler&&) noexcept = default;
  FiberHandler& operator=(FiberHandler&&) = delete;
  ~FiberHandler() {
    if (operation_ != nullptr) operation_->drop();
  }

  template <class... Actual>
  void operator()(Actual&&... actual) {
    const std::shared_ptr<Operation> operation = std::move(operation_);
    operation->store(std::forward<Actual>(actual)...);
    operation->complete();
  }
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return operation_->slot(); }  // NOLINT

 private:
  std::shared_ptr<Operation> operation_;
};

// Apart from the wait: Asio's inline parts look at thread-locals, whose addresses must not be kept across a park.
template <class Handler, class Initiation, class Operation, class... InitArgs>
[[gnu::noinline]] void initiate_operation(Initiation&& initiation, std::shared_ptr<Operation> operation,
                                          InitArgs&&... args) {
  std::forward<Initiation>(initiation)(Handler(std::move(operation)), std::forward<InitArgs>(args)...);
}

}  // namespace detail
}  // namespace fiberd::runtime

namespace boost::asio {

template <class R, class... Args>
class async_result<fiberd::runtime::UseFiber, R(Args...)> {
  using Handler = fiberd::runtime::detail::FiberHandler<Args...>;
  using Operation = typename Handler::Operation;

 public:
  using return_type = typename Operation::Return;  // NOLINT: Asio's name

  template <class Initiation, class... InitArgs>
  static return_type initiate(Initiation&& initiation, fiberd::runtime::UseFiber token, InitArgs&&... args) {
    const auto operation = std::make_shared<Operation>();
    if (const std::error_code error = operation->prepare(token)) return Operation::failed(error);
    try {
      fiberd::runtime::detail::initiate_operation<Handler>(std::forward<Initiation>(initiation), operation,
                                                           std::forward<InitArgs>(args)...);
    } catch (...) {
      operation->abandon();
      throw;
    }
    if (const std::error_code error = Operation::await(operation, token)) return Operation::failed(error);
    return operation->take();
  }
};

}  // namespace boost::asio
