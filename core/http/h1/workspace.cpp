#include "core/http/h1/workspace.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <utility>

#include "core/base/cache_line.hpp"
#include "core/base/clock.hpp"
#include "core/base/thread_locals.hpp"
#include "core/fiber/context.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/runtime.hpp"
#if defined(FIBERD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace fiberd::http {

static constexpr std::size_t kBodyRoom = 16 * 1024;
static constexpr std::size_t kOut = 16 * 1024;
static constexpr std::size_t kHeld = Workspace::kHeldFields + Workspace::kHeldBody;
static constexpr std::size_t kPage = 4096;
static constexpr std::size_t kGap = 64;  // between the parts: who runs out of one shall not run into the next unseen
static constexpr std::uint32_t kCached = 32;
static constexpr std::size_t kTrimmed = 32;  // at a time: some 10 µs each
static constexpr std::size_t kSlab = 32;     // workspaces that are mapped at once
static constexpr std::int64_t kSecond = 1'000'000'000;

static void poison([[maybe_unused]] void* at, [[maybe_unused]] std::size_t size) noexcept {
#if defined(FIBERD_ASAN)
  ASAN_POISON_MEMORY_REGION(at, size);
#endif
}
static void unpoison([[maybe_unused]] void* at, [[maybe_unused]] std::size_t size) noexcept {
#if defined(FIBERD_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(at, size);
#endif
}

/// Behind the other parts, for only pipelines need it.
static std::size_t unsent_at(const HeadLimits& limits) noexcept {
  const std::size_t end =
      sizeof(Workspace) + limits.header_size + kBodyRoom + kOut + limits.target_size + kHeld + std::size_t{5} * kGap;
  return (end + alignof(Unsent) - 1) / alignof(Unsent) * alignof(Unsent);
}

struct alignas(kCacheLine) WorkspacePool::Shard {
  Workspace* head = nullptr;
  std::uint32_t count = 0;
  std::int64_t date_until = 0;
  DateCache date;
};

WorkspacePool::WorkspacePool(const HeadLimits& limits)
    : Timer([](Timer& timer) noexcept { static_cast<WorkspacePool&>(timer).trim(); }),
      limits_(limits),
      size_((unsent_at(limits) + Workspace::kMostUnsent * sizeof(Unsent) + kPage - 1) / kPage * kPage),
      shards_(std::make_unique<std::atomic<Shard*>[]>(metric::kMaxShards)) {}

void WorkspacePool::stop() noexcept {
  {
    const LockGuard guard(shared_lock_);
    stopped_ = true;
  }
  cancel();
}

WorkspacePool::~WorkspacePool() {
  stop();
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) delete shards_[i].load(std::memory_order_acquire);
  // Workspaces own nothing outside of their place.
  for (void* const slab : slabs_) {
    unpoison(slab, size_ * kSlab);
    munmap(slab, size_ * kSlab);
  }
}

WorkspacePool::Shard* WorkspacePool::make_shard(std::uint32_t index) noexcept {
  if (index == 0) return nullptr;
  Shard* const s = new (std::nothrow) Shard;
  shards_[index].store(s, std::memory_order_release);
  return s;
}
/// Nobody's (0) is never made, so that the usual case is one look.
inline WorkspacePool::Shard* WorkspacePool::shard() noexcept {
  const std::uint32_t index = thread_locals()->shard;
  Shard* const s = shards_[index].load(std::memory_order_relaxed);
  return s != nullptr ? s : make_shard(index);
}

/// Under cold_lock_. Throws std::bad_alloc.
bool WorkspacePool::map_slab() {
  slabs_.reserve(slabs_.size() + 1);
  cold_.reserve((slabs_.size() + 1) * kSlab);
  void* const p = mmap(nullptr, size_ * kSlab, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  (void)madvise(p, size_ * kSlab, MADV_NOHUGEPAGE);  // pages are to come and go one by one
  slabs_.push_back(p);
  for (std::size_t i = kSlab; i-- > 0;) cold_.push_back(static_cast<char*>(p) + i * size_);
  return true;
}

Workspace* WorkspacePool::make() noexcept {
  void* place = nullptr;
  try {
    const LockGuard guard(cold_lock_);
    if (cold_.empty() && !map_slab()) return nullptr;
    place = cold_.back();
    cold_.pop_back();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  // The pages behind the parts that are never used are never touched.
  auto* const w = new (place) Workspace(limits_);
  w->in_capacity = limits_.header_size + kBodyRoom;
  w->out_capacity = kOut;
  w->in = static_cast<char*>(place) + sizeof(Workspace) + kGap;
  w->out = w->in + w->in_capacity + kGap;
  w->path = w->out + kOut + kGap;
  w->held = w->path + limits_.target_size + kGap;
  for (char* const part : {w->in, w->out, w->path, w->held}) poison(part - kGap, kGap);
  char* const unsent = static_cast<char*>(place) + unsent_at(limits_);
  poison(unsent - kGap, kGap);
  w->unsent = reinterpret_cast<Unsent*>(unsent);
  warm_.fetch_add(1, std::memory_order_relaxed);
  return w;
}

/// Gives up the pages of a list of workspaces.
void WorkspacePool::cool(Workspace* list) noexcept {
  while (list != nullptr) {
    Workspace* const w = list;
    list = w->next;
    w->~Workspace();
    unpoison(w, size_);
    (void)madvise(w, size_, MADV_DONTNEED);
    warm_.fetch_sub(1, std::memory_order_relaxed);
    const LockGuard guard(cold_lock_);
    cold_.push_back(w);
  }
}

/// Inside the scheduler, so a few at a time.
void WorkspacePool::trim() noexcept {
  Workspace* unneeded = nullptr;
  bool more = false;
  bool again = false;
  {
    const LockGuard guard(shared_lock_);
    for (std::size_t i = 0; i < kTrimmed && least_ != 0; ++i) {
      Workspace* const w = shared_;
      shared_ = w->next;
      w->next = unneeded;
      unneeded = w;
      --shared_count_;
      --least_;
    }
    more = least_ != 0;
    if (!more) least_ = shared_count_;
    again = trimming_ = shared_count_ != 0 && !stopped_;
  }
  if (again) arm(Deadline::at(monotonic_now() + (more ? kSecond / 100 : kSecond)));
  cool(unneeded);
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
      least_ = std::min(least_, --shared_count_);
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
  {
    const LockGuard guard(shared_lock_);
    w->next = shared_;
    shared_ = w;
    ++shared_count_;
    if (stopped_ || std::exchange(trimming_, true)) return;
    least_ = 0;
  }
  arm(Deadline::at(monotonic_now() + kSecond));
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
