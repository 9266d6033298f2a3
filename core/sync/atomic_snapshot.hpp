#pragma once
// AtomicSnapshot<T>: a value that is replaced as a whole and read by many.
//
//   AtomicSnapshot<Routes> routes(load());
//   const auto r = routes.read();        // anywhere, as often as wanted
//   r->find(path);                       // the guard keeps this version, also across a park and on another thread
//   routes.store(load());                // readers that come after this see the new one
//
// Readers neither lock nor wait nor allocate: reading costs two atomic operations on a cache line of the reader's own
// Processor. A version dies with its last guard, on the fiber that drops it (or in store(), without readers); that is
// when T's destructor runs. Stores are linearizable: once anybody has seen a version, nobody sees an older one.
// The protocol is in snapshot_words.hpp. A writer that does not store here is not touched by readers at all.
//
// Memory: a version needs sizeof(T) and two cache lines; room for 4 at first, doubled when more are held at the same
// time, and kept. The words take kShards + 1 cache lines.
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/cache_line.hpp"
#include "core/base/lock.hpp"
#include "core/base/thread_locals.hpp"
#include "core/sync/snapshot_words.hpp"

namespace fiberd::sync {

/// What a snapshot may hold: an object, not const (readers see it so anyway), destroyed without throwing.
template <class T>
concept SnapshotValue = std::is_object_v<T> && !std::is_const_v<T> && std::is_nothrow_destructible_v<T>;

template <class T>
class AtomicSnapshot {
  static_assert(SnapshotValue<T>, "a snapshot holds an object that is not const and is destroyed without throwing");

 public:
  static constexpr unsigned kShards = 8;

  /// One version, held. Movable; must die before the AtomicSnapshot does.
  class [[nodiscard]] Guard {
   public:
    /// Holds none.
    Guard() noexcept = default;
    Guard(Guard&& o) noexcept : owner_(std::exchange(o.owner_, nullptr)), value_(o.value_), index_(o.index_) {}
    Guard& operator=(Guard&& o) noexcept {
      const Guard old(std::move(*this));
      owner_ = std::exchange(o.owner_, nullptr);
      value_ = o.value_;
      index_ = o.index_;
      return *this;
    }
    ~Guard() {
      if (owner_ != nullptr) owner_->release(index_);
    }
    [[nodiscard]] const T& operator*() const noexcept { return *value_; }
    [[nodiscard]] const T* operator->() const noexcept { return value_; }

   private:
    friend class AtomicSnapshot;
    Guard(AtomicSnapshot& owner, std::uint32_t index) noexcept
        : owner_(&owner), value_(owner.slots_.at(index).value()), index_(index) {}
    AtomicSnapshot* owner_ = nullptr;
    const T* value_ = nullptr;
    std::uint32_t index_ = 0;
  };

  /// Throws std::bad_alloc and what T's constructors throw.
  explicit AtomicSnapshot(T first = T()) {
    const std::uint32_t index = slots_.claim();  // the first is 0
    ::new (slots_.at(index).storage) T(std::move(first));
  }
  /// Nobody reads or stores any more.
  ~AtomicSnapshot() {
    (void)FIBERD_BUG_IF(words_.readers() != 0);
    slots_.destroy(words_.current());
  }
  AtomicSnapshot(const AtomicSnapshot&) = delete;
  AtomicSnapshot& operator=(const AtomicSnapshot&) = delete;

  /// The current version. Any thread, fiber or not; wait-free; never parks. `const` for its user: readers are counted.
  [[nodiscard]] Guard read() const noexcept {
    auto& self = const_cast<AtomicSnapshot&>(*this);  // NOLINT: the words are the one mutable part
    const auto acquired = self.words_.acquire(thread_locals()->shard);
    if (acquired.freed != Words::kNone) [[unlikely]]
      self.slots_.destroy(acquired.freed);
    return Guard(self, acquired.index);
  }

  /// Replaces the value. Any thread; other stores may block the thread for some dozen instructions; never parks unless
  /// T's move or destructor do. Throws std::bad_alloc, std::length_error (65,532 versions are held) and what T's move
  /// throws; then nothing has changed.
  void store(T value) {
    Pending pending(slots_, std::move(value));
    publish(pending, Words::kNone);
  }

