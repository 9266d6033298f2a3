#pragma once
// Reloader: one reload of the configuration at a time. What is asked for during one is done after it, once, whoever and
// how many asked: the file is read when that begins, so the last word wins.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/metric/metrics.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "daemon/admin/admin.hpp"

namespace fiberd::daemon {

class Reloader {
 public:
  /// `reload` does it, on a fiber of `runtime`; never two at a time. `failed` is called for one that could not be
  /// begun, or threw. `stopping` counts what close() has refused. Both may be null.
  Reloader(runtime::Runtime& runtime, std::function<ReloadAnswer()> reload, std::function<void()> failed = {},
           metric::Counter* stopping = nullptr)
      : runtime_(runtime), reload_(std::move(reload)), failed_(std::move(failed)), stopping_(stopping) {}
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  /// From now on what was asked for is done. Any thread; never waits.
  void open() noexcept;
  /// Asks for one. Any thread; never waits.
  void request() noexcept;
  /// Asks for one and waits for the first that begins after this. On a fiber. Errors: as waiting under `ctx`; the
  /// reload goes on.
  [[nodiscard]] Result<ReloadAnswer> request_and_wait(const context::Context& ctx);
  /// From now on all are refused, those that wait too. The one that is under way ends by itself, which the owner of
  /// what it reloads must wait for. Any thread.
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
  [[nodiscard]] ReloadAnswer give_up(const std::string& why);

  runtime::Runtime& runtime_;
  const std::function<ReloadAnswer()> reload_;
  const std::function<void()> failed_;
  metric::Counter* const stopping_;
  Lock lock_;
  std::shared_ptr<Attempt> next_ FIBERD_GUARDED_BY(lock_);  // that nobody has begun
  bool open_ FIBERD_GUARDED_BY(lock_) = false;
  bool running_ FIBERD_GUARDED_BY(lock_) = false;
  bool closed_ FIBERD_GUARDED_BY(lock_) = false;
};

}  // namespace fiberd::daemon
