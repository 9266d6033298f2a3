#include "core/context/after_func.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <utility>

#include "core/base/log.hpp"
#include "core/context/node.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::context {

namespace detail {

/// Referred to by the handles, and by whoever will run or drop it: the node, then the fiber or the timer.
class AfterRecord final : public DoneHook, private runtime::Timer {
 public:
  AfterRecord(UniqueFunction fn, SourceLocation where) noexcept
      : runtime::Timer(&AfterRecord::on_retry), fn_(std::move(fn)), where_(where) {
    run = [](DoneHook& hook) noexcept { static_cast<AfterRecord&>(hook).start(); };
    drop = [](DoneHook& hook) noexcept { static_cast<AfterRecord&>(hook).give_up(); };
  }

  void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  /// Destroys the function and gives up the reference of whoever would have called it.
  void give_up() noexcept {
    fn_.reset();
    release();
  }
  /// The caller's reference is the fiber's from then on, or the timer's.
  void start() noexcept {
    if (runtime::Scheduler::instance() == nullptr) {
      report({});
      give_up();
      return;
    }
    const Result<void> spawned = runtime::spawn(
        "after_func",
        [this] {
          const struct End {
            AfterRecord& record;
            ~End() { record.give_up(); }
          } end{*this};
          fn_();
        },
        where_);
    if (spawned) return;
    if (delay_ == kFirstDelay) report(spawned.error());
    arm(Deadline::in(std::exchange(delay_, std::min(delay_ * 2, kLongestDelay))));
  }
  /// Without a node nothing ever runs it; only stopping tells.
  [[nodiscard]] bool stop_unattached() noexcept { return !stopped_.exchange(true, std::memory_order_relaxed); }
  void destroy_function() noexcept { fn_.reset(); }

 private:
  static constexpr std::chrono::nanoseconds kFirstDelay = std::chrono::milliseconds(1);
  static constexpr std::chrono::nanoseconds kLongestDelay = std::chrono::seconds(1);
  ~AfterRecord() = default;
  static void on_retry(runtime::Timer& timer) noexcept { static_cast<AfterRecord&>(timer).start(); }
  void report(std::error_code error) const noexcept {
    try {
      log(LogLevel::error,
          "after_func of " + std::string(where_.file_name()) + ":" + std::to_string(where_.line()) +
              (error ? " has no fiber yet: " + error.message() : std::string(" is never called: there is no runtime")));
    } catch (...) {
      log(LogLevel::error, "an after_func has no fiber, and memory to describe it is out");
    }
  }

  std::atomic<std::uint32_t> references_{1};
  std::atomic<bool> stopped_{false};
  UniqueFunction fn_;
  const SourceLocation where_;
  std::chrono::nanoseconds delay_ = kFirstDelay;
};

}  // namespace detail

StopFunction::StopFunction(const StopFunction& o) noexcept : context_(o.context_), record_(o.record_) {
  if (record_ != nullptr) record_->acquire();
}

StopFunction::~StopFunction() {
  if (record_ != nullptr) record_->release();
}

bool StopFunction::operator()() const noexcept {
  if (record_ == nullptr) return false;
  detail::Node* const node = detail::Access::node(context_);
  if (node == nullptr) {
    if (!record_->stop_unattached()) return false;
    record_->destroy_function();
    return true;
  }
  if (!node->take_hook(*record_)) return false;
  record_->give_up();  // the node's reference
  return true;
}

StopFunction after_func(const Context& context, UniqueFunction fn, SourceLocation where) {
  auto* const record = new detail::AfterRecord(std::move(fn), where);
  StopFunction stop(context, record);
  detail::Node* const node = detail::Access::node(context);
  if (node == nullptr) return stop;
  record->acquire();
  if (!node->add_hook(*record)) {
    record->state = detail::DoneHook::State::fired;
    record->start();
  }
  return stop;
}

}  // namespace fiberd::context
