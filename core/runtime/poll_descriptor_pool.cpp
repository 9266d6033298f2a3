#include "core/runtime/poll_descriptor_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

#include "core/runtime/poll_descriptor.hpp"

namespace fiberd::runtime {

static constexpr std::size_t kSlab = std::size_t{64} * 1024;
static constexpr std::size_t kPage = 4096;
static constexpr std::size_t kHead = 40;
static constexpr std::uint32_t kStaying = (kPage - kHead) / sizeof(PollDescriptor);  // those in the first page
static constexpr std::uint32_t kCapacity = kStaying + (kSlab - kPage) / sizeof(PollDescriptor);

struct PollDescriptorPool::Slab : ListHook {
  PollDescriptor* free = nullptr;
  std::uint32_t used = 0;
  std::uint32_t made = 0;  // the first so many have been constructed
  std::uint32_t era = 1;   // the generation that new ones begin with: another after each time the pages were given up

  [[nodiscard]] bool full() const noexcept { return used == kCapacity; }
  [[nodiscard]] void* place(std::uint32_t i) noexcept {
    char* const begin = reinterpret_cast<char*>(this);
    return i < kStaying ? begin + kHead + i * sizeof(PollDescriptor)
                        : begin + kPage + (i - kStaying) * sizeof(PollDescriptor);
  }
  void put_free(PollDescriptor& d) noexcept { d.argument_ = std::exchange(free, &d); }
  PollDescriptor* take() noexcept {
    ++used;
    if (free != nullptr) return std::exchange(free, static_cast<PollDescriptor*>(free->argument_));
    auto* const d = new (place(made++)) PollDescriptor;
    d->use_.begin_with(era);
    return d;
  }
  static Slab& of(PollDescriptor& d) noexcept {
    return *reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(&d) & ~(kSlab - 1));
  }
  /// None is in use: what is not in the first page is given up.
  void cool() noexcept {
    static_assert(sizeof(Slab) <= kHead);
    free = nullptr;
    made = std::min(made, kStaying);
    for (std::uint32_t i = made; i-- > 0;) put_free(*static_cast<PollDescriptor*>(place(i)));
    // The generation of what is made here next differs from that of what was here last.
    era = era % 0x7fff + 1;
    (void)madvise(reinterpret_cast<char*>(this) + kPage, kSlab - kPage, MADV_DONTNEED);
  }
};

PollDescriptorPool& PollDescriptorPool::instance() noexcept {
  static PollDescriptorPool* const pool = new PollDescriptorPool;
  return *pool;
}

std::size_t PollDescriptorPool::slab_capacity() noexcept { return kCapacity; }

std::size_t PollDescriptorPool::warm_slabs() noexcept {
  const LockGuard guard(lock_);
  return warm_;
}

PollDescriptorPool::Slab* PollDescriptorPool::map_slab() noexcept {
  void* const p = mmap(nullptr, 2 * kSlab, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<char*>(p);
  const std::size_t before = (kSlab - (reinterpret_cast<std::uintptr_t>(p) & (kSlab - 1))) & (kSlab - 1);
  if (before != 0) munmap(begin, before);
  if (before != kSlab) munmap(begin + before + kSlab, kSlab - before);
  (void)madvise(begin + before, kSlab, MADV_NOHUGEPAGE);
  return new (begin + before) Slab;
}

PollDescriptor* PollDescriptorPool::take() noexcept {
  const LockGuard guard(lock_);
  Slab* slab = usable_.front();
  if (slab == nullptr) {
    slab = std::exchange(empty_, nullptr);
    if (slab == nullptr) {
      slab = cold_.pop_front();
      // Seldom, so that it may be made under the lock.
      if (slab == nullptr) slab = map_slab();
      if (slab == nullptr) return nullptr;
      ++warm_;
    }
    usable_.push_front(*slab);
  }
  PollDescriptor* const d = slab->take();
  if (slab->full()) List<Slab>::remove(*slab);
  return d;
}

void PollDescriptorPool::give_back(PollDescriptor& d) noexcept {
  Slab& slab = Slab::of(d);
  Slab* unneeded = nullptr;
  {
    const LockGuard guard(lock_);
    if (slab.full()) usable_.push_front(slab);
    slab.era = std::max<std::uint32_t>(slab.era, d.use_.generation());
    slab.put_free(d);
    if (--slab.used != 0) return;
    List<Slab>::remove(slab);
    unneeded = std::exchange(empty_, &slab);
    if (unneeded == nullptr) return;
    --warm_;
  }
  unneeded->cool();  // in no list, so nobody else's
  const LockGuard guard(lock_);
  cold_.push_front(*unneeded);
}

}  // namespace fiberd::runtime
