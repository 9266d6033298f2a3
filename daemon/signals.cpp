#include "daemon/signals.hpp"

#include <pthread.h>

namespace fiberd::daemon {

const char* name_of_signal(int signo) noexcept {
  switch (signo) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGQUIT: return "SIGQUIT";
    case SIGHUP: return "SIGHUP";
    case SIGUSR1: return "SIGUSR1";
    case SIGUSR2: return "SIGUSR2";
    default: return "another";
  }
}

void hold_signals() noexcept {
  sigset_t held;
  sigemptyset(&held);
  for (const int signo : kStopSignals) sigaddset(&held, signo);
  for (const int signo : {SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&held, signo);
  (void)pthread_sigmask(SIG_BLOCK, &held, nullptr);
}

}  // namespace fiberd::daemon
