#pragma once
// StackPool: the fibers' stacks. Address space in slabs of 1,024, a guard page under each stack, one page resident.
//
// How it works and what it must hold: stack_pool.cpp.
//
// Life of a stack: spawn() takes a credit with reserve(): from then on a stack is certain, and no fiber that exists can
// fail to run. At its first run the fiber's Processor acquire()s one, at its end release()s it, and then gives the
// credit back with unreserve(). The hot paths touch only the Processor's own StackCache.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/fiber/guard_maps.hpp"
#include "core/fiber/guard_mode.hpp"
#include "core/fiber/stack_claim.hpp"
#include "core/fiber/stack_class.hpp"

namespace fiberd::fiber {

/// One stack's descriptor. Lives in its slab's array, never in the stack's memory: an unused stack has no resident
/// page.
struct Stack {
  std::byte* base = nullptr;  ///< lowest usable byte, above the guard
  Stack* next = nullptr;
  Stack* previous = nullptr;
  std::uint32_t index = 0;  ///< unique in its pool, from 0
  bool guarded = false;
  bool opened = false;                          ///< its emergency page is in use
  bool look_at = false;                         ///< by release(): it has no guard, or its emergency page was opened
  StackClass stack_class = StackClass::normal;  ///< of its pool
};

/// One per Processor; used by its owner's thread only, without a lock. Must be flush()ed before it dies, unless its
/// pool dies first. Not movable: the pool knows where active caches are.
struct StackCache {
  Stack* head = nullptr;
  std::atomic<std::uint32_t> count{0};  ///< written by the owner, read by stats()
  std::uint32_t credits = 0;
  std::uint32_t capacity = 0;  ///< how many stacks it may hold; 0 until the pool has carved that many more
  StackCache* next = nullptr;  ///< the pool's list of active caches
};

class StackPool {
 public:
  static constexpr std::uint32_t kSlabStacks = 1024;
  static constexpr std::uint32_t kColours = 32;
  static constexpr std::uint32_t kCacheMax = 64;
  static constexpr std::uint32_t kCreditMax = 64;
  static constexpr std::uint32_t kCreditBatch = 32;
  static constexpr std::uint32_t kCarveBatch = 64;
  static constexpr std::uint32_t kAcquireBatch = 16;
  static constexpr std::uint32_t kTrimBatch = 64;
  static constexpr std::uint32_t kTrimMax = 256;

  struct Options {
    std::size_t stack_size = 256 * 1024;  ///< bytes of address space a stack, guard included; see create()
    GuardMode mode = GuardMode::automatic;
    unsigned caches = 1;  ///< how many StackCaches will be used at most at any time
    std::size_t max_stacks = std::size_t{1} << 24U;
    StackClass stack_class = StackClass::normal;  ///< what each Stack says of itself
    std::uint32_t slab_stacks = kSlabStacks;      ///< stacks that are mapped at a time, 1 … kSlabStacks
    /// Stacks that a cache may hold; 0: none, and credits are given out one at a time too.
    std::uint32_t cache_max = kCacheMax;
    const char* max_map_count_path = GuardMaps::kMaxMapCount;  ///< another file in tests
    /// Of vm.max_map_count, what guards by mprotect leave to everything else: malloc, threads, files. At least
    /// kMapsLeft is left, or an eighth where the kernel allows few; never more than half.
    std::uint64_t maps_left = kMapsLeft;
    std::shared_ptr<GuardMaps> guard_maps = nullptr;  ///< another pool's, to share its maps
    std::uint32_t reserve = 0;                        ///< stacks set aside for claims above StackClaim::ordinary
    std::uint32_t reserve_final = 0;                  ///< of these, those that only StackClaim::finish may have
    /// The page above the guard is closed like it, and open_emergency() opens it for who is short of stack for once.
    /// Needs a guard under each stack, so `mode` is automatic or require.
    bool emergency = false;
  };
  static constexpr std::uint64_t kMapsLeft = GuardMaps::kMapsLeft;
  struct Stats {
    std::uint64_t in_use = 0;
    std::uint64_t cached = 0;          ///< carved and free, in caches or in the pool
    std::uint64_t carved = 0;          ///< all stacks that exist
    std::uint64_t credits = 0;         ///< given out, those in caches included
    std::uint64_t reserved_bytes = 0;  ///< address space
    std::uint64_t unguarded = 0;       ///< of those carved
    std::uint64_t most = 0;            ///< how many stacks there may ever be, the reserve included
    std::uint64_t maps_left = 0;       ///< see Options; 0 where guards need no maps
    std::uint64_t reserve = 0;         ///< set aside
    std::uint64_t reserve_in_use = 0;  ///< of these, taken
    GuardKind guard_kind = GuardKind::guard_install;
  };

