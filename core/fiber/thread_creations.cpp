#include "core/fiber/thread_creations.hpp"

#include <algorithm>
#include <mutex>

#include "core/base/quiet_thread.hpp"
#include "core/fiber/backtrace.hpp"

namespace fiberd::fiber {

namespace {

std::mutex mutex;
// Static, so that to note a thread never needs memory.
std::array<ThreadCreation, kMostThreadStacks + 1> table;
std::size_t used = 0;

}  // namespace

[[gnu::noinline]] static void note() noexcept {
  ThreadCreation seen;
  seen.depth = capture_backtrace(seen.stack);
  // The innermost is this function.
  if (seen.depth > 0)
    std::copy(seen.stack.begin() + 1, seen.stack.begin() + static_cast<long>(seen.depth--), seen.stack.begin());
  const std::scoped_lock lock(mutex);
  const auto end = table.begin() + static_cast<long>(used);
  const auto at = std::find_if(table.begin(), end, [&seen](const ThreadCreation& known) {
    return std::equal(known.frames().begin(), known.frames().end(), seen.frames().begin(), seen.frames().end());
  });
  if (at != end) {
    ++at->count;
    return;
  }
  if (used == kMostThreadStacks) {
    ++table.back().count;
    return;
  }
  seen.count = 1;
  table[used++] = seen;
}

void note_thread_creations() noexcept { on_thread_created(&note); }

std::vector<ThreadCreation> thread_creations() {
  std::vector<ThreadCreation> all;
  all.reserve(kMostThreadStacks + 1);
  const std::scoped_lock lock(mutex);
  all.assign(table.begin(), table.begin() + static_cast<long>(used));
  if (table.back().count != 0) all.push_back(table.back());
  return all;
}

}  // namespace fiberd::fiber
