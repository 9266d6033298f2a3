#pragma once
// Filter: a function around the rest of a request: other filters, then the handler. On fibers it is one function: what
// it does before next(), what it does behind it, and next() left out where it answers by itself.
//
//   Result<void> serve(Exchange& exchange, Next next) override {
//     if (!allowed(exchange)) return exchange.respond_error(403);
//     const std::int64_t begin = monotonic_now();
//     Result<void> done = next(exchange);
//     observe(monotonic_now() - begin);
//     return done;
//   }
//
// When next() returns the request has been answered as far as it will be: what a handler throws or fails with has
// become an answer. So a filter sees exchange.status() of errors too. What the filter itself throws or returns as an
// error is treated as a handler's: logged, counted, answered 500 unless something else was answered.
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"

namespace fiberd::http {

class Exchange;
class Dispatch;

/// The rest of the chain. Called at most once; the second call does nothing, is a BUG and returns
/// operation_not_permitted.
class Next {
 public:
  /// On the request's fiber, or on another while that one waits for it. An error: the connection is lost.
  Result<void> operator()(Exchange& exchange) const;

 private:
  friend class Dispatch;
  Next(Dispatch& dispatch, std::size_t at) noexcept : dispatch_(dispatch), at_(at) {}
  Dispatch& dispatch_;
  std::size_t at_;
};

/// One object serves all connections at once, on several threads: it must be const in effect or lock.
class Filter {
 public:
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  virtual ~Filter() = default;
  /// Answers, or calls next(exchange), which answers; or both in part: fields (Exchange::set_field, on_head).
  virtual Result<void> serve(Exchange& exchange, Next next) = 0;
  /// Whether it answers CORS preflights: a route's are then asked about the requests that the route serves, whoever
  /// serves its OPTIONS (dispatch.cpp).
  [[nodiscard]] virtual bool answers_preflights() const noexcept { return false; }
};

/// What a filter may be made of: it is called with an http::Exchange& and an http::Next, and returns a Result<void>.
template <class F>
concept FilterFunction = std::is_invocable_r_v < Result<void>,
        std::decay_t<F>
&, Exchange&, Next > ;

/// A Filter out of a function, which is called on many fibers at once.
template <FilterFunction F>
std::shared_ptr<Filter> make_filter(F&& fn) {
  class Function final : public Filter {
   public:
    explicit Function(F&& f) : fn_(std::forward<F>(f)) {}
    Result<void> serve(Exchange& exchange, Next next) override { return fn_(exchange, next); }

   private:
    std::decay_t<F> fn_;
  };
  return std::make_shared<Function>(std::forward<F>(fn));
}

}  // namespace fiberd::http
