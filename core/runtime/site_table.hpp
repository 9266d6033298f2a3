#pragma once
// SiteTable: the places in the source where fibers are spawned, and what is known of the fibers of each.
//
// Every spawn looks its place up, so that must cost next to nothing: a SourceLocation is a pointer to what the compiler
// laid down for that place, one multiplication makes it an index, and in most cases the key stands there. The number of
// its fibers is counted in the Processor (SiteCounts: one writer, no shared cache line); what is sampled or rare is
// counted in the Site itself.
//
// One place may have several such pointers (a header's function in several sources): each is a key of its own, and the
// first time that one is seen it is compared by text and line with the places there are. The table is bounded: 1,023
// places, 3,072 keys, and what comes later is counted under place 0, "all others". Nothing is ever taken out, so
// readers need no lock; who enters a key takes one.
//
// What a place's fibers do at birth is one word, its plan: the class of their stacks, and how often one is measured.
// The memory is mapped, not allocated, since zero pages are an empty table: ten thousand simulations would otherwise
// spend their time on it.
//
// Rejected: a static object at each call of spawn (a macro, or one more argument everywhere); a hash of text and line
// (a strlen a spawn); looking up only what is sampled (then there is no number of fibers, and no class at birth).
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/lock.hpp"
#include "core/base/source_location.hpp"
#include "core/fiber/stack_class.hpp"
#include "core/runtime/fiber_origin.hpp"
#include "core/runtime/mem_stats.hpp"
#include "core/runtime/spawn_sites.hpp"

namespace fiberd::runtime {

/// What a new fiber of a place gets.
struct SitePlan {
  std::uint32_t word = 0;
  static constexpr std::uint32_t kLearnt = 0x80;
  [[nodiscard]] fiber::StackClass stack_class() const noexcept { return static_cast<fiber::StackClass>(word & 0x7fU); }
  [[nodiscard]] bool learnt() const noexcept { return (word & kLearnt) != 0; }
  /// Whether the place's fiber with this number is measured.
  [[nodiscard]] bool measures(std::uint64_t number) const noexcept { return (number & (word >> 8U)) == 0; }
};

class SiteTable {
 public:
  static constexpr std::uint32_t kSites = 1024;
  static constexpr std::uint16_t kOthers = 0;
  /// So many of a place's first fibers are measured each, and one in kRareMask + 1 once the class is known.
  static constexpr std::uint32_t kFirst = 64;
  static constexpr std::uint32_t kSparseMask = 15;
  static constexpr std::uint32_t kRareMask = 1023;
  static constexpr std::size_t kFrames = 24;

  /// A fiber whose learnt stack was too small, as the handler of the fault wrote it down.
  struct Outgrown {
    FiberOrigin origin{};
    fiber::StackClass from = fiber::StackClass::normal;
    std::uint16_t site = kOthers;
    std::size_t depth = 0;
    std::array<std::uintptr_t, kFrames> frames{};
  };

  SiteTable() noexcept;
  ~SiteTable();
  SiteTable(const SiteTable&) = delete;
  SiteTable& operator=(const SiteTable&) = delete;
  /// False: there was no memory for it, and nothing else may be called.
  [[nodiscard]] bool made() const noexcept { return tables_ != nullptr; }
  /// Before the first fiber. `measure`: stacks are; `apply`: classes that were learnt are given out, if they are
  /// smaller than `normal_size`.
  void configure(bool measure, bool apply, std::size_t normal_size) noexcept;
  /// Learnt classes are given out no more, to nobody. Any thread.
  void stop_applying() noexcept;
  [[nodiscard]] bool applies() const noexcept { return apply_.load(std::memory_order_relaxed); }

  /// The place's index. `name`: of the fiber, for a place that is new.
  [[nodiscard]] std::uint16_t find(SourceLocation where, std::string_view name) noexcept {
    const std::uint64_t key = key_of(where);
    const Key& at = tables_->keys[slot_of(key)];
    if (at.key.load(std::memory_order_acquire) == key) [[likely]]
      return at.site.load(std::memory_order_relaxed);
    return find_slow(key, where, name);
  }
  [[nodiscard]] SitePlan plan(std::uint16_t site) const noexcept {
    return {tables_->sites[site].plan.load(std::memory_order_relaxed)};
  }

