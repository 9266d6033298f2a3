#pragma once
// KeyedTokenBuckets: a token bucket for each key (client address, API key), for a bounded number of keys.
//
// Memory. All of it is taken at construction: at most 40 bytes a key. Keys are 64-bit hashes under a secret of this
// process (SipHash), so that nobody can choose keys that collide; two of a million honest keys share a bucket by
// accident with a probability below 1 in 10^7.
//
// Structure. Shards with a lock each; in a shard an open-addressing table of indices into a slab of buckets, which hang
// in a list from the most to the least recently used. A look-up holds its shard's lock for some dozens of instructions.
//
// Eviction, and why it is no escape. A bucket that is full again carries no information, since a key without a bucket
// begins with a full one: it is forgotten free of charge. When a new key finds its shard full, the least recently used
// buckets are looked at (kLook of them) and a full one goes. If all of them still owe, the one that owes least goes,
// counted by evicted_in_debt(), and *the newcomer inherits what it owed* (as counters are inherited in the Space-Saving
// algorithm: Metwally, Agrawal, El Abbadi, ICDT 2005). So whoever cycles through keys to make its own bucket be
// forgotten gains nothing: all keys together are never admitted more than keys · (burst + rate · t). The price is paid
// by newcomers while the table is too small for those who come: they may be refused though they are new.
// What a table cannot prevent is somebody who has many keys: limit what many keys can have together, too.
//
// Rejected: one table under one lock (the lock becomes the place through which all threads pass); buckets as lock-free
// nodes (each look-up moves its key to the front of the list anyway); clearing all buckets at intervals (everybody gets
// a second burst at the same moment).
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/base/cache_line.hpp"
#include "core/base/clock.hpp"
#include "core/base/keyed_hash.hpp"
#include "core/base/lock.hpp"
#include "core/flow/gcra.hpp"

namespace fiberd::flow {

/// All members are thread-safe and never park.
class KeyedTokenBuckets {
 public:
  /// As TokenBucket, for each key; at most `keys` of them (1 … 2^28; rounded up to fill the shards). Throws bad_alloc.
  KeyedTokenBuckets(double rate, std::int64_t burst, std::size_t keys);
  ~KeyedTokenBuckets();
  KeyedTokenBuckets(const KeyedTokenBuckets&) = delete;
  KeyedTokenBuckets& operator=(const KeyedTokenBuckets&) = delete;

  /// Keys by content: `kind` tells apart what must not meet (addresses from names).
  [[nodiscard]] std::uint64_t key_of(std::string_view bytes, std::uint8_t kind = 0) const noexcept {
    return hash_.of(bytes, kind);
  }

  /// Takes `n` tokens of that key's bucket if they are there now. `key` comes from key_of().
  [[nodiscard]] bool try_take(std::uint64_t key, std::int64_t n = 1) noexcept {
    return try_take_at(monotonic_now(), key, n);
  }
  [[nodiscard]] bool try_take_at(std::int64_t now_ns, std::uint64_t key, std::int64_t n = 1) noexcept;
  /// How long until `n` tokens will be there for that key; nanoseconds::max(): never.
  [[nodiscard]] std::chrono::nanoseconds time_until_at(std::int64_t now_ns, std::uint64_t key,
                                                       std::int64_t n = 1) noexcept;

  /// Keys that have a bucket now.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t capacity() const noexcept;
  /// Buckets forgotten so far to make room: full ones, and ones whose debt a newcomer inherited.
  [[nodiscard]] std::uint64_t evicted_full() const noexcept;
  [[nodiscard]] std::uint64_t evicted_in_debt() const noexcept;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Bucket {
    std::uint64_t key;
    std::int64_t tat;
    std::uint32_t newer;
    std::uint32_t older;
  };
  struct alignas(kCacheLine) Shard {
    mutable Lock lock;
    std::unique_ptr<Bucket[]> buckets;
    std::unique_ptr<std::uint32_t[]> slots;  // open addressing, linear; kNone is empty
    std::uint32_t mask = 0;
    std::uint32_t capacity = 0;
    std::uint32_t used FIBERD_GUARDED_BY(lock) = 0;
    std::uint32_t newest FIBERD_GUARDED_BY(lock) = kNone;
    std::uint32_t oldest FIBERD_GUARDED_BY(lock) = kNone;
    std::uint64_t evicted_full FIBERD_GUARDED_BY(lock) = 0;
    std::uint64_t evicted_in_debt FIBERD_GUARDED_BY(lock) = 0;
  };
  [[nodiscard]] Shard& shard_of(std::uint64_t key) const noexcept { return shards_[key >> 59U & shard_mask_]; }
  [[nodiscard]] static std::uint32_t find(const Shard& s, std::uint64_t key) noexcept;
  static void unlink(Shard& s, std::uint32_t b) noexcept FIBERD_REQUIRES(s.lock);
  static void link_newest(Shard& s, std::uint32_t b) noexcept FIBERD_REQUIRES(s.lock);
  static void insert_slot(Shard& s, std::uint64_t key, std::uint32_t b) noexcept;
  static void erase_slot(Shard& s, std::uint64_t key) noexcept;
  [[nodiscard]] std::uint32_t make(Shard& s, std::uint64_t key, std::int64_t at) noexcept FIBERD_REQUIRES(s.lock);

  const Gcra gcra_;
  const KeyedHash hash_;
  std::size_t shard_count_ = 1;
  std::size_t shard_mask_ = 0;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace fiberd::flow
