#include "core/sync/mutex.hpp"

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/cpu_relax.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::sync {

static constexpr std::int64_t kStarvation = 1'000'000;  // ns
static constexpr int kSpins = 64;

bool Mutex::try_lock() noexcept {
  std::uint64_t word = word_.load(std::memory_order_relaxed);
  while (owner(word) == 0)
    if (word_.compare_exchange_weak(word, me() | word, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  return false;
}

std::error_code Mutex::lock_slow(const context::Context* ctx) noexcept {
  bool woken = false;
  std::int64_t since = 0;
  int spins = runtime::gomaxprocs() > 1 ? kSpins : 0;
  for (;;) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (owner(word) == 0) {
      const std::uint64_t flags = woken ? word & ~kWoken : word;
      if (word_.compare_exchange_weak(word, flags | me(), std::memory_order_acquire, std::memory_order_relaxed))
        return {};
      continue;
    }
    // The owner may run on another Processor and be about to unlock; not when others wait: they would be overtaken.
    if (spins != 0 && (word & kFlags) == 0) {
      --spins;
      cpu_relax();
      continue;
    }
    Entry entry;
    {
      const LockGuard guard(lock_);
      const bool starving = woken && runtime::coarse_now() - since > kStarvation;
      word = word_.load(std::memory_order_relaxed);
      bool queued = false;
      while (owner(word) != 0 && !queued) {
        const std::uint64_t flags = kWaiting | (starving ? kStarving : 0);
        queued = word_.compare_exchange_weak(word, (woken ? word & ~kWoken : word) | flags, std::memory_order_relaxed,
                                             std::memory_order_relaxed);
      }
      if (!queued) continue;
      if (woken) {
        queue_.add_front(entry, runtime::WaitReason::mutex);
      } else {
        queue_.add(entry, runtime::WaitReason::mutex);
        since = runtime::coarse_now();
      }
    }
    if (const std::error_code error = wait(lock_, entry, ctx)) return error;
    if (entry.handed) return {};
    woken = true;
  }
}

std::error_code Mutex::unlock_slow() noexcept {
  std::uint64_t word = word_.load(std::memory_order_relaxed);
  if (owner(word) != owner(me()) || owner(word) == 0) {
    report_bug("a mutex was unlocked by a fiber that does not hold it");
    return errc::not_owner;
  }
  for (;; word = word_.load(std::memory_order_relaxed)) {
    // Nobody is to be woken. The next owner may destroy the mutex, so this is the last touch.
    while (nobody_to_wake(word))
      if (word_.compare_exchange_weak(word, word & kFlags, std::memory_order_release, std::memory_order_relaxed))
        return {};
    runtime::Ticket ticket;
    {
      const LockGuard guard(lock_);
      Entry* const first = queue_.pop();
      if (first == nullptr) {
        // Whoever set them has given up. Only the flags: were the mutex given back here, its next owner could destroy
        // it before this lock is released.
        word_.fetch_and(~(kWaiting | kStarving), std::memory_order_relaxed);
        continue;
      }
      word = word_.load(std::memory_order_relaxed);
      ticket = first->ticket;
      first->handed = (word & kStarving) != 0;
      // Nobody else changes the word now: it has an owner, and flags are set under the lock. `first` is in lock() until
      // it is woken, so the mutex stays.
      word_.store((queue_.empty() ? 0 : kWaiting) |
                      (first->handed ? std::uint64_t{ticket.fiber_index()} << kOwnerShift | (word & kWoken) : kWoken),
                  std::memory_order_release);
    }
    runtime::wake(ticket);
    return {};
  }
}

}  // namespace fiberd::sync
