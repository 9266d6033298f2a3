#pragma once
// ManagerTalk: the conversation with the service manager over the daemon's life: READY, RELOADING, STOPPING, how it is
// doing (STATUS), that it lives (WATCHDOG), and that a stop still gets on (EXTEND_TIMEOUT_USEC). Without a manager
// nothing is done. docs/systemd.md says what an operator sees of it.
#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/notify.hpp"
#include "daemon/roll_call.hpp"

namespace fiberd::daemon {

/// What a status is made of.
struct ManagerFigures {
  double requests = 0;     ///< answered since the start
  double connections = 0;  ///< now
  std::uint64_t fibers = 0;
};

/// Of all listeners but the daemon's own. Throws std::bad_alloc.
[[nodiscard]] ManagerFigures figures_of(const metric::Registry& registry, std::uint64_t fibers);

/// Thread-safe but for start() and stop().
class ManagerTalk {
 public:
  static constexpr std::chrono::seconds kStatusEvery{5};

  /// `figures` is asked on the talk's thread, and may throw std::bad_alloc: then there is no new status. All must live
  /// until stop().
  ManagerTalk(Notifier& notifier, runtime::Runtime& runtime, std::function<ManagerFigures()> figures);
  ~ManagerTalk();
  ManagerTalk(const ManagerTalk&) = delete;
  ManagerTalk& operator=(const ManagerTalk&) = delete;

  /// Starts the thread that tells how it is going. Where it cannot be had that is logged.
  void start();
  /// The thread ends. Before the runtime does.
  void stop() noexcept;

  /// It serves.
  void ready();
  /// A reload begins; another way out of it than reloaded() is a stop.
  void reloading();
  /// `how` it ended, a line: it stays in the status.
  void reloaded(bool done, std::string_view how);
  /// A stop begins, or is to be over sooner: at `end` at the latest (monotonic ns).
  void stopping(std::int64_t end) noexcept;

 private:
  enum class Phase : std::uint8_t { starting, serving, reloading, stopping };
  static void run(ManagerTalk* const& self) noexcept;
  void loop() noexcept;
  void feed(std::int64_t now) noexcept;
  void tell_status(std::int64_t now) noexcept;
  [[nodiscard]] std::string status(std::int64_t now);
  [[nodiscard]] std::string extension(std::int64_t now) const;

  Notifier& notifier_;
  const std::function<ManagerFigures()> figures_;
  std::atomic<Phase> phase_{Phase::starting};
  std::atomic<std::int64_t> end_{INT64_MAX};
  std::atomic<bool> over_{false};
  sem_t changed_{};
  Lock note_lock_;
  std::string note_ FIBERD_GUARDED_BY(note_lock_);  // of the last reload
  pthread_t thread_{};
  bool started_ = false;

  // The thread's.
  RollCall roll_;
  double requests_before_ = 0;
  std::int64_t counted_at_ = 0;  // when; 0: never
  std::int64_t fed_at_ = 0;
  bool said_starving_ = false;
};

}  // namespace fiberd::daemon
