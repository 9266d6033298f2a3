#include "daemon/helper_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>

namespace fiberd::daemon::detail {

std::error_code start_thread(pthread_t& thread, ThreadMain main, void* argument) noexcept {
  // Not the default, which follows RLIMIT_STACK: 8 MiB of address space each, or, where that is low, too little.
  constexpr std::size_t kStack = std::size_t{256} * 1024;
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) return {error, std::system_category()};
  const long least = sysconf(_SC_THREAD_STACK_MIN);
  (void)pthread_attr_setstacksize(&attributes,
                                  std::max(kStack, 2 * static_cast<std::size_t>(std::max(least, 16'384L))));
  // Signals go to the service thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread, &attributes, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return {error, std::system_category()};
}

}  // namespace fiberd::daemon::detail
