#pragma once
// GuardMaps: how many stacks mprotect may guard, and what is held back for the moment when the kernel has no more maps.
//
// The kernel allows a process vm.max_map_count maps, and a stack guarded by mprotect takes two. One budget for all
// pools of a scheduler, however many sizes of stacks there are: who guards a stack takes from it.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fiberd::fiber {

class GuardMaps {
 public:
  /// What everything else is left at least: malloc, threads, files.
  static constexpr std::uint64_t kMapsLeft = 1024;
  static constexpr const char* kMaxMapCount = "/proc/sys/vm/max_map_count";

  /// `maps_left`: what is left to everything else, if that is more; never more than half. `path`: another file than
  /// kMaxMapCount in tests. FIBERDEBUG=max_map_count=N in the environment stands for the kernel's limit.
  GuardMaps(const char* path, std::uint64_t maps_left) noexcept;
  ~GuardMaps();
  GuardMaps(const GuardMaps&) = delete;
  GuardMaps& operator=(const GuardMaps&) = delete;

  /// The maps of one more guarded stack. False: there are no more. Any thread.
  [[nodiscard]] bool take() noexcept {
    if (used_.fetch_add(1, std::memory_order_relaxed) < limit_.load(std::memory_order_relaxed)) return true;
    used_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  /// The kernel refused what take() gave: others took the maps that were left to them, and more. From now on there are
  /// no more than now, and what was held back goes to malloc and threads. Any thread.
  void ran_out() noexcept;

  /// Stacks that may still be guarded, and all that may ever.
  [[nodiscard]] std::uint64_t free() const noexcept {
    const std::uint64_t used = used_.load(std::memory_order_relaxed);
    const std::uint64_t limit = limit_.load(std::memory_order_relaxed);
    return limit > used ? limit - used : 0;
  }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }

 private:
  void hold_ballast() noexcept;
  void drop_ballast() noexcept;

  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> limit_{0};
  std::uint64_t left_ = 0;
  std::atomic<std::byte*> ballast_{nullptr};
};

}  // namespace fiberd::fiber
