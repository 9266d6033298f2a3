#include "core/sync/after_func.hpp"

#include <algorithm>
#include <atomic>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/settled_timer.hpp"

namespace fiberd::sync {

namespace detail {

/// Referred to by its handles, by the call that stands out, and by each that is running.
class FunctionRecord final : private SettledTimer {
 public:
  FunctionRecord(UniqueFunction fn, SourceLocation where) noexcept
      : SettledTimer(&FunctionRecord::on_time), fn_(std::move(fn)), where_(where) {}

  void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    retire();
    delete this;
  }

  bool set(Deadline deadline) noexcept {
    acquire();  // before the call stands out: it may be over at once
    const bool stood = due_.exchange(deadline.ns(), std::memory_order_acq_rel) != kNever;
    settle();
    if (stood) release();
    return stood;
  }
  bool stop() noexcept {
    if (due_.exchange(kNever, std::memory_order_acq_rel) == kNever) return false;
    settle();
    release();
    return true;
  }

 private:
  static constexpr std::int64_t kFirstDelay = 1'000'000;  // ns
  static constexpr std::int64_t kLongestDelay = 1'000'000'000;
  ~FunctionRecord() = default;

  static void on_time(SettledTimer& timer) noexcept {
    auto& self = static_cast<FunctionRecord&>(timer);
    std::int64_t due = self.due_.load(std::memory_order_acquire);
    if (due > monotonic_now() || !self.due_.compare_exchange_strong(due, kNever, std::memory_order_acq_rel)) return;
    self.start();
  }
  /// With the reference of the call that stood out, which becomes the fiber's.
  void start() noexcept {
    const Result<void> spawned = runtime::spawn(
        "after_func",
        [this] {
          const struct End {
            FunctionRecord& record;
            ~End() { record.release(); }
          } end{*this};
          fn_();
        },
        where_);
    if (spawned) {
      delay_ = kFirstDelay;
      return;
    }
    const std::int64_t again = monotonic_now() + std::exchange(delay_, std::min(delay_ * 2, kLongestDelay));
    std::int64_t none = kNever;
    if (due_.compare_exchange_strong(none, again, std::memory_order_acq_rel)) {
      settle();
    } else {
      release();  // it was set anew meanwhile: that call is made, with its own reference
    }
  }

  std::atomic<std::uint32_t> references_{1};
  UniqueFunction fn_;
  const SourceLocation where_;
  std::int64_t delay_ = kFirstDelay;  // on_time()'s alone
};

}  // namespace detail

FunctionTimer::FunctionTimer(const FunctionTimer& o) noexcept : record_(o.record_) {
  if (record_ != nullptr) record_->acquire();
}

FunctionTimer::~FunctionTimer() {
  if (record_ != nullptr) record_->release();
}

bool FunctionTimer::stop() const noexcept { return record_ != nullptr && record_->stop(); }

bool FunctionTimer::reset(std::chrono::nanoseconds duration) const noexcept {
  // What saturates would be never, which is no time to be called at.
  return record_ != nullptr && record_->set(Deadline::at(std::min(Deadline::in(duration).ns(), INT64_MAX - 1)));
}

FunctionTimer after_func(std::chrono::nanoseconds duration, UniqueFunction fn, SourceLocation where) {
  FunctionTimer timer(new detail::FunctionRecord(std::move(fn), where));
  (void)timer.reset(duration);
  return timer;
}

}  // namespace fiberd::sync
