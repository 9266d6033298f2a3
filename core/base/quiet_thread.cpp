#include "core/base/quiet_thread.hpp"

#include <signal.h>

namespace fiberd {

int create_quiet_thread(pthread_t& thread, void* (*main)(void*), void* argument, std::initializer_list<int> deliverable,
                        const pthread_attr_t* attributes) noexcept {
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  for (const int signo : deliverable) sigdelset(&blocked, signo);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  const int error = pthread_create(&thread, attributes, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace fiberd
