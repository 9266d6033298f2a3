#include "core/flow/keyed_token_buckets.hpp"

#include <algorithm>
#include <bit>

namespace fiberd::flow {

static constexpr std::size_t kMostShards = 32;  // five bits of the hash: shard_of()
static constexpr std::size_t kLeastPerShard = 64;
static constexpr std::size_t kMostKeys = std::size_t{1} << 28U;
static constexpr unsigned kLook = 8;  // buckets looked at for one that owes nothing

KeyedTokenBuckets::KeyedTokenBuckets(double rate, std::int64_t burst, std::size_t keys) : gcra_(rate, burst) {
  keys = std::clamp<std::size_t>(keys, 1, kMostKeys);
  shard_count_ = std::clamp<std::size_t>(std::bit_floor(keys / kLeastPerShard), 1, kMostShards);
  shard_mask_ = shard_count_ - 1;
  const std::size_t per_shard = (keys + shard_count_ - 1) / shard_count_;
  shards_ = std::make_unique<Shard[]>(shard_count_);
  for (std::size_t i = 0; i < shard_count_; ++i) {
    Shard& s = shards_[i];
    const std::size_t slots = std::bit_ceil(per_shard * 2);
    s.buckets = std::make_unique_for_overwrite<Bucket[]>(per_shard);  // not touched before it is used
    s.slots = std::make_unique<std::uint32_t[]>(slots);
    std::fill_n(s.slots.get(), slots, kNone);
    s.mask = static_cast<std::uint32_t>(slots - 1);
    s.capacity = static_cast<std::uint32_t>(per_shard);
  }
}

KeyedTokenBuckets::~KeyedTokenBuckets() = default;

// The hash's top bits choose the shard, its low bits the slot.
std::uint32_t KeyedTokenBuckets::find(const Shard& s, std::uint64_t key) noexcept {
  for (std::uint32_t i = static_cast<std::uint32_t>(key) & s.mask;; i = (i + 1) & s.mask) {
    const std::uint32_t b = s.slots[i];
    if (b == kNone || s.buckets[b].key == key) return b;
  }
}

void KeyedTokenBuckets::insert_slot(Shard& s, std::uint64_t key, std::uint32_t b) noexcept {
  std::uint32_t i = static_cast<std::uint32_t>(key) & s.mask;
  while (s.slots[i] != kNone) i = (i + 1) & s.mask;
  s.slots[i] = b;
}

/// Linear probing without tombstones: what stands behind the hole and could stand in it moves up.
void KeyedTokenBuckets::erase_slot(Shard& s, std::uint64_t key) noexcept {
  std::uint32_t hole = static_cast<std::uint32_t>(key) & s.mask;
  while (s.buckets[s.slots[hole]].key != key) hole = (hole + 1) & s.mask;
  for (std::uint32_t i = (hole + 1) & s.mask; s.slots[i] != kNone; i = (i + 1) & s.mask) {
    const std::uint32_t home = static_cast<std::uint32_t>(s.buckets[s.slots[i]].key) & s.mask;
    if (((i - home) & s.mask) < ((i - hole) & s.mask)) continue;  // its home lies behind the hole
    s.slots[hole] = s.slots[i];
    hole = i;
  }
  s.slots[hole] = kNone;
}

void KeyedTokenBuckets::unlink(Shard& s, std::uint32_t b) noexcept {
  const Bucket& bucket = s.buckets[b];
  (bucket.newer != kNone ? s.buckets[bucket.newer].older : s.newest) = bucket.older;
  (bucket.older != kNone ? s.buckets[bucket.older].newer : s.oldest) = bucket.newer;
}

void KeyedTokenBuckets::link_newest(Shard& s, std::uint32_t b) noexcept {
  Bucket& bucket = s.buckets[b];
  bucket.newer = kNone;
  bucket.older = s.newest;
  (s.newest != kNone ? s.buckets[s.newest].newer : s.oldest) = b;
  s.newest = b;
}

/// A bucket for a key that has none; if need be, somebody else's.
std::uint32_t KeyedTokenBuckets::make(Shard& s, std::uint64_t key, std::int64_t at) noexcept {
  std::uint32_t b = s.used;
  std::int64_t tat = 0;
  if (s.used < s.capacity) {
    ++s.used;
  } else {
    b = s.oldest;
    std::uint32_t candidate = s.oldest;
    for (unsigned i = 0; i < kLook && candidate != kNone; ++i, candidate = s.buckets[candidate].newer) {
      if (s.buckets[candidate].tat < s.buckets[b].tat) b = candidate;
      if (gcra_.full(s.buckets[b].tat, at)) break;
    }
    tat = s.buckets[b].tat;
    ++(gcra_.full(tat, at) ? s.evicted_full : s.evicted_in_debt);
    erase_slot(s, s.buckets[b].key);
    unlink(s, b);
  }
  s.buckets[b].key = key;
  s.buckets[b].tat = tat;
  insert_slot(s, key, b);
  link_newest(s, b);
  return b;
}

bool KeyedTokenBuckets::try_take_at(std::int64_t now_ns, std::uint64_t key, std::int64_t n) noexcept {
  if (n <= 0 || gcra_.unlimited()) return true;
  if (!gcra_.fits(n)) return false;
  const std::int64_t at = gcra_.units(now_ns);
  Shard& s = shard_of(key);
  const LockGuard guard(s.lock);
  std::uint32_t b = find(s, key);
  if (b == kNone) {
    b = make(s, key, at);
  } else if (b != s.newest) {
    unlink(s, b);
    link_newest(s, b);
  }
  const Gcra::Taken t = gcra_.take(s.buckets[b].tat, at, n);
  if (t.taken) s.buckets[b].tat = t.tat;
  return t.taken;
}

std::chrono::nanoseconds KeyedTokenBuckets::time_until_at(std::int64_t now_ns, std::uint64_t key,
                                                          std::int64_t n) noexcept {
  if (n <= 0 || gcra_.unlimited()) return std::chrono::nanoseconds(0);
  if (!gcra_.fits(n)) return std::chrono::nanoseconds::max();
  const std::int64_t at = gcra_.units(now_ns);
  std::int64_t tat = 0;
  {
    Shard& s = shard_of(key);
    const LockGuard guard(s.lock);
    if (const std::uint32_t b = find(s, key); b != kNone) tat = s.buckets[b].tat;
  }
  return std::chrono::nanoseconds(gcra_.nanoseconds(gcra_.due_in(gcra_.take(tat, at, n).tat, at)));
}

template <class F>
static std::uint64_t sum(std::size_t shards, F of) noexcept {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards; ++i) total += of(i);
  return total;
}

std::size_t KeyedTokenBuckets::size() const noexcept {
  return sum(shard_count_, [&](std::size_t i) {
    const LockGuard guard(shards_[i].lock);
    return shards_[i].used;
  });
}

std::size_t KeyedTokenBuckets::capacity() const noexcept {
  return sum(shard_count_, [&](std::size_t i) { return shards_[i].capacity; });
}

std::uint64_t KeyedTokenBuckets::evicted_full() const noexcept {
  return sum(shard_count_, [&](std::size_t i) {
    const LockGuard guard(shards_[i].lock);
    return shards_[i].evicted_full;
  });
}

std::uint64_t KeyedTokenBuckets::evicted_in_debt() const noexcept {
  return sum(shard_count_, [&](std::size_t i) {
    const LockGuard guard(shards_[i].lock);
    return shards_[i].evicted_in_debt;
  });
}

}  // namespace fiberd::flow
