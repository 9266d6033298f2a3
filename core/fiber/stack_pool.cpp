// The pool of stacks.
//
// Address space. A slab is one mapping of 1,024 stacks, never unmapped while the pool lives, without reservation and
// without huge pages: with them the first touch of a stack makes 256 KiB resident instead of 4 KiB. Each stack's lowest
// page is its guard. Stacks are "carved" from slabs in order: carving installs the guard and makes the stack known.
//
// Guards. MADV_GUARD_INSTALL (kernel 6.13) marks the page in the page table and needs no mapping of its own, so a
// million fit. mprotect splits the slab: two mappings a stack, and the kernel allows vm.max_map_count of them in all.
// We stop short of that, because malloc and thread creation need maps too and fail badly without: of M maps we use
// M - max(maps_left, those in use when the pool was made + maps_left / 2), half of it as stacks. With the defaults that
// is (65,530 - 1,024) / 2 = 32,253. When others take more than was left to them the kernel says so to the next guard:
// from then on no more are tried, and a ballast, held for that moment, goes to malloc and threads (guard_maps.hpp).
//
// Classes. A pool has one size. A scheduler has one pool for each size that was asked for, and one GuardMaps for all of
// them. A pool of large stacks keeps its hands open (cache_max 0): slabs of few stacks, no caches, credits one at a
// time, so that no 8 MiB lie about resident or counted for nobody; that costs its fibers two locks.
//
// Credits. spawn() must fail when no stack can be had, but stacks are bound only at the first run (a fiber that waits
// in a queue holds none, so the same few hot stacks serve many short fibers). Hence credits, and one invariant:
//
//     carved ≥ credits given + active caches × capacity of a cache + what is left of the reserve
//
// The reserve. Whoever drains, reports or stops must not stand in line behind those who filled the pool: some stacks
// are carved at once and set aside, as a number in the invariant and not as stacks of their own. A claim above
// `ordinary` takes what anybody may have, and only when that is out a credit of the reserve; which stack it gets does
// not matter. Credits that come back fill the reserve first, whoever had them, so nothing need be remembered about a
// fiber. The last few (`reserve_final`) are for `finish` alone: no crowd of scrapers keeps a drain from its fibers.
//
// A fiber in acquire() holds a credit and no stack, so stacks in use < credits given; other caches hold at most their
// capacity; so the rest, at least one, is in the caller's own cache or in the pool. The only other place is trim()'s
// hands, and there acquire() waits for trim_mutex_. A cache starts with capacity 0 and works straight on the pool until
// the invariant allows it more: carving for every possible cache at start would cost milliseconds and page tables.
//
// Near the limit (`exhausted_`) credits are given out one at a time and come back at once, so that none rest unused in
// the cache of an idle Processor. Stacks may: that is why a cache's capacity is at most a quarter of the limit over
// all.
//
// The emergency page. Stacks whose size was learnt from what fibers needed so far (runtime/spawn_sites.hpp) may be too
// small for once. Above their guard lies a page that is closed like it; who touches it gets it, by the handler of the
// fault, and goes on: the guess was wrong, not the fiber. It is closed again when the stack is released. Frames that
// were compiled with -fstack-clash-protection touch each page on their way down, so they meet this page before the
// guard; the guard is still the end.
//
// Free lists. `warm_` is LIFO and hot; `cold_` has no resident page. trim() moves from warm to cold what the least
// length of warm_ since the last trim() proves to be unneeded. Rejected: MADV_DONTNEED in release() (it and the
// re-touch cost 4–60 µs); MADV_FREE (resident numbers would lie, and a stack's pages are reused too soon to matter).

#include "core/fiber/stack_pool.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/base/bug.hpp"
#include "core/base/debug_setting.hpp"
#include "core/base/log.hpp"
#include "core/fiber/context.hpp"

#if defined(FIBERD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace fiberd::fiber {

namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL, newer than Debian 12's headers
constexpr int kMadvGuardRemove = 103;   // MADV_GUARD_REMOVE
constexpr std::size_t kMinStack = 16 * 1024;
constexpr std::size_t kMaxStack = 64 * 1024 * 1024;
constexpr std::size_t kCanarySize = 128;  // right below Stack::base, in what would be the guard page
constexpr int kCanaryByte = 0xc5;

/// Leaf system calls: no errno in code that might be inlined into a function that parks.
[[gnu::noinline]] int advise(std::byte* address, std::size_t length, int advice) noexcept {
  return madvise(address, length, advice) == 0 ? 0 : -errno;
}
[[gnu::noinline]] std::byte* map_slab(std::size_t length) noexcept {
  void* p =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}

}  // namespace

struct StackPool::Slab {
  std::byte* memory = nullptr;
  std::array<Stack, kSlabStacks> stacks;
};

void StackPool::FreeList::push_front(Stack& stack) noexcept {
  stack.previous = nullptr;
  stack.next = head;
  (head != nullptr ? head->previous : tail) = &stack;
  head = &stack;
  ++count;
}

void StackPool::FreeList::push_back(Stack& stack) noexcept {
  stack.next = nullptr;
  stack.previous = tail;
  (tail != nullptr ? tail->next : head) = &stack;
  tail = &stack;
  ++count;
}

Stack* StackPool::FreeList::pop_front() noexcept {
  Stack* stack = head;
  if (stack == nullptr) return nullptr;
  head = stack->next;
  (head != nullptr ? head->previous : tail) = nullptr;
  low_water = std::min(low_water, --count);
  return stack;
}

Stack* StackPool::FreeList::pop_back() noexcept {
  Stack* stack = tail;
  if (stack == nullptr) return nullptr;
  tail = stack->previous;
  (tail != nullptr ? tail->next : head) = nullptr;
  low_water = std::min(low_water, --count);
  return stack;
}

// --- creation ---

Result<std::unique_ptr<StackPool>> StackPool::create(const Options& options) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (options.stack_size < kMinStack || options.stack_size > kMaxStack || options.stack_size % page != 0 ||
      options.stack_size < 4 * page || (options.emergency && options.mode == GuardMode::canary) ||
      options.caches == 0 || options.max_stacks == 0 || options.max_stacks > UINT32_MAX || options.slab_stacks == 0 ||
      options.slab_stacks > kSlabStacks)
    return fail(std::errc::invalid_argument);

  std::unique_ptr<StackPool> pool(new StackPool(options, page));
  std::uint64_t guardable = pool->max_stacks_;
  if (debug_setting("guard") == "none") {
    pool->kind_ = GuardKind::canary;
    guardable = 0;
  } else if (debug_setting("guard") == "mprotect" || !pool->probe_guard_install()) {
    pool->kind_ = GuardKind::mprotect;
    pool->guard_maps_ = options.guard_maps != nullptr
                            ? options.guard_maps
                            : std::make_shared<GuardMaps>(options.max_map_count_path, options.maps_left);
    guardable = std::min(guardable, pool->guard_maps_->limit());
  }
  if (options.mode == GuardMode::require && guardable == 0) return fail(std::errc::not_supported);

  const std::uint64_t limit = options.mode == GuardMode::canary ? pool->max_stacks_ : guardable;
  pool->most_ = limit;
  pool->cache_capacity_ = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(options.cache_max, limit / (std::uint64_t{4} * options.caches)));
  pool->set_exhausted(false);
  if (options.reserve != 0) {
    const std::lock_guard guard(pool->grow_mutex_);
    // An eighth at most: few stacks are for work first.
    const std::uint64_t reserve = std::min<std::uint64_t>(options.reserve, limit / 8);
    (void)pool->ensure_carved(reserve);
    pool->reserve_size_ = std::min(reserve, pool->carved_);
    pool->reserve_final_ = std::min<std::uint64_t>(options.reserve_final, pool->reserve_size_);
  }
  return pool;
}

