#pragma once
// What readers call into, inside the scheduler and for a moment each, is replaced: the writer waits until the last call
// by the old one is over, and may then destroy what it pointed to.
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "core/sync/atomic_snapshot.hpp"

namespace fiberd::net {

/// Parks on a fiber, blocks on another thread.
void pause_for(std::chrono::nanoseconds time) noexcept;

/// Readers hold a guard of `snapshot` for as long as they call. When this returns no call by what was there before is
/// under way, and none will be. Parks on a fiber, blocks on another thread, for as long as a call lasts. Throws
/// std::bad_alloc; then nothing has changed. One at a time.
template <class T>
void replace_and_wait(sync::AtomicSnapshot<std::shared_ptr<const T>>& snapshot, std::shared_ptr<const T> next) {
  const std::weak_ptr<const T> old = *snapshot.read();
  snapshot.store(std::move(next));
  // Calls end by themselves, and at once; those that begin read the new one.
  for (std::chrono::microseconds pause{1}; !old.expired(); pause = std::min(2 * pause, std::chrono::microseconds(1000)))
    pause_for(pause);
}

}  // namespace fiberd::net
