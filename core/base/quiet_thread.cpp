#include "core/base/quiet_thread.hpp"

#include <signal.h>

#include <atomic>

namespace fiberd {

static std::atomic<ThreadCreated> created{nullptr};

void on_thread_created(ThreadCreated hook) noexcept { created.store(hook, std::memory_order_release); }

int create_quiet_thread(pthread_t& thread, void* (*main)(void*), void* argument, std::initializer_list<int> deliverable,
                        const pthread_attr_t* attributes) noexcept {
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGPROF);
  for (const int signo : deliverable) sigdelset(&blocked, signo);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  const int error = pthread_create(&thread, attributes, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (const ThreadCreated hook = created.load(std::memory_order_acquire); error == 0 && hook != nullptr) hook();
  return error;
}

}  // namespace fiberd
