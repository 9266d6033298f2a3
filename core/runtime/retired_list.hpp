#pragma once
// RetiredList: the Processors that were replaced and that a machine still has (handoff.cpp).
//
// The machine goes on filling such a Processor's queue until its next entry into the runtime, so thieves must see it:
// they read the places without a lock. Only holders of the scheduler's structure lock write them. Processors are never
// freed, so a thief with an old pointer reads a queue that is at worst empty or somebody else's.
//
// The count stands apart so that a search costs one load where nothing is retired, which is nearly always. It grows
// behind its place and shrinks behind it: a thief that reads 0 misses at most what has just been added, and whoever
// added it looks after the work that it leaves there.
#include <algorithm>
#include <array>
#include <atomic>

#include "core/runtime/processor.hpp"

namespace fiberd::runtime {

inline constexpr unsigned kMaxRetired = 128;

class RetiredList {
 public:
  /// False: there is no place left. Under the structure lock, as remove().
  bool add(Processor& p) noexcept {
    for (auto& place : places_) {
      if (place.load(std::memory_order_relaxed) != nullptr) continue;
      place.store(&p, std::memory_order_release);
      count_.fetch_add(1, std::memory_order_seq_cst);
      return true;
    }
    return false;
  }
  void remove(Processor& p) noexcept {
    for (auto& place : places_) {
      if (place.load(std::memory_order_relaxed) != &p) continue;
      place.store(nullptr, std::memory_order_release);
      count_.fetch_sub(1, std::memory_order_seq_cst);
      return;
    }
  }
  [[nodiscard]] bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }
  [[nodiscard]] bool full() const noexcept { return count_.load(std::memory_order_relaxed) == kMaxRetired; }
  /// Whether one of them has fibers queued.
  [[nodiscard]] bool have_work() const noexcept {
    if (empty()) return false;
    return std::any_of(places_.begin(), places_.end(), [](const std::atomic<Processor*>& place) {
      const Processor* const p = place.load(std::memory_order_acquire);
      return p != nullptr && p->queue.size() != 0;
    });
  }
  /// The first of what steal(victim) gives; nullptr: none gives anything.
  template <class Steal>
  Fiber* steal(Steal&& steal) noexcept {
    for (unsigned i = 0; !empty() && i < kMaxRetired; ++i)
      if (Processor* const victim = places_[i].load(std::memory_order_acquire))
        if (Fiber* const f = steal(*victim)) return f;
    return nullptr;
  }

 private:
  std::array<std::atomic<Processor*>, kMaxRetired> places_{};
  std::atomic<unsigned> count_{0};
};

}  // namespace fiberd::runtime