  /// Replaces the value by fn(const T& present), which may park; no lock is held meanwhile. When another store came in
  /// between, fn is called again with what that one stored: no update is lost. Throws as store() and as fn.
  template <class F>
  void update(F&& fn) {
    for (;;) {
      const Guard present = read();
      Pending pending(slots_, fn(*present));
      if (publish(pending, present.index_)) return;
    }
  }

 private:
  struct Slot {
    alignas(kCacheLine) std::atomic<std::int64_t> count{0};
    std::atomic<bool> taken{false};
    alignas(kCacheLine) alignas(T) std::byte storage[sizeof(T)];
    [[nodiscard]] T* value() noexcept { return std::launder(reinterpret_cast<T*>(storage)); }
  };

  /// Type-stable: chunk k holds 4 << k versions; none is ever given back.
  class Slots {
   public:
    Slots() = default;
    ~Slots() {
      for (auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
    }
    Slots(const Slots&) = delete;
    Slots& operator=(const Slots&) = delete;

    [[nodiscard]] Slot& at(std::uint32_t index) const noexcept {
      if (index < kFirst) [[likely]]
        return chunks_[0].load(std::memory_order_acquire)[index];
      const auto chunk = static_cast<std::uint32_t>(std::bit_width(index / kFirst + 1) - 1);
      return chunks_[chunk].load(std::memory_order_acquire)[index - first_of(chunk)];
    }
    [[nodiscard]] std::atomic<std::int64_t>& count(std::uint32_t index) const noexcept { return at(index).count; }
    /// A slot without a value. Any thread.
    [[nodiscard]] std::uint32_t claim() {
      for (std::uint32_t chunk = 0; chunk < kChunks; ++chunk) {
        if (chunks_[chunk].load(std::memory_order_acquire) == nullptr) grow(chunk);
        for (std::uint32_t i = first_of(chunk); i < first_of(chunk + 1); ++i) {
          std::atomic<bool>& taken = at(i).taken;
          if (!taken.load(std::memory_order_relaxed) && !taken.exchange(true, std::memory_order_acquire)) return i;
        }
      }
      throw std::length_error("AtomicSnapshot: too many versions are held");
    }
    void unclaim(std::uint32_t index) noexcept { at(index).taken.store(false, std::memory_order_release); }
    void destroy(std::uint32_t index) noexcept {
      at(index).value()->~T();
      unclaim(index);
    }

   private:
    static constexpr std::uint32_t kFirst = 4;
    static constexpr std::uint32_t kChunks = 14;
    static constexpr std::uint32_t first_of(std::uint32_t chunk) noexcept { return kFirst * ((1U << chunk) - 1); }
    void grow(std::uint32_t chunk) {
      auto fresh = std::make_unique<Slot[]>(std::size_t{kFirst} << chunk);
      Slot* expected = nullptr;
      if (chunks_[chunk].compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel))
        (void)fresh.release();
    }
    std::array<std::atomic<Slot*>, kChunks> chunks_{};
  };

  using Words = BasicSnapshotWords<Slots, kShards>;

  /// A version on its way: destroyed unless it was published.
  class Pending {
   public:
    Pending(Slots& slots, T&& value) : slots_(slots), index(slots.claim()) {
      try {
        ::new (slots_.at(index).storage) T(std::move(value));
      } catch (...) {
        slots_.unclaim(index);
        throw;
      }
      slots_.count(index).store(0, std::memory_order_relaxed);
    }
    ~Pending() {
      if (index != Words::kNone) slots_.destroy(index);
    }
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;

   private:
    Slots& slots_;

   public:
    std::uint32_t index;  ///< kNone: published
  };

  /// False: `expected` is not the current version (any more); kNone expects nothing.
  bool publish(Pending& pending, std::uint32_t expected) noexcept {
    std::uint32_t dead = Words::kNone;
    {
      const LockGuard guard(lock_);
      if (expected != Words::kNone && words_.current() != expected) return false;
      dead = words_.publish(std::exchange(pending.index, Words::kNone));
    }
    if (dead != Words::kNone) slots_.destroy(dead);
    return true;
  }
  void release(std::uint32_t index) noexcept {
    if (words_.release(thread_locals()->shard, index)) slots_.destroy(index);
  }

  Slots slots_;
  Words words_{slots_};
  Lock lock_;  // orders the stores
};

}  // namespace fiberd::sync
