#pragma once
// Mutex: Go's sync.Mutex for fibers: the fiber waits, never the thread. For critical sections that may wait themselves;
// inside the runtime and for a few instructions there is base/lock.hpp.
//
// One word: bits 3… are the owner's fiber index, 0 for nobody, 2^32 for any thread without a fiber, so that an unlock
// by another is found out without further cost; the low bits are flags. Taking and giving back without contention is
// one CAS each.
//
// Contention, after Go's normal and starvation modes. Unlocking sets the owner to nobody and wakes the first waiter,
// which must compete: the running fiber may take the lock again many times meanwhile, and that is what makes it fast
// (handing over at every unlock would cost a switch per acquisition). At most one woken waiter competes at a time
// (kWoken): more would be woken in vain. One that was woken in vain goes back to the *front*, and when it has waited a
// millisecond it asks for a hand-over (kStarving): the next unlock makes it the owner.
//
// kWaiting and kStarving change only under `lock_`, while somebody owns the mutex or by the owner itself; so an owner
// that finds neither them nor kWoken gives the mutex back by one CAS, and a fiber that hung itself in the queue is seen
// by whoever owns the mutex then. The word's transitions are in mutex_word.hpp.
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/mutex_word.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Not recursive: a fiber that locks twice waits for itself. Works with std::lock_guard, std::unique_lock,
/// std::scoped_lock. Waiting only on fibers. WaitReason::mutex.
class Mutex {
 public:
  Mutex() noexcept = default;
  ~Mutex() {
    if (locked()) [[unlikely]]
      report_early_death("a mutex died while it was locked");
    queue_.dies("a mutex died while fibers waited for it");
  }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() noexcept {
    if (!take_free()) [[unlikely]]
      (void)lock_slow(nullptr);
  }
  /// Success: locked. Otherwise context::errc, and not locked.
  [[nodiscard]] Result<void> lock(const context::Context& ctx) noexcept {
    if (const std::error_code error = ctx.err()) return fail(error);
    if (take_free()) return {};
    return as_result(lock_slow(&ctx));
  }
  /// lock(ctx), and what unlocks it: `auto guard = mutex.guard(ctx); if (!guard) return fail(guard.error());`. The
  /// std::unique_lock is what Condition waits with, too.
  [[nodiscard]] Result<std::unique_lock<Mutex>> guard(const context::Context& ctx) noexcept {
    if (const std::error_code error = error_of(lock(ctx))) return fail(error);
    return std::unique_lock<Mutex>(*this, std::adopt_lock);
  }
  [[nodiscard]] bool try_lock() noexcept;
  /// Error errc::not_owner when the calling fiber does not hold it; then nothing changes, and it is a BUG.
  Result<void> unlock() noexcept {
    const std::uint64_t word = word_.load();
    if (Word::owner_bits(word) == me() && Word::nobody_to_wake(word) && word_.give_back(word)) [[likely]]
      return {};
    const std::error_code error = unlock_slow();
    asm volatile("");  // no tail call: the mutex profile names the function that has held it
    return as_result(error);
  }
  /// A hint.
  [[nodiscard]] bool locked() const noexcept { return word_.owner() != 0; }

  /// runtime::DescribeWait: who holds it.
  static void describe_wait(const void* mutex, std::string& text);

 private:
  using Word = BasicMutexWord<>;
  /// A thread without a fiber is 2^32: as nobody (0) it would take the mutex without others seeing it.
  [[nodiscard]] static std::uint64_t me() noexcept {
    return (std::uint64_t{thread_locals()->fiber - 1U} + 1) << Word::kOwnerShift;
  }
  [[nodiscard]] bool take_free() noexcept { return word_.take_free(&me); }
  std::error_code lock_slow(const context::Context* ctx) noexcept;
  std::error_code unlock_slow() noexcept;

  Word word_;
  Lock lock_;
  struct Entry : Waiter {
    bool handed = false;            ///< out of the queue as the owner
    std::int64_t waited_since = 0;  ///< for the mutex profile
  };
  BasicWaitQueue<Entry> queue_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
