#pragma once
// Metric shards: the index under which a thread may add to counters without an atomic read-modify-write.
#include <cstdint>

namespace fiberd::metric {

using ShardId = std::uint32_t;

/// Shards 1 … kMaxShards-1 belong to one thread at a time; shard 0 is shared by every thread that owns none.
inline constexpr ShardId kMaxShards = 1280;

/// Hands out shard indices to Processors. A released shard keeps its counts: its next owner adds on top of them, and
/// the lock in here orders the two owners. Thread-safe; never parks.
class ShardAllocator {
 public:
  /// The lowest free index ≥ 1; 0 (the shared shard: slower, still exact) when all are taken.
  [[nodiscard]] static ShardId acquire();
  /// The caller's thread no longer uses `id`. Releasing 0 does nothing; releasing a free shard is a bug (reported).
  static void release(ShardId id);
};

}  // namespace fiberd::metric
