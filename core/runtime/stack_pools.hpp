#pragma once
// StackPools: the stacks of a scheduler beside those of normal size. A pool for a class is made when a fiber of that
// class is spawned for the first time; who never asks for one pays nothing.
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

#include "core/base/result.hpp"
#include "core/fiber/stack_class.hpp"
#include "core/fiber/stack_pool.hpp"

namespace fiberd::runtime {

class StackPools {
 public:
  /// Of pools that are made from now on: as `normal`, but for their size in bytes and what follows from it.
  void configure(const fiber::StackPool::Options& normal, std::size_t small, std::size_t large);
  ~StackPools() { reset(); }

  /// The pool of a class other than normal; nullptr: not made yet. Any thread, also in a signal handler.
  [[nodiscard]] fiber::StackPool* find(fiber::StackClass c) const noexcept {
    return pools_[index(c)].load(std::memory_order_acquire);
  }
  /// The same, made when it is not there. `normal`: whose maps are shared. Errors: StackPool::create's. Any thread;
  /// system calls.
  [[nodiscard]] Result<fiber::StackPool*> get(fiber::StackClass c, const fiber::StackPool& normal);
  /// Bytes of address space a stack; that of class normal is not known here.
  [[nodiscard]] std::size_t size_of(fiber::StackClass c) const noexcept { return options_[index(c)].stack_size; }
  /// Unmaps all of them. When nobody uses them any more.
  void reset() noexcept;

 private:
  static constexpr std::size_t kPools = fiber::kStackClasses - 1;
  static constexpr std::size_t index(fiber::StackClass c) noexcept { return static_cast<std::size_t>(c) - 1; }
  std::mutex mutex_;  // over system calls, so it is not a Lock
  std::array<fiber::StackPool::Options, kPools> options_{};
  std::array<std::atomic<fiber::StackPool*>, kPools> pools_{};
};

}  // namespace fiberd::runtime
