#pragma once
// What a Processor runs next of its own: runnext, but after 16 times in a row the head of the ring, so that two fibers
// that wake each other do not starve the rest. nullptr only when it has nothing: whoever sleeps on that answer sleeps
// on a fiber otherwise (thieves may empty the ring at any moment, and nobody else looks into runnext).
#include <cstdint>

namespace fiberd::runtime {

inline constexpr std::uint32_t kRunnextStreak = 16;

/// Owner.
template <class T, class Runnext, class Queue>
T* pick_next(Runnext& runnext, Queue& queue, std::uint32_t& streak) noexcept {
  if (streak < kRunnextStreak && !runnext.empty()) {
    ++streak;
    if (T* const next = runnext.exchange(nullptr)) return next;
  }
  streak = 0;
  if (T* const oldest = queue.pop()) return oldest;
  return runnext.empty() ? nullptr : runnext.exchange(nullptr);
}

}  // namespace fiberd::runtime
