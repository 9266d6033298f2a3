#include "daemon/signals.hpp"

#include <pthread.h>

#include <array>
#include <cstddef>

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

static constexpr std::array kServiceSignals{SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};

template <std::size_t N>
static void hold(const std::array<int, N>& signals) noexcept {
  sigset_t held;
  sigemptyset(&held);
  for (const int signo : signals) sigaddset(&held, signo);
  (void)pthread_sigmask(SIG_BLOCK, &held, nullptr);
}

void hold_service_signals() noexcept { hold(kServiceSignals); }

void hold_signals() noexcept {
  hold(kStopSignals);
  hold(kServiceSignals);
}

}  // namespace fiberd::daemon
