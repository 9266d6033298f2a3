#pragma once
// StackTable: sums by stack, for profiles that sample: where memory is allocated, where fibers wait.
//
// Whoever samples may stand anywhere, inside of malloc with any lock of the C library held, or in the child of a fork:
// so nothing here waits, allocates or is ever given back. A place is taken by one CAS of its hash and then belongs to
// its stack for the life of the process; sums are added to without an order among them, so a look beside a sample may
// see one sum with it and another without. Two stacks are the same when 64 bits of hash are: of a full table any two
// meet by mistake once in 2 to the 40th.
//
// Bounded: when no place is left, what is added counts for one stack of a single frame, whose function says so by its
// name. Rejected: a lock and a map (malloc inside of malloc); forgetting the stack that was seen longest ago (what is
// still in use of it would be forgotten too).
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fiberd::fiber {

class StackTable {
 public:
  static constexpr std::size_t kFrames = 64;    ///< of a deeper stack the innermost
  static constexpr std::size_t kStacks = 4096;  ///< a power of two
  static constexpr std::size_t kSums = 4;

  struct Entry {
    std::atomic<std::uint64_t> hash{0};   ///< 0: free
    std::atomic<std::uint32_t> count{0};  ///< of frames; 0: they are being written
    std::uint32_t tag = 0;
    std::array<std::atomic<std::uint64_t>, kSums> sums{};
    std::array<std::uintptr_t, kFrames> frames{};

    void add(std::size_t sum, std::uint64_t n) noexcept { sums[sum].fetch_add(n, std::memory_order_relaxed); }
  };

  constexpr StackTable() noexcept = default;
  StackTable(const StackTable&) = delete;
  StackTable& operator=(const StackTable&) = delete;

  /// The place of this stack, return addresses innermost first; `tag` (what else tells samples apart) makes it another
  /// one. Any thread, also in a signal handler. An empty stack is one, too.
  [[nodiscard]] Entry& at(std::span<const std::uintptr_t> frames, std::uint32_t tag = 0) noexcept;
  /// By the number that index_of() told.
  [[nodiscard]] Entry& by_index(std::uint32_t index) noexcept { return index < kStacks ? entries_[index] : beyond_; }
  [[nodiscard]] std::uint32_t index_of(const Entry& entry) const noexcept {
    return &entry == &beyond_ ? static_cast<std::uint32_t>(kStacks)
                              : static_cast<std::uint32_t>(&entry - entries_.data());
  }

  /// Each stack that has something: `visit(frames, tag, sums)`.
  template <class F>
  void for_each(F&& visit) const {
    const auto look = [&visit](const Entry& entry, std::span<const std::uintptr_t> frames) {
      std::array<std::uint64_t, kSums> sums{};
      std::uint64_t any = 0;
      for (std::size_t i = 0; i < kSums; ++i) any |= sums[i] = entry.sums[i].load(std::memory_order_relaxed);
      if (any != 0) visit(frames, entry.tag, sums);
    };
    for (const Entry& entry : entries_)
      if (const std::uint32_t n = entry.count.load(std::memory_order_acquire); n != 0)
        look(entry, std::span(entry.frames).first(n));
    const std::uintptr_t named = name_of_beyond();
    look(beyond_, std::span(&named, 1));
  }
  /// How many samples found no place.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] static std::uintptr_t name_of_beyond() noexcept;

  std::array<Entry, kStacks> entries_{};
  Entry beyond_{};
  std::atomic<std::uint64_t> lost_{0};
};

}  // namespace fiberd::fiber