  /// Errors: invalid_argument (stack_size not a multiple of the page size, or outside 16 KiB … 64 MiB, no caches, no
  /// stacks, an emergency page and GuardMode::canary); not_supported (GuardMode::require and no guard can be had).
  /// For tests, in the environment variable FIBERDEBUG: guard=mprotect skips guard_install, guard=none both;
  /// max_map_count=N stands for the kernel's limit.
  [[nodiscard]] static Result<std::unique_ptr<StackPool>> create(const Options& options);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  /// Takes one credit: the right to one acquire(). Errors: not_enough_memory when stacks, maps or guards are out, for
  /// claims above ordinary also those set aside.
  [[nodiscard]] Result<void> reserve(StackCache& cache, StackClaim claim = StackClaim::ordinary) {
    if (cache.credits > 0) [[likely]] {
      --cache.credits;
      return {};
    }
    return reserve_slow(cache, claim);
  }
  /// Gives one credit back, after the stack it stands for was released (or never acquired).
  void unreserve(StackCache& cache) noexcept {
    if (++cache.credits > credit_max_.load(std::memory_order_relaxed)) [[unlikely]]
      unreserve_slow(cache);
  }
  /// A stack for a fiber that holds a credit. Never fails, never null.
  [[nodiscard]] Stack* acquire(StackCache& cache) noexcept {
    Stack* stack = cache.head;
    if (stack == nullptr) [[unlikely]]
      stack = acquire_slow(cache);
    else {
      cache.head = stack->next;
      cache.count.store(cache.count.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    }
    if (!stack->guarded) [[unlikely]]
      write_canary(*stack);
    return stack;
  }
  /// The fiber that used `stack` has switched away for the last time.
  void release(StackCache& cache, Stack* stack) noexcept {
    if (stack->look_at) [[unlikely]]
      look_at_released(*stack);
    const std::uint32_t count = cache.count.load(std::memory_order_relaxed);
    if (count >= cache.capacity) [[unlikely]]
      return release_slow(cache, stack);
    stack->next = cache.head;
    cache.head = stack;
    cache.count.store(count + 1, std::memory_order_relaxed);
  }
  /// Gives all stacks and credits of a cache back. By its owner, or when it has none any more.
  void flush(StackCache& cache) noexcept;

  /// Gives memory of pooled stacks that were not needed since the last complete trim back to the kernel, at most
  /// kTrimMax stacks (a few hundred µs of system calls). True when there is more to do: call again soon. Any thread.
  bool trim() noexcept;

  /// The highest usable address, coloured: 32 steps of 64 bytes by index, at most 1/8 of the stack. Multiple of 64.
  [[nodiscard]] std::byte* top(const Stack& stack) const noexcept {
    return stack.base + usable_ - stack.index % kColours * std::size_t{64};
  }
  /// The lowest byte that may be used now: below Stack::base once the emergency page is open. By whoever runs on it or
  /// holds its fiber still.
  [[nodiscard]] std::byte* lowest(const Stack& stack) const noexcept {
    return stack.opened ? stack.base - page_ : stack.base;
  }
  /// One past the stack's last byte, above the colour.
  [[nodiscard]] std::byte* end(const Stack& stack) const noexcept { return stack.base + usable_; }
  [[nodiscard]] std::size_t stack_size() const noexcept { return stack_size_; }
  [[nodiscard]] std::size_t usable_size() const noexcept { return usable_; }
  [[nodiscard]] std::size_t page_size() const noexcept { return page_; }

  /// For the Options of a pool that shares them; nullptr where guards take no maps.
  [[nodiscard]] const std::shared_ptr<GuardMaps>& guard_maps() const noexcept { return guard_maps_; }
  [[nodiscard]] Stats stats() const;
  /// Resident bytes of all stacks, by mincore(2): expensive (tens of ns a page of address space).
  [[nodiscard]] std::size_t resident_bytes() const noexcept;
  /// Bytes from the deepest page ever touched (since the last trim of it) to the end. Racy for a running fiber,
  /// harmless.
  [[nodiscard]] std::size_t high_water(const Stack& stack) const noexcept;
  /// The address ranges in which all stacks of this pool lie, free ones too. Any thread.
  [[nodiscard]] std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges() const;
  /// The stack whose guard page holds `address`, or nullptr. Async-signal-safe.
  [[nodiscard]] const Stack* find_guard_hit(const void* address) const noexcept;
  /// `address` is in a closed emergency page, which is opened: the fiber goes on, on a page more, until its stack is
  /// released. False: it is not, or the kernel refuses. On the thread that runs on that stack; async-signal-safe.
  [[nodiscard]] bool open_emergency(const void* address) noexcept;

 private:
  struct Slab;
  enum class GuardResult : std::uint8_t { guarded, unguarded, failed };

  /// A doubly linked list of free stacks. low_water: its least length since it was last set.
  struct FreeList {
    Stack* head = nullptr;
    Stack* tail = nullptr;
    std::uint64_t count = 0;
    std::uint64_t low_water = 0;
    void push_front(Stack& stack) noexcept;
    void push_back(Stack& stack) noexcept;
    Stack* pop_front() noexcept;
    Stack* pop_back() noexcept;
  };

  StackPool(const Options& options, std::size_t page);
  [[nodiscard]] bool probe_guard_install() const noexcept;
  [[nodiscard]] Result<void> reserve_slow(StackCache& cache, StackClaim claim);
  void unreserve_slow(StackCache& cache) noexcept;
  [[nodiscard]] Stack* acquire_slow(StackCache& cache) noexcept;
  [[nodiscard]] Stack* take_batch(StackCache& cache) noexcept;
  void release_slow(StackCache& cache, Stack* stack) noexcept;
  [[nodiscard]] Stack* stack_below(const void* address, std::size_t& offset) const noexcept;
  void look_at_released(Stack& stack) noexcept;
  void write_canary(const Stack& stack) const noexcept;
  void check_canary(const Stack& stack) const noexcept;
  // With grow_mutex_ held:
  void credits_came_back(std::uint64_t n) noexcept;
  /// What must be carved beside credits: full caches, and what is left of the reserve.
  [[nodiscard]] std::uint64_t spoken_for() const noexcept {
    return active_ * cache_capacity_ + reserve_size_ - reserve_taken_;
  }
  [[nodiscard]] bool activate(StackCache& cache) noexcept;
  [[nodiscard]] bool ensure_carved(std::uint64_t target) noexcept;
  [[nodiscard]] std::uint32_t carve(std::uint32_t wanted) noexcept;
  [[nodiscard]] bool add_slab() noexcept;
  [[nodiscard]] GuardResult install_guard(std::byte* page) noexcept;
  void set_exhausted(bool exhausted) noexcept;

  // Fixed at creation.
  std::size_t page_;
  std::size_t stack_size_;
  std::size_t closed_;  // the guard, and the emergency page if there is one
  std::size_t usable_;
  GuardMode mode_;
  GuardKind kind_ = GuardKind::guard_install;
  std::uint64_t max_stacks_;
  std::uint32_t slab_stacks_;
  bool hoards_;  // caches may hold stacks and credits
  StackClass class_;
  std::shared_ptr<GuardMaps> guard_maps_;
  std::uint32_t cache_capacity_ = 0;

  std::atomic<std::uint32_t> credit_max_{kCreditMax};  // 0 while exhausted

  // Growth: system calls are made under it, so it is not a Lock. Order: grow_mutex_ or trim_mutex_, then list_lock_.
  mutable std::mutex grow_mutex_;
  std::uint64_t carved_ = 0;
  std::uint64_t credits_ = 0;  // given out
  std::uint64_t unguarded_ = 0;
  std::uint64_t most_ = 0;           // stacks; fewer where guard_maps_ has no more
  std::uint64_t reserve_size_ = 0;   // fixed at creation
  std::uint64_t reserve_final_ = 0;  // fixed at creation
  std::uint64_t reserve_taken_ = 0;
  std::uint64_t active_ = 0;  // caches that may hold cache_capacity_ stacks each
  StackCache* active_list_ = nullptr;
  bool exhausted_ = false;

  std::unique_ptr<std::atomic<Slab*>[]> slabs_;
  std::atomic<std::size_t> slab_count_{0};

  std::mutex trim_mutex_;  // held while stacks are in the hands of trim()

  mutable Lock list_lock_;
  FreeList warm_ FIBERD_GUARDED_BY(list_lock_);  // was used since it was trimmed: resident
  FreeList cold_ FIBERD_GUARDED_BY(list_lock_);  // new or trimmed: no resident page
};

}  // namespace fiberd::fiber
