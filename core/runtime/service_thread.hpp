#pragma once
// ServiceThread: one helper thread that runs an asio::io_context, for signals and for Asio operations that the Pollers
// do not do themselves (use_fiber.hpp). It runs no fibers and starts at its first use.
//
// Signals: asio::signal_set catches them with a handler that only writes to a pipe, whatever thread it comes on; the
// machines block all signals, so it comes on this thread or on main's. A handler that is installed stays until the
// ServiceThread ends; then the default action is back.
#include <functional>
#include <memory>
#include <system_error>

#include "core/base/result.hpp"

namespace boost::asio {
class io_context;
}

namespace fiberd::runtime {

class ServiceThread {
 public:
  ServiceThread();
  /// Stops the thread; operations that had not ended are dropped without their handlers being called.
  ~ServiceThread();
  ServiceThread(const ServiceThread&) = delete;
  ServiceThread& operator=(const ServiceThread&) = delete;

  /// Starts the thread if it does not run. Errors: pthread_create's (resource_unavailable_try_again). Thread-safe.
  [[nodiscard]] Result<void> start() noexcept;

  /// Make Asio objects on this: their handlers run on the service thread and must not block it. An exception that
  /// leaves a handler is logged, the thread goes on. Thread-safe; does not start the thread.
  [[nodiscard]] boost::asio::io_context& io_context() noexcept;

  /// Calls `callback(signo)` on the service thread for each `signo` (SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, …) from
  /// the return of this call on; starts the thread. The callback must not block; it may wake fibers and spawn them with
  /// Runtime::spawn. A second call for the same signal replaces the callback; an empty one makes the signal be ignored.
  /// Errors: invalid_argument (a signal that cannot be caught), those of start(), too_many_files_open. Thread-safe.
  [[nodiscard]] Result<void> on_signal(int signo, std::function<void(int)> callback);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The service thread of the runtime that the caller's fiber belongs to.
[[nodiscard]] ServiceThread& current_service_thread() noexcept;

}  // namespace fiberd::runtime