StackPool::StackPool(const Options& options, std::size_t page)
    : page_(page),
      stack_size_(options.stack_size),
      closed_(options.emergency ? 2 * page : page),
      usable_(options.stack_size - closed_),
      mode_(options.mode),
      max_stacks_(options.max_stacks),
      slab_stacks_(options.slab_stacks),
      hoards_(options.cache_max != 0),
      class_(options.stack_class),
      slabs_(std::make_unique<std::atomic<Slab*>[]>((options.max_stacks + options.slab_stacks - 1) /
                                                    options.slab_stacks)) {
  static_assert(kColours * 64 <= kMinStack / 8);
}

/// Red zones of frames whose functions never returned: who gets these addresses next knows nothing of them.
static void unpoison([[maybe_unused]] void* at, [[maybe_unused]] std::size_t size) noexcept {
#if defined(FIBERD_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(at, size);
#endif
}

StackPool::~StackPool() {
  for (std::size_t i = 0; i < slab_count_.load(std::memory_order_relaxed); ++i) {
    Slab* slab = slabs_[i].load(std::memory_order_relaxed);
    unpoison(slab->memory, slab_stacks_ * stack_size_);
    munmap(slab->memory, slab_stacks_ * stack_size_);
    delete slab;
  }
}

bool StackPool::probe_guard_install() const noexcept {
  std::byte* page = map_slab(page_);
  if (page == nullptr) return false;
  const bool ok = advise(page, page_, kMadvGuardInstall) == 0;
  munmap(page, page_);
  return ok;
}

// --- growth, under grow_mutex_ ---

bool StackPool::add_slab() noexcept {
  const std::size_t length = slab_stacks_ * stack_size_;
  auto* slab = new (std::nothrow) Slab;
  if (slab == nullptr) return false;
  slab->memory = map_slab(length);
  if (slab->memory == nullptr) {
    delete slab;
    return false;
  }
  // EINVAL: a kernel without huge pages, which is as good.
  if (const int r = advise(slab->memory, length, MADV_NOHUGEPAGE); r != 0 && r != -EINVAL) {
    munmap(slab->memory, length);
    delete slab;
    return false;
  }
  const std::size_t n = slab_count_.load(std::memory_order_relaxed);
  slabs_[n].store(slab, std::memory_order_release);
  slab_count_.store(n + 1, std::memory_order_release);
  return true;
}

StackPool::GuardResult StackPool::install_guard(std::byte* page) noexcept {
  if (kind_ == GuardKind::guard_install && advise(page, closed_, kMadvGuardInstall) == 0) return GuardResult::guarded;
  if (kind_ == GuardKind::mprotect && guard_maps_->take()) {
    if (mprotect(page, closed_, PROT_NONE) == 0) return GuardResult::guarded;
    guard_maps_->ran_out();
  }
  if (mode_ != GuardMode::canary) return GuardResult::failed;
  if (unguarded_++ == 0)
    log(LogLevel::warning, "stacks: no more guard pages can be had; new stacks carry a canary instead");
  return GuardResult::unguarded;
}

std::uint32_t StackPool::carve(std::uint32_t wanted) noexcept {
  std::uint32_t made = 0;
  std::array<Stack*, kCarveBatch> fresh;
  while (made < std::min(wanted, kCarveBatch)) {
    const std::uint64_t index = carved_ + made;
    if (index >= max_stacks_) break;
    const std::size_t slab_index = index / slab_stacks_;
    if (slab_index == slab_count_.load(std::memory_order_relaxed) && !add_slab()) break;
    Slab* slab = slabs_[slab_index].load(std::memory_order_relaxed);
    const std::size_t within = index % slab_stacks_;
    std::byte* low = slab->memory + within * stack_size_;
    const GuardResult guard = install_guard(low);
    if (guard == GuardResult::failed) break;
    Stack& stack = slab->stacks[within];
    stack.index = static_cast<std::uint32_t>(index);
    stack.guarded = guard == GuardResult::guarded;
    stack.look_at = !stack.guarded;
    stack.stack_class = class_;
    stack.base = low + closed_;
    fresh[made++] = &stack;
  }
  carved_ += made;
  const LockGuard guard(list_lock_);
  for (std::uint32_t i = 0; i < made; ++i) cold_.push_back(*fresh[i]);
  return made;
}

