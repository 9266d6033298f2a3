#pragma once
// SnapshotWords: who holds which version of an AtomicSnapshot. It knows version numbers (indices) and counts only; the
// values are atomic_snapshot.hpp's.
//
// A split reference count, with a copy of its outer half for each shard of readers:
//
//   word (one, `main`, and one per shard, each on a cache line):   bits 48–63 index of a version, bits 0–47 count
//   count of a version (signed):                                   0 at first; negative while a word names it
//
// A reader adds one to its shard's word: that one instruction tells it the version and protects it. Then it looks at
// main, which it only reads. If main names the same version, that version is the current one at this moment, and the
// read is over. If not, a store is under way that has reached main but not yet this shard; the reader adds one to main
// instead (which is the current version, whatever it is) and gives the first one back. Never a third step: readers are
// wait-free.
//
// A reader gives back in one of two ways: if its thread's shard names the same version and counts somebody, it takes
// one off there (one attempt); otherwise, or when that attempt fails, it takes one off the version's own count. Where
// the reader was counted does not matter, so a guard may migrate between threads: only the sum over all words and the
// version's count has a meaning,
//
//     readers of a version = sum of the counts of the words that name it + its own count
//
// A store (one at a time) exchanges main — the moment at which the new value is there for everybody — then every shard,
// adds up what they counted, and adds that sum to the old version's count at once. Whoever makes that count zero, the
// store by adding or the last reader by taking one off a count of one, frees the version. Before the store has added
// the sum the count is zero or less, so no reader takes it for the last one; afterwards it is the number of readers.
// Nobody can find a version that no word names, and a reader that holds one keeps its index from being used again:
// hence equal indices are equal versions wherever they are compared, and no ABA.
//
// 48 bits are enough: a count grows beyond the readers that are alive only by give-backs whose one attempt failed.
//
// Rejected. Epochs (one slow reader holds every later version too, and a fiber may hold a guard across a park). Hazard
// slots (a reader must retry while stores go on, and a guard that migrates needs a slot that does). One word for all
// readers (correct and half the code; but then every read writes to one line that all processors share). Shards without
// main (a fiber that migrates during a store could see the new version and then the old one again).
//
// Atomic is std::atomic; tests/model instantiates the template with its own to visit every interleaving.
#include <array>
#include <atomic>
#include <cstdint>

#include "core/base/cache_line.hpp"

namespace fiberd::sync {

/// Slots: `Atomic<std::int64_t>& count(std::uint32_t index)`, valid for every index that was published.
template <class Slots, unsigned kShards, template <class> class Atomic = std::atomic>
class BasicSnapshotWords {
 public:
  static constexpr std::uint32_t kNone = ~0U;
  static constexpr std::uint32_t kMaxVersions = 1U << 16U;

  /// The first version has index 0. The count of every version must be 0 when it is published.
  explicit BasicSnapshotWords(Slots& slots) noexcept : slots_(slots) {}

  struct Acquired {
    std::uint32_t index;  ///< the current version, held by the caller
    std::uint32_t freed;  ///< kNone, or a version that the caller must destroy now
  };
  /// Any thread; wait-free.
  [[nodiscard]] Acquired acquire(std::uint32_t shard) noexcept {
    const std::uint32_t seen = index_of(shards_[shard % kShards].word.fetch_add(1, std::memory_order_acq_rel));
    if (seen == index_of(main_.word.load(std::memory_order_acquire))) return {seen, kNone};
    const std::uint32_t current = index_of(main_.word.fetch_add(1, std::memory_order_acq_rel));
    return {current, release(shard, seen) ? seen : kNone};
  }

  /// Any thread, not only the one that acquired; wait-free. True: the caller must destroy the version.
  [[nodiscard]] bool release(std::uint32_t shard, std::uint32_t index) noexcept {
    Word& word = shards_[shard % kShards].word;
    std::uint64_t w = word.load(std::memory_order_relaxed);
    if (index_of(w) == index && count_of(w) != 0 &&
        word.compare_exchange_strong(w, w - 1, std::memory_order_acq_rel, std::memory_order_relaxed))
      return false;
    return slots_.count(index).fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

  /// Makes `index` the current version. One caller at a time. Returns the version before if
  /// the caller must destroy it, else kNone (its last reader does).
  [[nodiscard]] std::uint32_t publish(std::uint32_t index) noexcept {
    const std::uint64_t fresh = std::uint64_t{index} << kCountBits;
    const std::uint64_t w = main_.word.exchange(fresh, std::memory_order_acq_rel);
    const std::uint32_t old = index_of(w);
    std::uint64_t sum = count_of(w);
    for (Line& shard : shards_) sum += count_of(shard.word.exchange(fresh, std::memory_order_acq_rel));
    const auto moved = static_cast<std::int64_t>(sum);
    return slots_.count(old).fetch_add(moved, std::memory_order_acq_rel) == -moved ? old : kNone;
  }

  /// Between stores, or for the one that stores.
  [[nodiscard]] std::uint32_t current() const noexcept { return index_of(main_.word.load(std::memory_order_acquire)); }
  /// Readers of the current version. Only while nobody else is here.
  [[nodiscard]] std::int64_t readers() const noexcept {
    std::uint64_t sum = count_of(main_.word.load(std::memory_order_acquire));
    for (const Line& shard : shards_) sum += count_of(shard.word.load(std::memory_order_acquire));
    return static_cast<std::int64_t>(sum) + slots_.count(current()).load(std::memory_order_acquire);
  }

 private:
  using Word = Atomic<std::uint64_t>;
  static constexpr unsigned kCountBits = 48;
  static constexpr std::uint32_t index_of(std::uint64_t w) noexcept {
    return static_cast<std::uint32_t>(w >> kCountBits);
  }
  static constexpr std::uint64_t count_of(std::uint64_t w) noexcept {
    return w & ((std::uint64_t{1} << kCountBits) - 1);
  }
  struct alignas(kCacheLine) Line {
    Word word{0};
  };

  Slots& slots_;
  Line main_;
  std::array<Line, kShards> shards_{};
};

}  // namespace fiberd::sync