  // What happened to a fiber of a place; any thread.
  void began_measured(std::uint16_t site) noexcept;
  /// True: from now on it may have a class of stacks that was not asked for before (wanted_class()).
  [[nodiscard]] bool measured(std::uint16_t site, std::size_t high_water) noexcept;
  /// What measurements ask for; the place's fibers get it by give().
  [[nodiscard]] fiber::StackClass wanted_class(std::uint16_t site) const noexcept;
  void give(std::uint16_t site, fiber::StackClass c) noexcept;
  void ran_after(std::uint16_t site, std::size_t bucket, std::uint64_t latency, bool by_itself) noexcept;
  void ran_long(std::uint16_t site, std::uint64_t ns) noexcept;
  /// Its learnt stack was too small: the next larger class from now on. Async-signal-safe.
  void outgrew(const Outgrown& what) noexcept;
  /// The next of these to be told; false: there is none. One caller at a time.
  [[nodiscard]] bool next_outgrown(Outgrown& what) noexcept;

  [[nodiscard]] std::uint32_t size() const noexcept { return count_.load(std::memory_order_acquire); }
  /// All but what Processors count.
  void read(std::uint16_t site, SpawnSiteStats& out) const noexcept;
  [[nodiscard]] std::uint64_t outgrown_total() const noexcept { return outgrown_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kKeys = 4096;
  static constexpr std::uint32_t kMostKeys = kKeys / 4 * 3;
  struct Key {
    std::atomic<std::uint64_t> key;  // 0: free
    std::atomic<std::uint16_t> site;
  };
  // All zeros is a place of which nothing is known.
  struct Site {
    std::atomic<std::uint32_t> plan;
    std::atomic<std::uint32_t> begun;
    std::atomic<std::uint32_t> samples;
    std::atomic<std::uint32_t> high_water;
    std::atomic<std::uint64_t> wakes, wakes_by_itself, latency_sum, long_runs, longest_run, outgrown;
    std::array<std::atomic<std::uint64_t>, kLatencyBounds.size()> latency;
    // Written once, before the count says that it is there.
    const char* file;
    const char* name;
    std::size_t name_length;
    std::uint32_t line;
  };
  struct Tables {
    std::array<Key, kKeys> keys;
    std::array<Site, kSites> sites;
  };
  struct Report {
    std::atomic<std::uint32_t> state{0};  // 0 free, 1 being written, 2 to be told
    Outgrown what;
  };

  /// A template, so that what is not taken is not compiled: clang's SourceLocation is no single word.
  template <class Location>
  [[nodiscard]] static std::uint64_t key_of(const Location& where) noexcept {
    if constexpr (sizeof where == sizeof(std::uint64_t)) {
      return std::bit_cast<std::uint64_t>(where) + 1;  // a pointer, never odd
    } else {
      const auto file = reinterpret_cast<std::uintptr_t>(where.file_name());
      return (file * 31 + where.line()) * 2 + 1;
    }
  }
  [[nodiscard]] static std::size_t slot_of(std::uint64_t key) noexcept {
    static_assert(kKeys == 1U << 12U);
    return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15U >> 52U);
  }
  [[nodiscard]] std::uint16_t find_slow(std::uint64_t key, SourceLocation where, std::string_view name) noexcept;
  [[nodiscard]] std::uint16_t enter(SourceLocation where, std::string_view name) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] bool fits(fiber::StackClass c) const noexcept;

  Tables* tables_ = nullptr;
  std::atomic<std::uint32_t> count_{1};  // place 0 is always there
  Lock lock_;
  std::uint32_t keys_used_ FIBERD_GUARDED_BY(lock_) = 0;
  bool measure_ = false;
  std::atomic<bool> apply_{false};
  std::size_t normal_size_ = 0;
  std::array<Report, 8> reports_;
  std::atomic<std::uint64_t> outgrown_{0};
};

}  // namespace fiberd::runtime
