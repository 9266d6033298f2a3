#include "daemon/memory_watch.hpp"

#include <malloc.h>

#include <algorithm>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/memory_guard.hpp"

namespace fiberd::daemon {

static Result<void> admit(std::string_view name) noexcept {
  // Only fibers that serve somebody new are refused; those that finish, drain and report must go on.
  const bool serves = name == "http" || name == "tcp";
  if (serves && over_memory_limit()) return fail(std::errc::not_enough_memory);
  return {};
}

/// malloc keeps what was freed between what was not: after a crowd has gone that is most of what it cost. Freed memory
/// that it keeps counts as ours, too: without this memory.limit, once reached, might never be left again.
static void give_back() noexcept {
  (void)runtime::blocking([] { (void)malloc_trim(0); });
}

MemoryWatch::MemoryWatch(runtime::Runtime& runtime, Room& room) noexcept : runtime_(runtime), room_(room) {
  // malloc_trim() leaves alone what is free at the top of a thread's arena; free() gives that back, but for a threshold
  // that grows by itself to megabytes unless it is set.
  (void)mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}

void MemoryWatch::set_limit(std::uint64_t limit) noexcept {
  limit_.store(limit, std::memory_order_relaxed);
  if (limit != 0) runtime_.set_admission_hook(&admit);
}

void MemoryWatch::start(runtime::Cancellation& until) {
  const Result<void> watching = runtime_.spawn("memory", [this, &until] { watch(until); });
  if (!watching) log(LogLevel::error, "memory is not watched: " + watching.error().message());
}

void MemoryWatch::watch(runtime::Cancellation& until) {
  static constexpr std::size_t kCrowd = 256;
  static constexpr std::int64_t kPause = 5'000'000'000;
  std::size_t crowd = 0;
  std::int64_t trimmed = 0;
  while (!until.canceled()) {
    // Without a limit any more, who was refused under the last one is let in again.
    if (const std::uint64_t most = limit(); most != 0 || over_memory_limit())
      check_memory(most != 0 ? most : UINT64_MAX);
    const std::size_t open = room_.connections();
    crowd = std::max(crowd, open);
    const bool crowd_left = crowd >= kCrowd && open < crowd / 2 && monotonic_now() - trimmed >= kPause;
    // Closing what was deleted frees its disk space, which may take a while.
    if (const auto files = room_.files(); files != nullptr && files->files() != 0)
      runtime::blocking([&] { files->sweep(monotonic_now()); });
    if (over_memory_limit()) {
      save();
    } else if (crowd_left) {
      give_back();
      trimmed = monotonic_now();
      crowd = open;
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(500), &until);
  }
}

/// What idle connections hold is what can be had back without hurting anybody.
void MemoryWatch::save() noexcept {
  room_.part_with_some();
  give_back();
}

}  // namespace fiberd::daemon
