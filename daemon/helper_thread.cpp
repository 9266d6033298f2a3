#include "daemon/helper_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/quiet_thread.hpp"

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
  const int error = create_quiet_thread(thread, main, argument, {}, &attributes);
  pthread_attr_destroy(&attributes);
  return {error, std::system_category()};
}

}  // namespace fiberd::daemon::detail
