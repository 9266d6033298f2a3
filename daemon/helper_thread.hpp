#pragma once
// Threads of the daemon that run no fibers: its logs' writers, the stop's watchdog.
#include <memory>
#include <system_error>
#include <utility>

#include <pthread.h>

namespace fiberd::daemon {

namespace detail {
using ThreadMain = void* (*)(void*);
[[nodiscard]] std::error_code start_thread(pthread_t& thread, ThreadMain main, void* argument) noexcept;
}  // namespace detail

/// Starts a thread on a stack of 256 KiB with all signals blocked, named `name` (15 characters at most), which calls
/// fn(state) and keeps `state` until it ends: so it may be left behind (pthread_detach). Errors: pthread_create's.
template <class State, void (*fn)(State&) noexcept>
[[nodiscard]] std::error_code start_helper(pthread_t& thread, const char* name, std::shared_ptr<State> state) {
  struct Start {
    const char* name;
    std::shared_ptr<State> state;
  };
  auto start = std::make_unique<Start>(Start{name, std::move(state)});
  const std::error_code error = detail::start_thread(
      thread,
      [](void* argument) -> void* {
        const std::unique_ptr<Start> own(static_cast<Start*>(argument));
        pthread_setname_np(pthread_self(), own->name);
        fn(*own->state);
        return nullptr;
      },
      start.get());
  if (!error) (void)start.release();  // the thread's
  return error;
}

}  // namespace fiberd::daemon
