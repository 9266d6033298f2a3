#pragma once
// RunQueue: a Processor's bounded ring of runnable fibers: one owner pushes and pops, anybody steals half.
//
// head and tail only grow (modulo 2^32); the elements are [head, tail). Only the owner writes tail, so push is two
// plain stores; pop and steal both take from the head by CAS, which makes the queue FIFO for everybody and free of ABA
// (a head that was passed never comes back within 2^32 elements). A thief copies first and claims by CAS afterwards: if
// the claim fails the copies are thrown away. A slot may be overwritten while a thief copies it only after head has
// moved past it, and then the thief's claim fails; hence the slots are relaxed atomics.
//
// Rejected: Chase–Lev (LIFO for the owner starves old fibers and a thief takes one at a time); a lock (a hand-off can
// stop its holder for as long as the kernel likes).
#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "core/base/cache_line.hpp"

namespace fiberd::runtime {

template <class T, std::uint32_t kCapacity = 256, template <class> class Atomic = std::atomic>
class BasicRunQueue {
 public:
  static_assert((kCapacity & (kCapacity - 1)) == 0);
  static constexpr std::uint32_t capacity() noexcept { return kCapacity; }

  /// Owner. False when full.
  [[nodiscard]] bool push(T* element) noexcept {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) >= kCapacity) return false;
    slots_[tail % kCapacity].store(element, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  /// Owner. nullptr when empty.
  [[nodiscard]] T* pop() noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      if (tail_.load(std::memory_order_relaxed) == head) return nullptr;
      T* const element = slots_[head % kCapacity].load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        return element;
    }
  }
  /// Owner: takes half of the (full) queue out, for the global queue, into `out` with room for capacity() / 2. Returns
  /// how many; 0 when a thief was faster.
  std::uint32_t take_half(std::span<T*> out) noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t n = (tail_.load(std::memory_order_relaxed) - head) / 2;
    for (std::uint32_t i = 0; i < n; ++i) out[i] = slots_[(head + i) % kCapacity].load(std::memory_order_relaxed);
    return n != 0 && head_.compare_exchange_strong(head, head + n, std::memory_order_acq_rel, std::memory_order_acquire)
               ? n
               : 0;
  }
  /// Thief, who owns `into` (with room for half): moves half of this queue, rounded up, there. Returns how many.
  std::uint32_t steal_half(BasicRunQueue& into) noexcept {
    const std::uint32_t into_tail = into.tail_.load(std::memory_order_relaxed);
    const std::uint32_t room = kCapacity - (into_tail - into.head_.load(std::memory_order_acquire));
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      const std::uint32_t size = tail_.load(std::memory_order_acquire) - head;
      if (size > kCapacity) {  // head and tail were read at different times
        head = head_.load(std::memory_order_acquire);
        continue;
      }
      std::uint32_t n = size - size / 2;
      if (n > room) n = room;
      if (n == 0) return 0;
      for (std::uint32_t i = 0; i < n; ++i) {
        T* const element = slots_[(head + i) % kCapacity].load(std::memory_order_relaxed);
        into.slots_[(into_tail + i) % kCapacity].store(element, std::memory_order_relaxed);
      }
      if (head_.compare_exchange_weak(head, head + n, std::memory_order_acq_rel, std::memory_order_acquire)) {
        into.tail_.store(into_tail + n, std::memory_order_release);
        return n;
      }
    }
  }
  /// Anybody; a snapshot.
  [[nodiscard]] std::uint32_t size() const noexcept {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t n = tail_.load(std::memory_order_acquire) - head;
    return n > kCapacity ? kCapacity : n;
  }

 private:
  alignas(kCacheLine) Atomic<std::uint32_t> head_{0};
  Atomic<std::uint32_t> tail_{0};
  std::array<Atomic<T*>, kCapacity> slots_{};
};

}  // namespace fiberd::runtime
