#pragma once
// What the models of core/sync share: a lock, a wait that one of several ends, and a variable that can be dead.
#include <cstdint>

#include "core/runtime/wait.hpp"
#include "tests/model/explorer.hpp"

namespace fiberd::model {

/// Atomic<T> of an object that may be destroyed: from then on every touch is a failure. Destroying is a step on each of
/// its variables, so that the explorer visits every order of a touch and the end.
template <class T>
class Mortal {
 public:
  constexpr Mortal() noexcept = default;
  constexpr Mortal(T value) noexcept : atomic_(value) {}  // NOLINT: as std::atomic

  T load(std::memory_order = std::memory_order_seq_cst) const noexcept { return alive(atomic_.load()); }
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    atomic_.store(value);
    (void)alive(value);
  }
  T fetch_add(T n, std::memory_order = std::memory_order_seq_cst) noexcept { return alive(atomic_.fetch_add(n)); }
  T fetch_sub(T n, std::memory_order = std::memory_order_seq_cst) noexcept { return alive(atomic_.fetch_sub(n)); }
  T fetch_and(T n, std::memory_order = std::memory_order_seq_cst) noexcept { return alive(atomic_.fetch_and(n)); }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    return alive(atomic_.compare_exchange_strong(expected, desired));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) noexcept {
    return alive(atomic_.compare_exchange_weak(expected, desired));
  }
  T wait_while(T old) const noexcept { return alive(atomic_.wait_while(old)); }
  void destroy() noexcept {
    atomic_.store(atomic_.peek());
    dead_ = true;
  }
  [[nodiscard]] T peek() const noexcept { return atomic_.peek(); }

 private:
  template <class R>
  R alive(R result) const noexcept {
    if (dead_ && Explorer::current() != nullptr) fail("touched after its end");
    return result;
  }
  Atomic<T> atomic_;
  bool dead_ = false;
};

/// Base Lock and LeafLock: taking it is one step that is possible only while it is free.
class Lock {
 public:
  void lock() noexcept {
    if (Explorer* const e = Explorer::current())
      e->point(
          Explorer::Kind::exchange, this, [](const void* p) { return !static_cast<const Lock*>(p)->held_; }, this);
    check();
    held_ = true;
  }
  void unlock() noexcept {
    if (Explorer* const e = Explorer::current()) e->point(Explorer::Kind::store, this);
    check();
    held_ = false;
  }
  /// Nobody may hold it any more, or come.
  void destroy() noexcept {
    if (Explorer* const e = Explorer::current()) e->point(Explorer::Kind::store, this);
    if (held_) fail("a lock died while it was held");
    dead_ = true;
  }
  [[nodiscard]] bool held() const noexcept { return held_; }

 private:
  void check() const noexcept {
    if (dead_ && Explorer::current() != nullptr) fail("a dead lock was touched");
  }
  bool held_ = false;
  bool dead_ = false;
};

/// One wait. Whoever ends it first has ended it (the status word has a model of its own); it outlives the fiber's
/// frame, as tickets do.
class Wait {
 public:
  bool end(runtime::Wake cause) noexcept {
    runtime::Wake none = runtime::Wake::none;
    return cell_.compare_exchange_strong(none, cause);
  }
  runtime::Wake park() noexcept { return cell_.wait_while(runtime::Wake::none); }

 private:
  Atomic<runtime::Wake> cell_{runtime::Wake::none};
};

}  // namespace fiberd::model
