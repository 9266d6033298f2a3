#pragma once
// ObjectPool<T>: objects that are costly to make and are used for a moment (buffers, parsers), kept for the next who
// needs one: Go's sync.Pool.
//
//   sync::ObjectPool<Buffer> buffers;
//   auto buffer = buffers.get();       // one that somebody gave back, as it was left, or a new one
//   buffer->clear();
//   …                                  // goes back when `buffer` dies
//
// Each Processor has a stack of its own: an object that was given back a moment ago is in this core's cache, and nobody
// else is in the way. One whose stack is empty takes another's before an object is made. What a stack has no room for
// is destroyed, so that a crowd's objects do not stay; trim() destroys the rest. (Go's collector does both.)
//
// A stack has a lock, for a fiber that computes for long is replaced on its Processor, and two threads may have the
// same stack then; so they have beyond 63 Processors. It is free nearly always.
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "core/base/cache_line.hpp"
#include "core/base/lock.hpp"
#include "core/base/thread_locals.hpp"

namespace fiberd::sync {

/// Makes a T that is as good as new.
template <class T>
struct MakeDefault {
  T operator()() const { return T(); }
};

/// All members: any thread; they never park. Objects are made and destroyed without a lock. Must outlive the objects
/// that are out.
template <class T, class Make = MakeDefault<T>>
requires std::convertible_to<std::invoke_result_t<const Make&>, T>
class ObjectPool {
  struct Node {
    T object;
    Node* next = nullptr;
  };

 public:
  static constexpr std::size_t kDefaultKept = 64;

  /// At most `kept` idle objects for each Processor. `make()` is called by several threads at once. Throws
  /// std::bad_alloc.
  explicit ObjectPool(std::size_t kept = kDefaultKept, Make make = {})
      : kept_(kept), make_(std::move(make)), shards_(std::make_unique<Shard[]>(kShards)) {}
  ~ObjectPool() { trim(); }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;

  /// An object of the pool's, which goes back when this dies. Not copied; used like a pointer. Empty when moved from.
  class [[nodiscard]] Pooled {
   public:
    Pooled() noexcept = default;
    Pooled(Pooled&& o) noexcept : pool_(o.pool_), node_(std::exchange(o.node_, nullptr)) {}
    Pooled& operator=(Pooled&& o) noexcept {
      if (this != &o) {
        give_back();
        pool_ = o.pool_;
        node_ = std::exchange(o.node_, nullptr);
      }
      return *this;
    }
    ~Pooled() { give_back(); }

    [[nodiscard]] T& operator*() const noexcept { return node_->object; }
    [[nodiscard]] T* operator->() const noexcept { return &node_->object; }
    explicit operator bool() const noexcept { return node_ != nullptr; }
    void give_back() noexcept {
      if (node_ != nullptr) pool_->put(std::exchange(node_, nullptr));
    }
    /// Destroys it: it is in no state to be used again.
    void discard() noexcept { delete std::exchange(node_, nullptr); }

   private:
    friend class ObjectPool;
    Pooled(ObjectPool* pool, Node* node) noexcept : pool_(pool), node_(node) {}
    ObjectPool* pool_ = nullptr;
    Node* node_ = nullptr;
  };

  /// Throws std::bad_alloc, and what make() throws.
  [[nodiscard]] Pooled get() {
    Shard& own = shard();
    if (Node* const node = own.pop()) return {this, node};
    for (std::size_t i = 0; i < kShards; ++i)
      if (shards_[i].size() != 0)
        if (Node* const node = shards_[i].pop()) return {this, node};
    return {this, new Node{make_()}};
  }

  /// Destroys the objects that are idle now. Returns how many.
  std::size_t trim() noexcept {
    std::size_t n = 0;
    for (std::size_t i = 0; i < kShards; ++i)
      for (Node* node = shards_[i].take_all(); node != nullptr; ++n) delete std::exchange(node, node->next);
    return n;
  }
  /// A snapshot.
  [[nodiscard]] std::size_t idle() const noexcept {
    std::size_t n = 0;
    for (std::size_t i = 0; i < kShards; ++i) n += shards_[i].size();
    return n;
  }

 private:
  class alignas(kCacheLine) Shard {
   public:
    [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    [[nodiscard]] Node* pop() noexcept {
      const LeafLockGuard guard(lock_);
      Node* const node = first_;
      if (node == nullptr) return nullptr;
      first_ = node->next;
      size_.store(size() - 1, std::memory_order_relaxed);
      return node;
    }
    /// False: there is no room.
    [[nodiscard]] bool push(Node* node, std::size_t most) noexcept {
      const LeafLockGuard guard(lock_);
      if (size() >= most) return false;
      node->next = first_;
      first_ = node;
      size_.store(size() + 1, std::memory_order_relaxed);
      return true;
    }
    [[nodiscard]] Node* take_all() noexcept {
      const LeafLockGuard guard(lock_);
      size_.store(0, std::memory_order_relaxed);
      return std::exchange(first_, nullptr);
    }

   private:
    LeafLock lock_;
    std::atomic<std::size_t> size_{0};
    Node* first_ FIBERD_GUARDED_BY(lock_) = nullptr;
  };

  static constexpr std::size_t kShards = 64;

  /// Processors have the lowest metric shards from 1 on; 0 is for threads that have none.
  [[nodiscard]] Shard& shard() const noexcept { return shards_[thread_locals()->shard % kShards]; }
  void put(Node* node) noexcept {
    if (!shard().push(node, kept_)) delete node;
  }

  const std::size_t kept_;
  const Make make_;
  const std::unique_ptr<Shard[]> shards_;
};

}  // namespace fiberd::sync
