#pragma once
// SingleFlight: golang.org/x/sync/singleflight: of many who ask for the same thing at once one does the work, and all
// get what came of it.
//
//   sync::SingleFlight<std::string, Page> loads;
//   const auto page = loads.call(url, [&] { return load(url); });        // Flight<Page>{result, shared}
//   const auto page = loads.call(ctx, url, [url] { return load(url); }); // no wait is longer than its context
//
// A flight begins with the first call for a key and ends when its function has returned; the next call begins another.
// What comes of it is copied to each caller: an expensive value is carried by a shared_ptr.
//
// Who runs the function. Without a context the first caller does, on its own fiber. With one a fiber of its own does
// (as DoChan): the one who happened to be first may leave like everybody else, and its end is nobody else's. So the
// function goes on when all have left; one that must not takes a context of its own.
//
// Exceptions. What the function throws is thrown to every caller of the flight. When all have left before, it is
// reported as one that leaves a fiber's function is: logged and counted, as its fiber's.
#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/context/context.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/sharded_map.hpp"
#include "core/sync/wait_group.hpp"

namespace fiberd::sync {

/// What came of a flight.
template <class V>
struct Flight {
  Result<V> result;
  bool shared = false;  ///< somebody else got it, too
};

/// What a flight can be: it returns a V, or a Result<V>.
template <class F, class V>
concept FlightFunction = std::invocable<F&> && std::convertible_to<std::invoke_result_t<F&>, Result<V>>;
/// For V = void: nothing or a Result<void>.
template <class F, class V>
concept FlightTask = std::is_void_v<V> && std::invocable<F&> && std::is_void_v<std::invoke_result_t<F&>>;

/// Calls only on fibers; forget() on any thread. A function that calls for its own key waits for itself. Must outlive
/// every call, and every function that runs. WaitReason::wait_group.
template <class K, class V, class Hash = KeyHash<K>, class Eq = std::equal_to<>>
class SingleFlight {
  static_assert(std::is_void_v<V> || std::copy_constructible<V>, "each caller gets a copy");

 public:
  SingleFlight() = default;
  /// Waits until no function runs any more.
  ~SingleFlight() { running_.wait(); }
  SingleFlight(const SingleFlight&) = delete;
  SingleFlight& operator=(const SingleFlight&) = delete;

  /// Calls fn(), or waits for the call for `key` that is under way. Throws what the function threw, std::bad_alloc.
  template <class Q, class F>
  requires FlightFunction<F, V> || FlightTask<F, V> Flight<V> call(const Q& key, F&& fn) {
    auto [flight, first] = board(key);
    if (first) {
      fly(key, flight, fn);
    } else {
      flight->landed.wait();
    }
    return flight->get();
  }

  /// The same with fn() on a fiber of its own, and a wait that obeys `ctx`. fn must own all it uses. Errors:
  /// context::errc when `ctx` ended the wait (the flight goes on); spawn's, for all callers, when there is no fiber.
  template <class Q, class F>
  requires FlightFunction<std::decay_t<F>, V> || FlightTask<std::decay_t<F>, V>
  [[nodiscard]] Flight<V> call(const context::Context& ctx, const Q& key, F&& fn,
                               SourceLocation where = SourceLocation::current()) {
    if (const std::error_code error = ctx.err()) return {fail(error)};
    auto [flight, first] = board(key);
    if (first) launch(key, flight, std::forward<F>(fn), where);
    if (const std::error_code error = error_of(flight->landed.wait(ctx))) return {fail(error)};
    return flight->get();
  }

  /// The next call for `key` begins a flight of its own; those who wait for the present one still get what comes of it.
  template <class Q>
  void forget(const Q& key) {
    flights_.erase(key);
  }
  /// A snapshot: flights that a call would wait for.
  [[nodiscard]] std::size_t size() const noexcept { return flights_.size(); }

 private:
  struct State {
    State() noexcept { landed.add(); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    /// By the last who has it, the function's fiber or a caller: only then it is certain that nobody was told.
    ~State() {
      if (thrown && !told.load(std::memory_order_relaxed)) runtime::report_panic(by, thrown);
    }
    [[nodiscard]] Flight<V> get() {
      if (thrown) told.store(true, std::memory_order_relaxed);
      thrown.rethrow();
      return {*result, shared};
    }
    /// In the catch block.
    void keep_exception() noexcept {
      by = runtime::current_origin();
      thrown = runtime::Recovered(std::current_exception());
    }

    WaitGroup landed;
    std::atomic<bool> joined{false};  // by a second caller
    std::atomic<bool> told{false};    // the exception, to somebody
    // Written before it has landed.
    bool shared = false;
    std::optional<Result<V>> result;
    runtime::Recovered thrown;
    runtime::FiberOrigin by;
  };
  using Pointer = std::shared_ptr<State>;

  /// The flight for `key`, with the caller on board, and whether the caller is to run it.
  template <class Q>
  [[nodiscard]] std::pair<Pointer, bool> board(const Q& key) {
    std::pair<Pointer, bool> boarded;
    (void)flights_.compute(key, [&](Pointer& present) {
      boarded.second = present == nullptr;
      if (boarded.second) {
        present = std::make_shared<State>();
      } else {
        present->joined.store(true, std::memory_order_relaxed);
      }
      boarded.first = present;
    });
    return boarded;
  }

  /// Runs the function; from the moment it has landed nobody boards it.
  template <class Q, class F>
  void fly(const Q& key, const Pointer& flight, F& fn) {
    try {
      if constexpr (FlightTask<F, V>) {
        fn();
        flight->result.emplace();
      } else {
        flight->result.emplace(fn());
      }
    } catch (...) {
      flight->keep_exception();
    }
    land(key, flight);
  }
  template <class Q>
  void land(const Q& key, const Pointer& flight) {
    (void)flights_.compare_and_erase(key, flight);
    flight->shared = flight->joined.load(std::memory_order_relaxed);
    flight->landed.done();
  }

  template <class Q, class F>
  void launch(const Q& key, const Pointer& flight, F&& fn, SourceLocation where) {
    std::error_code refused;
    try {
      const Result<void> started = running_.go(
          "single_flight",
          [this, key = K(key), flight, fn = std::decay_t<F>(std::forward<F>(fn))]() mutable { fly(key, flight, fn); },
          where);
      if (!started) refused = started.error();
    } catch (...) {
      // Nothing runs, and those who joined meanwhile must not wait for it.
      flight->keep_exception();
      land(key, flight);
      return;
    }
    if (!refused) return;
    flight->result.emplace(fail(refused));
    land(key, flight);
  }

  ShardedMap<K, Pointer, Hash, Eq> flights_;
  WaitGroup running_;
};

}  // namespace fiberd::sync
