#pragma once
// `fiberd top`: what a daemon does, again and again, in a terminal; or once, for scripts.
#include <chrono>
#include <string>

#include "daemon/top/asker.hpp"
#include "daemon/top/view.hpp"

namespace fiberd::daemon::top {

struct Options {
  static constexpr std::chrono::nanoseconds kShortest = std::chrono::milliseconds(100);
  static constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(1);

  Asked asked{};
  std::chrono::nanoseconds interval = std::chrono::seconds(1);  ///< between two looks
  bool once = false;                                            ///< also where output is no terminal
  bool json = false;                                            ///< once, as JSON
  Sort sort = Sort::rate;
};

/// Returns the exit code: 0; 1 when the daemon cannot be asked, or the output not be written; 2 when the address is
/// none, the daemon wants a token, or the terminal is one that cannot be drawn on. Says on standard error why.
[[nodiscard]] int run_top(const Options& options);

}  // namespace fiberd::daemon::top
