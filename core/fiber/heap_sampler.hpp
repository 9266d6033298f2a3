#pragma once
// HeapSampler: which allocations are looked at, where they were made, and which of them are still in use.
//
// A Poisson process over the bytes that are allocated, as Go's and tcmalloc's: each byte is hit with the probability
// 1 / rate, and an allocation with a hit is a sample. Between two hits lies an exponentially distributed number of
// bytes, which a thread counts down; that is all an allocation without a hit costs. An allocation of s bytes is
// sampled with the probability 1 - exp(-s / rate), so a sample stands for 1 / that many. The weight is taken at once,
// with the rate that was in force, and kept until the allocation is freed: what is told is right on average also where
// one stack allocates in many sizes (Go scales a stack's sum by its average size) and after the rate has changed.
//
// What is sampled begins at a page (the caller asks for it so), and hardly anything else does, so for nearly all that
// is freed the last twelve bits of its address say that nobody wants to know: no memory is read. For the rest a byte
// tells whether the bucket of live samples in which it would be has any. A sample is never as small as what the C
// library keeps for the next malloc of its size: else one that was freed would be handed out as the next ordinary one,
// again and again, and a page's beginning would be no sign any more (measured: 57 % more instructions in a loop of
// malloc and free). Between two owners of an address only the last one frees it, so a bucket's place needs no lock: it
// is claimed and given back by its key. A full bucket has no place: the sample is left out and counted as lost.
//
// Nothing here allocates, waits or takes a lock: it runs inside of malloc, with whatever is held there, and in the
// child of a fork. Not in signal handlers: nor may malloc be.
//
// Rejected: a bitmap of addresses that free() looks into (a load a free, and 8 KiB of cache); a header before each
// allocation (memory, and what the C library allocated before would have none); counters a thread, summed up by who
// looks (threads that have ended must be kept, and the countdown does the same).
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/cache_line.hpp"
#include "core/fiber/stack_table.hpp"

namespace fiberd::fiber {

/// What a thread knows. All zero at first.
struct HeapThread {
  std::uint64_t left = 0;  ///< bytes that may be allocated before anybody looks; the only one that is read then
  std::uint64_t rest = 0;  ///< behind these, until the next hit
  std::uint64_t rate = 0;  ///< by which that was drawn; 0: nothing was
  std::uint64_t random = 0;
  bool inside = false;  ///< what is allocated meanwhile is the sampler's own
};

class HeapSampler {
 public:
  static constexpr std::size_t kAlignment = 4096;  ///< of samples
  static constexpr std::size_t kLeastSize = 1100;  ///< asked of the C library; it keeps 1,032 and less for the next
  static constexpr std::uint64_t kMostRate = std::uint64_t{1} << 40U;
  enum Sum : std::uint8_t { allocated_objects, allocated_bytes, freed_objects, freed_bytes };
  static constexpr std::uint64_t kObject = 256;  ///< sums count objects in such parts

  constexpr HeapSampler() noexcept = default;
  HeapSampler(const HeapSampler&) = delete;
  HeapSampler& operator=(const HeapSampler&) = delete;

  /// Mean of bytes between two samples, 1 … kMostRate; 1: every allocation; 0: none. A thread takes note when it has
  /// allocated what it had left: 64 KiB while it was off, else some rates. Thread-safe.
  void set_rate(std::uint64_t bytes) noexcept;
  [[nodiscard]] std::uint64_t rate() const noexcept { return rate_.load(std::memory_order_relaxed); }

  /// An allocation of `size` bytes that `thread` has not `left` bytes for. True: it is a sample, so it must be aligned,
  /// and record() told.
  [[nodiscard]] bool due(HeapThread& thread, std::size_t size) noexcept;
  void record(const void* at, std::size_t size, std::span<const std::uintptr_t> frames) noexcept;
  /// Whether there is a sample in the bucket where `at`, the beginning of a page, would be.
  [[nodiscard, gnu::always_inline]] bool may_have(const void* at) const noexcept {
    return taken_[bucket_of(at)].load(std::memory_order_relaxed) != 0;
  }
  /// It is about to be freed.
  void forget(const void* at) noexcept;

  /// For tests: every allocation is counted from now on, whatever the rate. What had begun to count down goes on first:
  /// best asked for before threads are started. Costs each allocation a few ns.
  void count_all(bool on) noexcept { counting_.store(on, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t counted() const noexcept { return counted_.load(std::memory_order_relaxed); }

  struct Stats {
    std::uint64_t samples = 0;
    std::uint64_t live = 0;        ///< of these, in use
    std::uint64_t lost = 0;        ///< left out: no place among the live ones
    std::uint64_t lost_stack = 0;  ///< whose stack found no place
  };
  [[nodiscard]] Stats stats() const noexcept;
  [[nodiscard]] const StackTable& stacks() const noexcept { return stacks_; }

 private:
  static constexpr std::size_t kPlaces = 8;  ///< of a bucket: one cache line of keys
  static constexpr std::size_t kBuckets = 8192;
  struct alignas(kCacheLine) Keys {
    std::array<std::atomic<std::uintptr_t>, kPlaces> of{};  ///< 0: free; 1: being written or given back
  };
  struct Live {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;
    std::uint32_t stack = 0;
  };
  static std::size_t bucket_of(const void* at) noexcept {
    static_assert(kBuckets == std::size_t{1} << (64U - 51U));
    return ((reinterpret_cast<std::uintptr_t>(at) / kAlignment) * 0x9e3779b97f4a7c15U) >> 51U;
  }

  std::atomic<std::uint64_t> rate_{0};
  std::atomic<bool> counting_{false};
  std::atomic<std::uint64_t> counted_{0};
  std::atomic<std::uint64_t> samples_{0};
  std::atomic<std::uint64_t> ended_{0};
  std::atomic<std::uint64_t> lost_{0};
  StackTable stacks_;
  std::array<std::atomic<std::uint8_t>, kBuckets> taken_{};  // places of the bucket that are
  std::array<Keys, kBuckets> keys_{};
  std::array<std::array<Live, kPlaces>, kBuckets> live_{};
};

namespace detail {
extern HeapSampler process_heap;
}
/// The process's.
[[nodiscard]] inline HeapSampler& heap_sampler() noexcept { return detail::process_heap; }
/// Whether this program's malloc tells it (fiberd::heap_profile is linked in).
[[nodiscard]] bool heap_is_sampled() noexcept;

}  // namespace fiberd::fiber
