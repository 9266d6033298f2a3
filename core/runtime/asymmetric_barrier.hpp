#pragma once
// AsymmetricBarrier: a barrier whose price is paid on one side. What a thread stored by light_store() before it loads
// something, and what another stored before heavy() and loads after it: one of the two sees the other's store.
#include <atomic>
#include <cstdint>

namespace fiberd::runtime {

class AsymmetricBarrier {
 public:
  /// Asks the kernel (membarrier(2)) once for the process; without it light_store() is a full barrier. Thread-safe.
  static void enable() noexcept;

  /// Stores true, not to be reordered with what follows, as seen by a heavy() elsewhere.
  static void light_store(std::atomic<bool>& flag) noexcept {
    if (enabled_.load(std::memory_order_relaxed)) [[likely]] {
      flag.store(true, std::memory_order_relaxed);
      asm volatile("" ::: "memory");
    } else {
      flag.exchange(true, std::memory_order_seq_cst);
    }
  }
  /// Loads, not to be reordered with the stores before it, as seen by who changes `word` by a read-modify-write and
  /// then calls heavy().
  static std::uint32_t light_load(std::atomic<std::uint32_t>& word) noexcept {
    if (enabled_.load(std::memory_order_relaxed)) [[likely]] {
      asm volatile("" ::: "memory");
      return word.load(std::memory_order_relaxed);
    }
    // Of two read-modify-writes of one word the later one sees the earlier one, and all before that.
    return word.fetch_add(0, std::memory_order_seq_cst);
  }
  /// About a microsecond.
  static void heavy() noexcept;
  /// The other side needs nanoseconds, unless its thread is off the processor.
  static void wait_until_false(const std::atomic<bool>& flag) noexcept;
  /// The thread sleeps until `word` is not `seen` and somebody called notify().
  static void wait_for_change(const std::atomic<std::uint32_t>& word, std::uint32_t seen) noexcept {
    word.wait(seen, std::memory_order_acquire);
  }
  static void notify(std::atomic<std::uint32_t>& word) noexcept { word.notify_all(); }

 private:
  static std::atomic<bool> enabled_;
};

}  // namespace fiberd::runtime
