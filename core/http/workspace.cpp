#include "core/http/workspace.hpp"

#include <atomic>
#include <chrono>
#include <new>

#include "core/base/cache_line.hpp"
#include "core/base/clock.hpp"
#include "core/base/thread_locals.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static constexpr std::size_t kBodyRoom = 16 * 1024;
static constexpr std::size_t kOut = 16 * 1024;
static constexpr std::uint32_t kCached = 32;
static constexpr std::int64_t kSecond = 1'000'000'000;

struct alignas(kCacheLine) WorkspacePool::Shard {
  Workspace* head = nullptr;
  std::uint32_t count = 0;
  std::int64_t date_until = 0;
  DateCache date;
};

WorkspacePool::WorkspacePool(const HeadLimits& limits)
    : limits_(limits), shards_(std::make_unique<std::atomic<Shard*>[]>(metric::kMaxShards)) {}

WorkspacePool::~WorkspacePool() {
  auto destroy_list = [](Workspace* w) {
    while (w != nullptr) {
      Workspace* const next = w->next;
      destroy(w);
      w = next;
    }
  };
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) {
    Shard* const s = shards_[i].load(std::memory_order_acquire);
    if (s == nullptr) continue;
    destroy_list(s->head);
    delete s;
  }
  destroy_list(shared_);
}

WorkspacePool::Shard* WorkspacePool::shard() noexcept {
  const std::uint32_t index = thread_locals()->shard;
  if (index == 0) return nullptr;
  Shard* s = shards_[index].load(std::memory_order_relaxed);
  if (s == nullptr) [[unlikely]] {
    s = new (std::nothrow) Shard;
    shards_[index].store(s, std::memory_order_release);
  }
  return s;
}

Workspace* WorkspacePool::make() noexcept {
  auto* const w = new (std::nothrow) Workspace(limits_);
  if (w == nullptr) return nullptr;
  w->in_capacity = limits_.header_size + kBodyRoom;
  w->out_capacity = kOut;
  // One block: the pages behind the parts that are never used are never touched.
  char* const block = static_cast<char*>(::operator new(w->in_capacity + kOut + limits_.target_size, std::nothrow));
  if (block == nullptr) {
    delete w;
    return nullptr;
  }
  w->in = block;
  w->out = block + w->in_capacity;
  w->path = w->out + kOut;
  return w;
}

void WorkspacePool::destroy(Workspace* w) noexcept {
  ::operator delete(w->in);
  delete w;
}

Workspace* WorkspacePool::acquire() noexcept {
  Shard* const s = shard();
  if (s != nullptr && s->head != nullptr) [[likely]] {
    Workspace* const w = s->head;
    s->head = w->next;
    --s->count;
    return w;
  }
  {
    const LockGuard guard(shared_lock_);
    if (shared_ != nullptr) {
      Workspace* const w = shared_;
      shared_ = w->next;
      return w;
    }
  }
  return make();
}

void WorkspacePool::release(Workspace* w) noexcept {
  Shard* const s = shard();
  if (s != nullptr && s->count < kCached) {
    w->next = s->head;
    s->head = w;
    ++s->count;
    return;
  }
  // Beyond what a Processor keeps hot the memory goes back: 10,000 slow heads at once must not cost it for ever.
  if (s != nullptr) {
    destroy(w);
    return;
  }
  const LockGuard guard(shared_lock_);
  w->next = shared_;
  shared_ = w;
}

static std::time_t wall_seconds() noexcept { return std::chrono::system_clock::to_time_t(wall_now()); }

std::string_view WorkspacePool::date() noexcept {
  Shard* const s = shard();
  if (s == nullptr) {
    // Off a Processor, or no memory for the shard: an answer without a live clock may carry a date that is a little
    // old.
    const LockGuard guard(shared_lock_);
    shared_date_.update(wall_seconds());
    return shared_date_.text();
  }
  const std::int64_t now = runtime::coarse_now();
  if (now >= s->date_until) {
    const auto wall = wall_now().time_since_epoch();
    const auto into_second = std::chrono::duration_cast<std::chrono::nanoseconds>(wall).count() % kSecond;
    s->date.update(wall_seconds());
    s->date_until = now + (kSecond - into_second);
  }
  return s->date.text();
}

}  // namespace fiberd::http
