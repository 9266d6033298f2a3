#pragma once
// Waiting on a plain thread for what fibers bring about: long enough for a sanitizer on a busy machine.
#include <chrono>
#include <thread>

namespace fiberd::test {

/// Whether `reached` comes true; looks once a millisecond.
template <class F>
bool within_a_minute(F reached) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < end) {
    if (reached()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace fiberd::test