bool StackPool::ensure_carved(std::uint64_t target) noexcept {
  while (carved_ < target)
    if (carve(std::min(kCarveBatch, slab_stacks_)) == 0) {
      set_exhausted(true);
      return false;
    }
  return true;
}

void StackPool::set_exhausted(bool exhausted) noexcept {
  exhausted_ = exhausted;
  credit_max_.store(exhausted || !hoards_ ? 0 : kCreditMax, std::memory_order_relaxed);
}

bool StackPool::activate(StackCache& cache) noexcept {
  if (cache_capacity_ == 0 || exhausted_ || !ensure_carved(credits_ + cache_capacity_ + spoken_for())) return false;
  ++active_;
  cache.capacity = cache_capacity_;
  cache.next = active_list_;
  active_list_ = &cache;
  return true;
}

// --- credits ---

Result<void> StackPool::reserve_slow(StackCache& cache, StackClaim claim) {
  const std::lock_guard guard(grow_mutex_);
  if (cache.capacity == 0) (void)activate(cache);  // works without, if slower
  for (const std::uint32_t batch : {exhausted_ || !hoards_ ? 1U : kCreditBatch, 1U})
    if (ensure_carved(credits_ + batch + spoken_for())) {
      credits_ += batch;
      cache.credits = batch - 1;
      return {};
    }
  const std::uint64_t kept = claim == StackClaim::finish ? 0 : reserve_final_;
  if (claim != StackClaim::ordinary && reserve_size_ - reserve_taken_ > kept) {
    ++reserve_taken_;
    ++credits_;
    return {};
  }
  return fail(std::errc::not_enough_memory);
}

void StackPool::unreserve_slow(StackCache& cache) noexcept {
  const std::lock_guard guard(grow_mutex_);
  const std::uint32_t keep = exhausted_ || !hoards_ ? 0 : kCreditMax / 2;
  credits_came_back(cache.credits - std::min(keep, cache.credits));
  cache.credits = std::min(keep, cache.credits);
  // A quarter free again: back to batches. A later failure to carve says otherwise.
  if (exhausted_ && credits_ + spoken_for() < carved_ - carved_ / 4) set_exhausted(false);
}

void StackPool::credits_came_back(std::uint64_t n) noexcept {
  credits_ -= n;
  reserve_taken_ -= std::min(n, reserve_taken_);
}

// --- stacks ---

