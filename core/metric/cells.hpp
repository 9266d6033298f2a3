#pragma once
// Cells: the memory under all counters. A cell is one 64-bit number per shard; its value is the sum over the shards.
//
// Invariants
// - An owned shard is written by one thread at a time, so an add is a relaxed load and a relaxed store: no lock
//   prefix, no shared cache line. Readers may be late by the adds in flight, never wrong afterwards.
// - Cells of one shard lie next to each other in the order of their registration, so the counters of one request touch
//   few cache lines.
// - Memory is taken per shard on its first add, in segments that double (512 cells, then 512, 1,024, ...): three
//   shards do not pay for 512, and a cell never moves, so nobody needs a lock to find it. Large segments come from
//   mmap by way of calloc, so their untouched pages cost nothing.
// - Shard 0 is allocated at registration; when memory is out, an owned shard's add goes there with fetch_add, and
//   counts stay exact.
//
// - Cells that nobody adds to any more may be recycled: the next allocation of as many gets them, set to zero. Who
//   recycles them vouches that every add happened before (registry.hpp: leases); a zero then races with nobody's load
//   and store.
//
// Rejected: an array of per-shard lines in each counter (512 × 64 bytes a counter); RCU-swapped vectors (a read-side
// section on each add); per-thread maps (a hash on each add).
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <map>
#include <vector>

#include "core/base/thread_locals.hpp"
#include "core/metric/shard.hpp"

namespace fiberd::metric {

using CellId = std::uint32_t;

class Cells {
  using Cell = std::atomic<std::uint64_t>;
  static_assert(Cell::is_always_lock_free && sizeof(Cell) == 8);
  static constexpr unsigned kFirstBits = 9;  // 512 cells
  static constexpr unsigned kSegments = 31 - kFirstBits + 1;
  struct Shard {
    std::array<std::atomic<Cell*>, kSegments> segments{};
  };

 public:
  Cells() noexcept = default;
  ~Cells();
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  /// `n` adjacent new cells, all zero. The caller serialises calls. Throws std::bad_alloc (also when 2^31 are in use).
  [[nodiscard]] CellId allocate(std::uint32_t n);
  /// Gives back what allocate(n) returned. Nobody adds to them any more, and all who did happened before. The caller
  /// serialises calls with allocate(). Without memory to remember them they are not used again.
  void recycle(CellId first, std::uint32_t n) noexcept;

  /// Adds on the calling thread's shard; wraps modulo 2^64, so that a negative delta is two's complement. Thread-safe.
  void add(CellId id, std::uint64_t delta) noexcept {
    const ShardId shard = thread_locals()->shard;
    if (shard != 0) [[likely]] {
      if (Cell* cell = find(shard, id)) [[likely]] {
        cell->store(cell->load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
        return;
      }
      return add_slow(shard, id, delta);
    }
    find(0, id)->fetch_add(delta, std::memory_order_relaxed);
  }

  /// Where a cell lies in each shard: worked out once, for who adds often.
  struct Spot {
    std::uint32_t segment;
    std::uint32_t offset;
  };
  [[nodiscard]] static Spot spot_of(CellId id) noexcept {
    const Place p = place(id);
    return {p.segment, p.offset};
  }
  /// The calling thread's shard, looked up once for several adds. Valid until the fiber next parks.
  class Here {
   public:
    /// As Cells::add().
    [[gnu::always_inline]] void add(Spot spot, std::uint64_t delta) const noexcept {
      if (shard_ != nullptr) [[likely]] {
        if (Cell* segment = shard_->segments[spot.segment].load(std::memory_order_acquire)) [[likely]] {
          Cell& cell = segment[spot.offset];
          cell.store(cell.load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
          return;
        }
      }
      cells_.add_elsewhere(spot, delta);
    }

   private:
    friend class Cells;
    Here(Cells& cells, ShardId shard) noexcept
        : cells_(cells), shard_(shard != 0 ? cells.shards_[shard].load(std::memory_order_acquire) : nullptr) {}
    Cells& cells_;
    Shard* shard_;  // nullptr: shared, or not there yet
  };
  [[nodiscard]] Here here() noexcept { return {*this, thread_locals()->shard}; }

  /// Sum over all shards. Thread-safe.
  [[nodiscard]] std::uint64_t sum(CellId id) const noexcept;

  /// Bytes taken from the allocator by all shards (tests and gauges).
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Place {
    unsigned segment;
    std::uint32_t offset;
    std::uint32_t size;  // of the whole segment, in cells
  };
  [[nodiscard]] static Place place(CellId id) noexcept {
    const std::uint32_t top = id >> kFirstBits;
    if (top == 0) return {0, id, 1U << kFirstBits};
    const auto width = static_cast<unsigned>(std::bit_width(top));
    const std::uint32_t size = 1U << (kFirstBits + width - 1);
    return {width, id - size, size};
  }
  [[nodiscard]] static CellId id_of(Spot spot) noexcept {
    return spot.segment == 0 ? spot.offset : spot.offset + (1U << (kFirstBits + spot.segment - 1));
  }
  [[nodiscard]] Cell* find(ShardId shard, CellId id) const noexcept {
    const Shard* s = shards_[shard].load(std::memory_order_acquire);
    if (s == nullptr) return nullptr;
    const Place p = place(id);
    Cell* segment = s->segments[p.segment].load(std::memory_order_acquire);
    return segment == nullptr ? nullptr : segment + p.offset;
  }
  [[nodiscard]] bool ensure(ShardId shard, CellId id) noexcept;
  void add_slow(ShardId shard, CellId id, std::uint64_t delta) noexcept;
  void add_elsewhere(Spot spot, std::uint64_t delta) noexcept;
  void clear(CellId id) noexcept;

  std::array<std::atomic<Shard*>, kMaxShards> shards_{};
  std::atomic<std::uint64_t> bytes_{0};
  CellId next_ = 0;
  std::map<std::uint32_t, std::vector<CellId>> spare_;  // by how many lie together
};

}  // namespace fiberd::metric
