#include "core/metric/shard.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

using fiberd::metric::kMaxShards;
using fiberd::metric::ShardAllocator;

TEST_CASE("shards are distinct, reused after release, and the shared one when all are taken", "[metric]") {
  std::vector<fiberd::metric::ShardId> all;
  for (unsigned i = 0; i < kMaxShards; ++i) {
    const auto id = ShardAllocator::acquire();
    if (id == 0) break;
    all.push_back(id);
  }
  CHECK(all.size() == kMaxShards - 1);
  CHECK(std::set(all.begin(), all.end()).size() == all.size());
  CHECK(ShardAllocator::acquire() == 0);
  ShardAllocator::release(all[7]);
  CHECK(ShardAllocator::acquire() == all[7]);
  for (const auto id : all) ShardAllocator::release(id);
  ShardAllocator::release(0);
}
