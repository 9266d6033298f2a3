#pragma once
// ShardedMap<K, V>: a map for many fibers, in 2^n parts that have a lock each.
//
//   ShardedMap<std::string, Counter> counters;
//   counters.compute(std::string_view(name), [&](Counter& c) { c.add(n); });   // made if it is not there
//
// Callbacks run under the lock of their key's shard (a base Lock, which blocks the thread): they must be short and must
// not park, nor call this map again. A debug build stops at a park under a lock. Values that leave the map (erased,
// replaced, cleared) are destroyed after the lock is released, so their destructors may park.
//
// Look-ups take anything that Hash and Eq take. For K = std::string the default pair takes std::string_view and char*
// without making a string; a string is made when a key is inserted.
//
// A map with `max_entries` refuses to insert beyond that many, exactly, over all shards; what is refused is told to the
// caller, who counts it. Refusing costs a look-up. A shared counter is written only when a key is inserted or erased,
// never by look-ups and changes of what is there.
//
// Why std::unordered_map inside: nodes do not move, so a long rehash moves pointers only; the hash is computed once per
// call (Probe) and kept in the node. Rejected: one open-addressed table with a lock per group (growing it stops
// everybody); a read-write lock per shard (its reader count is written as often as a lock).
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "core/base/cache_line.hpp"
#include "core/base/lock.hpp"

namespace fiberd::sync {

/// std::hash, and for strings one that takes every kind of string.
template <class K>
struct KeyHash : std::hash<K> {};
template <>
struct KeyHash<std::string> {
  std::size_t operator()(std::string_view key) const noexcept { return std::hash<std::string_view>()(key); }
};

namespace detail {
/// Which of 2^bits shards. std::hash of an integer is the integer: this spreads it, and takes bits that the map inside
/// a shard does not use.
[[nodiscard]] constexpr std::size_t shard_index(std::size_t hash, unsigned bits) noexcept {
  return bits == 0 ? 0 : std::uint64_t{hash} * 0x9e37'79b9'7f4a'7c15U >> (64 - bits);
}
}  // namespace detail

template <class K, class V, class Hash = KeyHash<K>, class Eq = std::equal_to<>>
class ShardedMap {
 public:
  static constexpr std::size_t kUnbounded = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t kDefaultShards = 64;

  /// `shards` is rounded up to a power of two, 1 … 65,536. Throws std::bad_alloc.
  explicit ShardedMap(std::size_t max_entries = kUnbounded, std::size_t shards = kDefaultShards)
      : max_entries_(max_entries) {
    while ((std::size_t{1} << bits_) < shards && bits_ < 16) ++bits_;
    shards_ = std::make_unique<Shard[]>(std::size_t{1} << bits_);
  }
  ShardedMap(const ShardedMap&) = delete;
  ShardedMap& operator=(const ShardedMap&) = delete;

  /// A copy of the value.
  template <class Q>
  [[nodiscard]] std::optional<V> load(const Q& key) const {
    const Probe<Q> probe{key, hash_(key)};
    Shard& shard = shard_of(probe.hash);
    const LockGuard guard(shard.lock);
    const auto it = shard.map.find(probe);
    return it == shard.map.end() ? std::nullopt : std::optional<V>(it->second);
  }
  template <class Q>
  [[nodiscard]] bool contains(const Q& key) const {
    const Probe<Q> probe{key, hash_(key)};
    Shard& shard = shard_of(probe.hash);
    const LockGuard guard(shard.lock);
    return shard.map.find(probe) != shard.map.end();
  }

  /// Inserts or replaces. False: refused, the map is full. Throws std::bad_alloc.
  template <class Q>
  [[nodiscard]] bool store(const Q& key, V value) {
    return with(
        key, [&](V& present) { std::swap(present, value); }, [&]() -> V { return std::move(value); }, [](V&) {});
  }

