#pragma once
// YieldingAtomic: std::atomic's interface for simulations of lock-free parts: in front of an operation the fiber may
// yield, by a seeded draw, so that others come in between. What tests/model does exhaustively for three short threads
// this does by chance for long ones. Weak exchanges also fail for no reason now and then.
//
// Sequentially consistent, and for one simulation at a time.
#include <atomic>
#include <cstdint>

#include "core/base/random.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::test {

/// What the draws come from; to be seeded at the beginning of a simulation.
inline Random yielding_random{1};  // NOLINT: a test's

inline void may_yield() noexcept {
  if (runtime::on_fiber() && yielding_random.below(3) == 0) runtime::yield();
}

template <class T>
class YieldingAtomic {
 public:
  constexpr YieldingAtomic() noexcept = default;
  constexpr YieldingAtomic(T value) noexcept : value_(value) {}  // NOLINT: as std::atomic
  YieldingAtomic(const YieldingAtomic&) = delete;
  YieldingAtomic& operator=(const YieldingAtomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
    may_yield();
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    may_yield();
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    may_yield();
    const T old = value_;
    value_ = value;
    return old;
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    may_yield();
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) noexcept {
    if (yielding_random.below(8) == 0) return (expected = value_, false);
    return compare_exchange_strong(expected, desired);
  }
  T fetch_add(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    may_yield();
    const T old = value_;
    value_ = static_cast<T>(old + n);
    return old;
  }
  T fetch_sub(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    may_yield();
    const T old = value_;
    value_ = static_cast<T>(old - n);
    return old;
  }

 private:
  T value_{};
};

}  // namespace fiberd::test
