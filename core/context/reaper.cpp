#include "core/context/reaper.hpp"

#include <chrono>
#include <utility>

#include "core/base/thread_locals.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::context::detail {

namespace {

class Reaper {
 public:
  void take(Link& link) noexcept {
    {
      const LockGuard guard(lock_);
      link.next_buried() = std::exchange(first_, &link);
      if (!begin()) return;
    }
    start();
  }

 private:
  /// Under the lock. False: a fiber of this runtime is at it. One of a runtime that was given up will not come back.
  bool begin() noexcept FIBERD_REQUIRES(lock_) {
    runtime::Scheduler* const now = runtime::Scheduler::instance();
    return std::exchange(busy_in_, now) != now;
  }
  void start() noexcept {
    if (runtime::spawn("context values", [this] { work(); })) return;
    {
      const LockGuard guard(lock_);
      busy_in_ = nullptr;
    }
    retry_.reaper = this;
    retry_.arm(Deadline::in(std::chrono::milliseconds(1)));
  }
  void work() noexcept {
    for (;;) {
      Link* link = nullptr;
      {
        const LockGuard guard(lock_);
        link = first_;
        if (link == nullptr) {
          busy_in_ = nullptr;
          return;
        }
        first_ = link->next_buried();
      }
      Link::destroy_buried(link);
    }
  }
  struct Retry : runtime::Timer {
    constexpr Retry() noexcept : runtime::Timer(&Retry::fire) {}
    static void fire(runtime::Timer& timer) noexcept {
      Reaper& self = *static_cast<Retry&>(timer).reaper;
      {
        const LockGuard guard(self.lock_);
        if (self.first_ == nullptr || !self.begin()) return;
      }
      self.start();
    }
    Reaper* reaper = nullptr;
  };

  Lock lock_;
  Link* first_ FIBERD_GUARDED_BY(lock_) = nullptr;
  runtime::Scheduler* busy_in_ FIBERD_GUARDED_BY(lock_) = nullptr;  // whose fiber is at it, or about to be
  Retry retry_;
};

Reaper& reaper() noexcept {
  static auto* const instance = new Reaper;  // outlives whatever dies at the process's end
  return *instance;
}

}  // namespace

bool must_bury() noexcept {
  return (runtime::in_scheduler() || thread_locals()->lock_depth != 0) && runtime::Scheduler::instance() != nullptr;
}

void bury(Link& link) noexcept { reaper().take(link); }

}  // namespace fiberd::context::detail