  /// The value of `key`, and whether it was there; if not, it is what make() returns. make() is called at most once,
  /// under the lock. Throws std::length_error when the map is full, std::bad_alloc, and what make() throws.
  template <class Q, class Make>
  std::pair<V, bool> load_or_store(const Q& key, Make&& make) {
    auto result = try_load_or_store(key, std::forward<Make>(make));
    if (!result) throw std::length_error("ShardedMap: full");
    return *std::move(result);
  }
  /// The same; nullopt when the map is full.
  template <class Q, class Make>
  [[nodiscard]] std::optional<std::pair<V, bool>> try_load_or_store(const Q& key, Make&& make) {
    std::optional<std::pair<V, bool>> result;
    (void)with(
        key, [&](V& present) { result.emplace(present, true); }, [&]() -> V { return make(); },
        [&](V& fresh) { result.emplace(fresh, false); });
    return result;
  }

  /// fn(V&) on the value of `key`, which is V() if it was not there. fn that returns bool erases the entry by returning
  /// false. True: fn was called; false: refused, the map is full. When fn throws, a fresh entry is taken out again.
  template <class Q, class F>
  [[nodiscard]] bool compute(const Q& key, F&& fn) {
    return with(
        key, [&](V& present) { return fn(present); }, [] { return V(); }, [&](V& fresh) { return fn(fresh); });
  }
  /// The same, but only on a value that is there. False: it is not.
  template <class Q, class F>
  [[nodiscard]] bool update(const Q& key, F&& fn) {
    const Probe<Q> probe{key, hash_(key)};
    Shard& shard = shard_of(probe.hash);
    Node erased;
    const LockGuard guard(shard.lock);
    const auto it = shard.map.find(probe);
    if (it == shard.map.end()) return false;
    if (!keeps(fn, it->second)) erased = take(shard, it);
    return true;
  }

  /// True: it was there.
  template <class Q>
  bool erase(const Q& key) {
    return update(key, [](V&) { return false; });
  }
  /// The value that was there, moved out of the map: of several who try, one gets it.
  template <class Q>
  [[nodiscard]] std::optional<V> load_and_erase(const Q& key) {
    std::optional<V> value;
    (void)update(key, [&](V& present) {
      value.emplace(std::move(present));
      return false;
    });
    return value;
  }

  /// Replaces the value of `key` by `desired` if it is `expected` (by ==, under the lock). False: it is another, or
  /// not there.
  template <class Q, std::equality_comparable_with<V> E>
  [[nodiscard]] bool compare_and_swap(const Q& key, const E& expected, V desired) {
    bool swapped = false;
    (void)update(key, [&](V& present) {
      if ((swapped = present == expected)) std::swap(present, desired);
    });
    return swapped;
  }
  /// Erases the entry if its value is `expected`. False: it is another, or not there.
  template <class Q, std::equality_comparable_with<V> E>
  bool compare_and_erase(const Q& key, const E& expected) {
    bool erased = false;
    (void)update(key, [&](V& present) { return !(erased = present == expected); });
    return erased;
  }

  /// fn(const K&, V&) → bool on every entry, false ends it. One shard is locked at a time, for as long as its entries
  /// take: entries inserted or erased meanwhile in other shards may or may not be seen, each at most once. True: all.
  template <class F>
  bool range(F&& fn) {
    for (std::size_t s = 0; s < shard_count(); ++s) {
      const LockGuard guard(shards_[s].lock);
      for (auto& [key, value] : shards_[s].map)
        if (!fn(key, value)) return false;
    }
    return true;
  }
  /// Erases every entry for which fn(const K&, V&) is true; shard by shard, as range. Returns how many.
  template <class F>
  std::size_t erase_if(F&& fn) {
    std::size_t n = 0;
    for (std::size_t s = 0; s < shard_count(); ++s) {
      Map erased = empty_map();
      const LockGuard guard(shards_[s].lock);
      for (auto it = shards_[s].map.begin(); it != shards_[s].map.end();) {
        const auto here = it++;
        if (!fn(here->first, here->second)) continue;
        erased.insert(take(shards_[s], here));
        ++n;
      }
    }
    return n;
  }

  /// Entries; exact while nobody inserts or erases.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t max_entries() const noexcept { return max_entries_; }
  [[nodiscard]] std::size_t shard_count() const noexcept { return std::size_t{1} << bits_; }

