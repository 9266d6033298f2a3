#include "core/metric/shard.hpp"

#include <array>
#include <bit>

#include "core/base/bug.hpp"
#include "core/base/lock.hpp"

namespace fiberd::metric {

namespace {
// Constant-initialised, so that it needs no start-up code and works in any order of construction.
constinit Lock lock;
constinit std::array<std::uint64_t, kMaxShards / 64> taken FIBERD_GUARDED_BY(lock){
    1};  // bit 0: the shared shard is never handed out
}  // namespace

ShardId ShardAllocator::acquire() {
  const LockGuard guard(lock);
  for (std::uint32_t word = 0; word < taken.size(); ++word) {
    if (taken[word] == ~std::uint64_t{0}) continue;
    const auto bit = static_cast<std::uint32_t>(std::countr_one(taken[word]));
    taken[word] |= std::uint64_t{1} << bit;
    return word * 64 + bit;
  }
  return 0;
}

void ShardAllocator::release(ShardId id) {
  if (id == 0 || FIBERD_BUG_IF(id >= kMaxShards)) return;
  const LockGuard guard(lock);
  const std::uint64_t mask = std::uint64_t{1} << (id % 64);
  if (FIBERD_BUG_IF((taken[id / 64] & mask) == 0)) return;
  taken[id / 64] &= ~mask;
}

}  // namespace fiberd::metric
