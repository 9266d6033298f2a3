#pragma once
// Semaphore: weighted, first come, first served, after golang.org/x/sync/semaphore.
#include <cstdint>
#include <system_error>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// `units` can be out at once. A waiter for many units is not overtaken by later ones that want few: it would starve.
/// release() and try_acquire(): any thread; waiting only on fibers. WaitReason::semaphore.
class Semaphore {
 public:
  explicit Semaphore(std::uint64_t units) noexcept : units_(units) {}
  ~Semaphore() { queue_.dies("a semaphore died while fibers waited for it"); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Waits for `n` units. Error errc::too_many when there are not as many at all: nothing is waited for.
  [[nodiscard]] Result<void> acquire(std::uint64_t n = 1) noexcept { return as_result(acquire_for(n, nullptr)); }
  /// Also context::errc; then no unit was taken.
  [[nodiscard]] Result<void> acquire(const context::Context& ctx, std::uint64_t n = 1) noexcept {
    return as_result(acquire_for(n, &ctx));
  }
  /// Never waits. False when they are not free, or others wait for them.
  [[nodiscard]] bool try_acquire(std::uint64_t n = 1) noexcept;
  /// Error errc::too_many when more come back than are out; nothing changes, and it is a BUG.
  Result<void> release(std::uint64_t n = 1) noexcept;

  /// Units that go back when they die, or are released. Moved, not copied; must not outlive the semaphore.
  class [[nodiscard]] Permit {
   public:
    /// None.
    Permit() noexcept = default;
    Permit(Permit&& o) noexcept
        : semaphore_(std::exchange(o.semaphore_, nullptr)), units_(std::exchange(o.units_, 0)) {}
    Permit& operator=(Permit o) noexcept {
      std::swap(semaphore_, o.semaphore_);
      std::swap(units_, o.units_);
      return *this;
    }
    ~Permit() { release(); }
    explicit operator bool() const noexcept { return semaphore_ != nullptr; }
    [[nodiscard]] std::uint64_t units() const noexcept { return units_; }
    /// Now. Any thread.
    void release() noexcept {
      if (Semaphore* const s = std::exchange(semaphore_, nullptr)) (void)s->release(std::exchange(units_, 0));
    }

   private:
    friend class Semaphore;
    Permit(Semaphore* semaphore, std::uint64_t units) noexcept : semaphore_(semaphore), units_(units) {}
    Semaphore* semaphore_ = nullptr;
    std::uint64_t units_ = 0;
  };
  /// acquire(ctx, n), and what was acquired as a Permit. The same errors.
  [[nodiscard]] Result<Permit> permit(const context::Context& ctx, std::uint64_t n = 1) noexcept {
    if (const std::error_code error = acquire_for(n, &ctx)) return fail(error);
    return Permit(this, n);
  }
  /// try_acquire(n). None: false.
  [[nodiscard]] Permit try_permit(std::uint64_t n = 1) noexcept { return try_acquire(n) ? Permit(this, n) : Permit(); }

  /// A snapshot.
  [[nodiscard]] std::uint64_t available() const noexcept;

 private:
  struct Entry : Waiter {
    std::uint64_t n = 0;
  };
  friend class ErrorGroup;
  [[nodiscard]] bool fits(std::uint64_t n) const noexcept FIBERD_REQUIRES(lock_) {
    return n <= units_ && out_ <= units_ - n;
  }
  /// So many more are out, without a wait, be they there or not; negative: fewer.
  void take_anyway(std::int64_t n) noexcept;
  [[nodiscard]] std::error_code acquire_for(std::uint64_t n, const context::Context* ctx) noexcept;
  void grant(WakeChain& chain) noexcept FIBERD_REQUIRES(lock_);

  const std::uint64_t units_;
  mutable Lock lock_;
  std::uint64_t out_ FIBERD_GUARDED_BY(lock_) = 0;  // more than there are only by take_anyway()
  BasicWaitQueue<Entry> queue_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