  /// Shard by shard: entries that are inserted meanwhile may stay.
  void clear() {
    for (std::size_t s = 0; s < shard_count(); ++s) {
      Map erased = empty_map();
      const LockGuard guard(shards_[s].lock);
      entries_.fetch_sub(shards_[s].map.size(), std::memory_order_relaxed);
      shards_[s].map.swap(erased);
    }
  }

 private:
  /// A key to look for, with its hash.
  template <class Q>
  struct Probe {
    const Q& key;
    std::size_t hash;
  };
  struct MapHash {
    using is_transparent = void;
    template <class Q>
    std::size_t operator()(const Probe<Q>& probe) const noexcept {
      return probe.hash;
    }
    // Not noexcept on purpose: libstdc++ keeps the hash in the node only if computing it is not.
    std::size_t operator()(const K& key) const { return hash(key); }
    [[no_unique_address]] Hash hash;
  };
  struct MapEq {
    using is_transparent = void;
    template <class Q>
    bool operator()(const Probe<Q>& probe, const K& key) const {
      return eq(key, probe.key);
    }
    template <class Q>
    bool operator()(const K& key, const Probe<Q>& probe) const {
      return eq(key, probe.key);
    }
    bool operator()(const K& a, const K& b) const { return eq(a, b); }
    [[no_unique_address]] Eq eq;
  };
  using Map = std::unordered_map<K, V, MapHash, MapEq>;
  using Node = typename Map::node_type;
  struct alignas(kCacheLine) Shard {
    mutable Lock lock;
    Map map FIBERD_GUARDED_BY(lock);
  };
  static Map empty_map() { return Map(0); }

  [[nodiscard]] Shard& shard_of(std::size_t hash) const noexcept { return shards_[detail::shard_index(hash, bits_)]; }
  /// fn(value); false if it returned false, so that the entry must go.
  template <class F>
  static bool keeps(F&& fn, V& value) {
    if constexpr (std::is_same_v<std::invoke_result_t<F&, V&>, bool>) {
      return fn(value);
    } else {
      fn(value);
      return true;
    }
  }
  Node take(Shard& shard, typename Map::iterator it) noexcept FIBERD_REQUIRES(shard.lock) {
    entries_.fetch_sub(1, std::memory_order_relaxed);
    return shard.map.extract(it);
  }
  [[nodiscard]] bool reserve_entry() noexcept {
    std::size_t n = entries_.load(std::memory_order_relaxed);
    while (n < max_entries_)
      if (entries_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return true;
    return false;
  }
  /// present(V&) on what is there, or fresh(V&) on make() inserted. False: refused.
  template <class Q, class Present, class Make, class Fresh>
  bool with(const Q& key, Present&& present, Make&& make, Fresh&& fresh) {
    const Probe<Q> probe{key, hash_(key)};
    Shard& shard = shard_of(probe.hash);
    Node erased;  // dies after the lock
    const LockGuard guard(shard.lock);
    auto it = shard.map.find(probe);
    if (it != shard.map.end()) {
      if (!keeps(present, it->second)) erased = take(shard, it);
      return true;
    }
    if (!reserve_entry()) return false;
    try {
      it = shard.map.try_emplace(K(key), Lazy<Make>{make}).first;
    } catch (...) {
      entries_.fetch_sub(1, std::memory_order_relaxed);
      throw;
    }
    try {
      if (!keeps(fresh, it->second)) erased = take(shard, it);
    } catch (...) {
      erased = take(shard, it);
      throw;
    }
    return true;
  }
  /// Lets a value be made in its place, also one that cannot be moved.
  template <class Make>
  struct Lazy {
    Make& make;
    operator V() const { return make(); }  // NOLINT: implicit on purpose
  };

  const std::size_t max_entries_;
  unsigned bits_ = 0;
  [[no_unique_address]] Hash hash_;
  std::unique_ptr<Shard[]> shards_;
  alignas(kCacheLine) std::atomic<std::size_t> entries_{0};
};

}  // namespace fiberd::sync
