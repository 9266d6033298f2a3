// Stacks of fibers that have been parked for long: what lies below the frame that the switch has saved is of no use to
// anybody. (Not below the stack pointer that they go on with: that frame lies below it, and where the two are on
// different pages it would be given back.)
//
// A fiber that once went deep and then waits for hours keeps the pages it touched there; with a hundred thousand of
// them that is the process's memory. Sixteen times a second sysmon looks at some fibers (all of them are through in a
// minute or two) for a wait older than Options::stack_trim_after, asks the kernel which of the pages below are
// resident, and gives them back while the fiber is held still by the scan bit of its status word: whoever wakes it
// meanwhile leaves its queueing to us, some microseconds. Once in a wait: nothing can be touched there until it is
// over.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

[[gnu::noinline]] static int give_back(std::uintptr_t from, std::uintptr_t to) noexcept {
  return madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/// Pages between that the kernel has memory for.
static std::size_t resident_pages(std::uintptr_t from, std::uintptr_t to, std::size_t page) noexcept {
  std::array<unsigned char, 1024> pages;
  std::size_t resident = 0;
  while (from < to) {
    const std::size_t length = std::min(to - from, pages.size() * page);
    if (mincore(reinterpret_cast<void*>(from), length, pages.data()) != 0) return resident;
    for (std::size_t i = 0; i < length / page; ++i) resident += pages[i] & 1U;
    from += length;
  }
  return resident;
}

/// Bytes that were given back.
std::size_t Scheduler::cool(Fiber& f) noexcept {
  if (!f.status.begin_scan()) return 0;
  const defer go_on([this, &f] {
    if (f.status.end_scan()) ready(f, false);
  });
  f.cooled = f.status.sequence();
  const fiber::Stack* const stack = f.stack.load(std::memory_order_acquire);
  const auto frame = reinterpret_cast<std::uintptr_t>(f.context.frame);
  if (stack == nullptr || frame == 0 || f.machine != nullptr) return 0;
  const fiber::StackPool& pool = pool_of(stack->stack_class);
  const std::size_t page = pool.page_size();
  const auto bottom = reinterpret_cast<std::uintptr_t>(stack->base);
  const std::uintptr_t below = frame / page * page;
  if (below <= bottom || frame >= reinterpret_cast<std::uintptr_t>(pool.end(*stack))) return 0;
  const std::size_t resident = resident_pages(bottom, below, page);
  return resident != 0 && give_back(bottom, below) == 0 ? resident * page : 0;
}

/// `parts`: sixteenths of what is done in a second.
void Scheduler::cool_parked_stacks(std::int64_t now, std::uint32_t parts) noexcept {
  // A look is a cache line or two; a fiber that is old enough costs a system call or two.
  static constexpr std::uint32_t kLooks = 1'024;
  static constexpr std::uint32_t kAsked = 64;
  const std::int64_t age = options_.stack_trim_after.count();
  if (age <= 0) return;
  const std::uint32_t n = table_.size();
  const std::uint32_t most = std::min(kLooks, n / 16 + 1) * parts;  // none twice in a second
  std::uint32_t asked = 0;
  for (std::uint32_t looks = 0; looks < most && asked < kAsked * parts; ++looks, ++cool_next_) {
    if (cool_next_ >= n) cool_next_ = 1;
    if (cool_next_ >= n) return;
    Fiber& f = table_.at(cool_next_);
    const std::int64_t since = f.parked_at.load(std::memory_order_relaxed);
    if (f.status.state() != State::parked || since == 0 || now - since < age || f.cooled == f.status.sequence())
      continue;
    ++asked;
    const std::size_t bytes = cool(f);
    if (bytes == 0) continue;
    stacks_cooled_.fetch_add(1, std::memory_order_relaxed);
    stack_bytes_cooled_.fetch_add(bytes, std::memory_order_relaxed);
  }
}

}  // namespace fiberd::runtime
