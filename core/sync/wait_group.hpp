#pragma once
// WaitGroup: sync.WaitGroup for fibers.
//
// One word: the counter in the upper 63 bits, and in bit 0 whether anybody waits. done() is one atomic subtraction;
// only the one that reaches zero while somebody waits goes on to the lock. It takes all waiters out in one hold of it
// and touches nothing of the group afterwards: they may destroy it as soon as they run. The word's transitions are in
// wait_group_word.hpp.
#include <cstdint>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/base/source_location.hpp"
#include "core/context/context.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_group_word.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// add() before the work is started, done() once for each at its end, wait() until the counter is zero. add() while the
/// counter is zero must not race with wait(). add() and done(): any thread. WaitReason::wait_group.
class WaitGroup {
 public:
  WaitGroup() noexcept = default;
  ~WaitGroup() { queue_.dies("a wait group died while fibers waited for it"); }
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  void add(std::uint32_t n = 1) noexcept { word_.add(n); }
  /// Error errc::negative_wait_group when the counter is zero; nothing changes, and it is a BUG.
  Result<void> done() noexcept {
    const std::int64_t before = word_.take_one();
    if (Word::more_left(before)) [[likely]]
      return {};
    if (Word::unwaited_zero(before)) return {};
    return as_result(done_slow(before));
  }
  void wait() noexcept { (void)wait_for(nullptr); }
  /// Success: the counter is zero. Otherwise context::errc: the work goes on, and the group must outlive it.
  [[nodiscard]] Result<void> wait(const context::Context& ctx) noexcept { return as_result(wait_for(&ctx)); }

  /// add(), and runs `fn` on a fiber that says done() at its end, however it ends. The group must outlive it. Error:
  /// spawn's; `fn` has not run then, and the counter is as before.
  template <std::invocable F>
  [[nodiscard]] Result<void> go(runtime::FiberName name, F&& fn, SourceLocation where = SourceLocation::current()) {
    Part mine = part();  // before `fn` is copied: that may throw
    return runtime::spawn(name, Task<std::decay_t<F>>(std::move(mine), std::forward<F>(fn)), where);
  }

  /// A part of the work: says done() when it dies, or before that once. Moved, not copied; must not outlive the group.
  class [[nodiscard]] Part {
   public:
    /// None.
    Part() noexcept = default;
    Part(Part&& o) noexcept : group_(std::exchange(o.group_, nullptr)) {}
    Part& operator=(Part o) noexcept {
      std::swap(group_, o.group_);
      return *this;
    }
    ~Part() { done(); }
    explicit operator bool() const noexcept { return group_ != nullptr; }
    /// Now. Any thread.
    void done() noexcept {
      if (WaitGroup* const group = std::exchange(group_, nullptr)) (void)group->done();
    }

   private:
    friend class WaitGroup;
    explicit Part(WaitGroup* group) noexcept : group_(group) {}
    WaitGroup* group_ = nullptr;
  };
  /// add(), and the done() that belongs to it.
  [[nodiscard]] Part part() noexcept {
    add();
    return Part(this);
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return word_.count(); }

 private:
  using Word = BasicWaitGroupWord<>;
  /// Holds its part longer than `fn`, whose captures die first.
  template <class F>
  class Task {
   public:
    template <class G>
    Task(Part part, G&& fn) : part_(std::move(part)), fn_(std::forward<G>(fn)) {}
    void operator()() { fn_(); }

   private:
    Part part_;
    F fn_;
  };
  [[nodiscard]] std::error_code wait_for(const context::Context* ctx) noexcept;
  std::error_code done_slow(std::int64_t before) noexcept;
  void wake_all() noexcept;

  Word word_;
  Lock lock_;
  WaitQueue queue_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