Stack* StackPool::take_batch(StackCache& cache) noexcept {
  const std::uint32_t wanted = std::clamp(cache.capacity, 1U, kAcquireBatch);
  const LockGuard guard(list_lock_);
  Stack* first = nullptr;
  for (std::uint32_t i = 0; i < wanted; ++i) {
    Stack* stack = warm_.pop_front();
    // Cold stacks are taken one at a time: a cache full of them would spread the work over more pages than needed.
    if (stack == nullptr && first == nullptr) stack = cold_.pop_front();
    if (stack == nullptr) break;
    if (first == nullptr) {
      first = stack;
    } else {
      stack->next = cache.head;
      cache.head = stack;
      cache.count.store(cache.count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  }
  return first;
}

Stack* StackPool::acquire_slow(StackCache& cache) noexcept {
  Stack* stack = take_batch(cache);
  if (stack == nullptr) {
    const std::lock_guard guard(trim_mutex_);  // what is missing is in trim()'s hands
    stack = take_batch(cache);
  }
  if (stack == nullptr) {
    report_bug("a stack was acquired without a credit");
    std::abort();
  }
  return stack;
}

void StackPool::release_slow(StackCache& cache, Stack* stack) noexcept {
  if (cache.capacity == 0) {
    const std::lock_guard guard(grow_mutex_);
    (void)activate(cache);
  }
  std::uint32_t count = cache.count.load(std::memory_order_relaxed);
  if (count < cache.capacity) {  // just activated
    stack->next = cache.head;
    cache.head = stack;
    cache.count.store(count + 1, std::memory_order_relaxed);
    return;
  }
  const LockGuard guard(list_lock_);
  for (; count > cache.capacity / 2; --count) {
    Stack* spare = cache.head;
    cache.head = spare->next;
    warm_.push_front(*spare);
  }
  if (cache.capacity == 0) {
    warm_.push_front(*stack);
  } else {
    stack->next = cache.head;
    cache.head = stack;
    ++count;
  }
  cache.count.store(count, std::memory_order_relaxed);
}

void StackPool::flush(StackCache& cache) noexcept {
  const std::lock_guard guard(grow_mutex_);
  {
    const LockGuard list_guard(list_lock_);
    while (Stack* stack = cache.head) {
      cache.head = stack->next;
      warm_.push_front(*stack);
    }
    cache.count.store(0, std::memory_order_relaxed);
  }
  credits_came_back(cache.credits);
  cache.credits = 0;
  if (cache.capacity == 0) return;
  cache.capacity = 0;
  --active_;
  StackCache** link = &active_list_;
  while (*link != &cache) link = &(*link)->next;
  *link = cache.next;
  cache.next = nullptr;
}

bool StackPool::trim() noexcept {
  for (std::uint32_t done = 0; done < kTrimMax; done += kTrimBatch) {
    const std::lock_guard guard(trim_mutex_);
    std::array<Stack*, kTrimBatch> batch;
    std::size_t n = 0;
    {
      const LockGuard list_guard(list_lock_);
      const std::uint64_t unneeded = warm_.low_water;
      for (; n < kTrimBatch && n < unneeded; ++n) batch[n] = warm_.pop_back();
      // What is left to take of this period; when nothing is, the next period begins.
      warm_.low_water = n < kTrimBatch ? warm_.count : unneeded - n;
    }
    for (std::size_t i = 0; i < n; ++i)
      // It fails on memory that somebody locked: that stays resident, and is as free as any other.
      (void)advise(batch[i]->base, usable_, MADV_DONTNEED);
    {
      const LockGuard list_guard(list_lock_);
      for (std::size_t i = 0; i < n; ++i) cold_.push_front(*batch[i]);
    }
    if (n < kTrimBatch) return false;
  }
  return true;
}

void StackPool::write_canary(const Stack& stack) const noexcept {
  std::memset(stack.base - kCanarySize, kCanaryByte, kCanarySize);
}

void StackPool::check_canary(const Stack& stack) const noexcept {
  for (std::size_t i = 1; i <= kCanarySize; ++i)
    if (stack.base[-static_cast<std::ptrdiff_t>(i)] != std::byte{kCanaryByte}) {
      report_bug("stack overflow: a fiber wrote below its unguarded stack");
      return;
    }
}

// --- what can be seen ---

StackPool::Stats StackPool::stats() const {
  Stats stats;
  const std::lock_guard guard(grow_mutex_);
  stats.carved = carved_;
  stats.credits = credits_;
  stats.unguarded = unguarded_;
  stats.most = most_;
  if (guard_maps_ != nullptr) {
    if (mode_ != GuardMode::canary) stats.most = std::min(most_, carved_ + guard_maps_->free());
    stats.maps_left = guard_maps_->left();
  }
  stats.reserve = reserve_size_;
  stats.reserve_in_use = reserve_taken_;
  stats.guard_kind = unguarded_ != 0 ? GuardKind::canary : kind_;
  stats.reserved_bytes = slab_count_.load(std::memory_order_relaxed) * slab_stacks_ * stack_size_;
  for (const StackCache* cache = active_list_; cache != nullptr; cache = cache->next)
    stats.cached += cache->count.load(std::memory_order_relaxed);
  {
    const LockGuard list_guard(list_lock_);
    stats.cached += warm_.count + cold_.count;
  }
  stats.cached = std::min(stats.cached, carved_);  // the caches' counts were read one after the other
  stats.in_use = carved_ - stats.cached;
  return stats;
}

std::vector<std::pair<std::uintptr_t, std::uintptr_t>> StackPool::ranges() const {
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> all;
  const std::size_t slabs = slab_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < slabs; ++i) {
    const auto at = reinterpret_cast<std::uintptr_t>(slabs_[i].load(std::memory_order_acquire)->memory);
    all.emplace_back(at, at + slab_stacks_ * stack_size_);
  }
  return all;
}

std::size_t StackPool::resident_bytes() const noexcept {
  std::array<unsigned char, 4096> pages;
  std::size_t resident = 0;
  const std::size_t slabs = slab_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < slabs; ++i) {
    std::byte* at = slabs_[i].load(std::memory_order_acquire)->memory;
    for (std::size_t left = slab_stacks_ * stack_size_; left != 0;) {
      const std::size_t length = std::min(left, pages.size() * page_);
      if (mincore(at, length, pages.data()) == 0)
        resident += static_cast<std::size_t>(std::count_if(pages.begin(),
                                                           pages.begin() + static_cast<std::ptrdiff_t>(length / page_),
                                                           [](unsigned char c) { return (c & 1U) != 0; }));
      at += length;
      left -= length;
    }
  }
  return resident * page_;
}

