#pragma once
// Reloader: one reload of the configuration at a time. What is asked for during one is done after it, once, whoever and
// how many asked: the file is read when that begins, so the last word wins.
#include <cstdint>
#include <functional>
#include <memory>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/metric/metrics.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "daemon/admin/admin.hpp"

namespace fiberd::daemon {

class Reloader {
 public:
  /// `reload` does it, on a fiber of `runtime`; never two at a time. `stopping` counts what close() has refused; may be
  /// null.
  Reloader(runtime::Runtime& runtime, std::function<ReloadAnswer()> reload, metric::Counter* stopping = nullptr)
      : runtime_(runtime), reload_(std::move(reload)), stopping_(stopping) {}
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  /// From now on what was asked for is done. Any thread; never waits.
  void open() noexcept;
  /// Asks for one. Any thread; never waits.
  void request() noexcept;
  /// Asks for one and waits for the first that begins after this. On a fiber.
  [[nodiscard]] ReloadAnswer request_and_wait();
  /// From now on all are refused, those that wait too; waits for the one that is under way. On a fiber.
  void close() noexcept;

  /// Says, logs and counts that a reload came too late.
  [[nodiscard]] ReloadAnswer refuse_for_stop() noexcept;

 private:
  struct Attempt {
    Attempt() { done.add(1); }
    sync::WaitGroup done;
    ReloadAnswer answer;
  };
  /// Null when closed.
  [[nodiscard]] std::shared_ptr<Attempt> ask();
  void begin() noexcept;
  void run() noexcept;

  runtime::Runtime& runtime_;
  const std::function<ReloadAnswer()> reload_;
  metric::Counter* const stopping_;
  Lock lock_;
  std::shared_ptr<Attempt> next_ FIBERD_GUARDED_BY(lock_);  // that nobody has begun
  bool open_ = false;
  bool running_ = false;
  bool closed_ = false;
};

}  // namespace fiberd::daemon
