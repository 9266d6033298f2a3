#pragma once
// AcceptorRegistration: a listening socket in every Poller, with EPOLLEXCLUSIVE: one Processor is woken per arrival.
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/base/intrusive_list.hpp"
#include "core/base/result.hpp"

namespace fiberd::runtime {

class Scheduler;

using AcceptCallback = void (*)(void* argument) noexcept;

/// What epoll points at. Lives as long as the scheduler: a Poller may hold an event that it fetched before the removal.
struct AcceptorRecord : ListHook {
  int fd = -1;
  AcceptCallback callback = nullptr;
  void* argument = nullptr;
  bool suspended = false;  // under the scheduler's structure lock
  std::atomic<bool> closing{false};
  std::atomic<std::uint32_t> running{0};

  void deliver() noexcept;
};

class AcceptorRegistration {
 public:
  /// Registers `fd` (non-blocking, listening; the caller keeps owning it) in all Pollers, those of a later
  /// GOMAXPROCS raise included. `on_readable` runs inside the scheduler of the Processor that took the event, level-
  /// triggered, possibly on several threads at once: it must not park. Errors: what epoll_ctl said, not_enough_memory.
  [[nodiscard]] static Result<std::unique_ptr<AcceptorRegistration>> add(Scheduler& scheduler, int fd,
                                                                         AcceptCallback on_readable, void* argument);
  /// Removes it from all Pollers and waits until no callback runs. Not from inside the callback. Must come before the
  /// descriptor is closed.
  ~AcceptorRegistration();
  AcceptorRegistration(const AcceptorRegistration&) = delete;
  AcceptorRegistration& operator=(const AcceptorRegistration&) = delete;

  /// No events until resume(). Both may be called from inside the callback and from any thread; idempotent.
  void suspend() noexcept;
  void resume() noexcept;

  [[nodiscard]] int fd() const noexcept { return record_.fd; }

 private:
  AcceptorRegistration(Scheduler& scheduler, AcceptorRecord& record) noexcept
      : scheduler_(scheduler), record_(record) {}

  Scheduler& scheduler_;
  AcceptorRecord& record_;
};

}  // namespace fiberd::runtime