std::size_t StackPool::high_water(const Stack& stack) const noexcept {
  std::array<unsigned char, 256> pages;
  for (std::size_t offset = 0; offset < usable_;) {
    const std::size_t length = std::min(usable_ - offset, pages.size() * page_);
    if (mincore(stack.base + offset, length, pages.data()) != 0) return 0;
    for (std::size_t i = 0; i < length / page_; ++i)
      if ((pages[i] & 1U) != 0) return usable_ - offset - i * page_;
    offset += length;
  }
  return 0;
}

/// The guarded stack whose closed pages `address` is in, and how far from their lowest byte.
Stack* StackPool::stack_below(const void* address, std::size_t& offset) const noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  const std::size_t slabs = slab_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < slabs; ++i) {
    Slab* const slab = slabs_[i].load(std::memory_order_acquire);
    const std::uintptr_t within = a - reinterpret_cast<std::uintptr_t>(slab->memory);
    if (within >= slab_stacks_ * stack_size_) continue;
    Stack& stack = slab->stacks[within / stack_size_];
    offset = within % stack_size_;
    return offset < closed_ && stack.base != nullptr && stack.guarded ? &stack : nullptr;
  }
  return nullptr;
}

const Stack* StackPool::find_guard_hit(const void* address) const noexcept {
  std::size_t offset = 0;
  return stack_below(address, offset);
}

bool StackPool::open_emergency(const void* address) noexcept {
  std::size_t offset = 0;
  Stack* const stack = stack_below(address, offset);
  if (stack == nullptr || offset < page_ || stack->opened) return false;
  std::byte* const page = stack->base - page_;
  if (kind_ == GuardKind::guard_install ? advise(page, page_, kMadvGuardRemove) != 0
                                        : mprotect(page, page_, PROT_READ | PROT_WRITE) != 0)
    return false;
  stack->opened = stack->look_at = true;
  return true;
}

/// No guard: whether it was missed. An opened emergency page: closed, with what was in it. Where the kernel has no map
/// left for that it stays open: the next fiber on it has the same depth, and nothing is said of it.
void StackPool::look_at_released(Stack& stack) noexcept {
  if (!stack.guarded) return check_canary(stack);
  std::byte* const page = stack.base - page_;
  if (kind_ == GuardKind::guard_install) {
    if (advise(page, page_, kMadvGuardInstall) != 0) return;
  } else {
    (void)advise(page, page_, MADV_DONTNEED);
    if (mprotect(page, page_, PROT_NONE) != 0) return;
  }
  stack.opened = stack.look_at = false;
}

}  // namespace fiberd::fiber
