#include "core/sync/mutex.hpp"

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/cpu_relax.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

static constexpr std::int64_t kStarvation = 1'000'000;  // ns
static constexpr int kSpins = 64;

void Mutex::describe_wait(const void* mutex, std::string& text) {
  const std::uint64_t owner = static_cast<const Mutex*>(mutex)->word_.owner();
  if (owner == 0)
    text = "held by nobody";
  else if (owner > UINT32_MAX)
    text = "held by a thread without a fiber";
  else
    text = "held by " + runtime::describe_fiber(static_cast<std::uint32_t>(owner));
}

void Mutex::tell_edges(const void* mutex, runtime::WaitEdges& edges) {
  const std::uint64_t owner = static_cast<const Mutex*>(mutex)->word_.owner();
  // Given back a moment ago, or a thread has it.
  if (owner == 0 || owner > UINT32_MAX)
    edges.elsewhere = true;
  else
    edges.owner = static_cast<std::uint32_t>(owner);
}

[[maybe_unused]] static const bool mutex_described = [] {
  runtime::set_wait_description(runtime::WaitReason::mutex, &Mutex::describe_wait);
  runtime::set_wait_edges(runtime::WaitReason::mutex, &Mutex::tell_edges);
  return true;
}();

bool Mutex::try_lock() noexcept { return word_.take_while_free(me()); }

std::error_code Mutex::lock_slow(const context::Context* ctx) noexcept {
  bool woken = false;
  std::int64_t since = 0;
  int spins = runtime::gomaxprocs() > 1 ? kSpins : 0;
  for (;;) {
    const Word::Look look = word_.look(me(), woken);
    if (look == Word::Look::taken) return {};
    if (look == Word::Look::again) continue;
    // The owner may run on another Processor and be about to unlock; not when others wait: they would be overtaken.
    if (spins != 0 && look == Word::Look::held_alone) {
      --spins;
      cpu_relax();
      continue;
    }
    Entry entry;
    entry.waited_since = runtime::contention_began();
    {
      const LockGuard guard(lock_);
      const bool starving = woken && runtime::coarse_now() - since > kStarvation;
      if (!word_.announce(woken, starving)) continue;
      if (woken) {
        queue_.add_front(entry, runtime::WaitReason::mutex, this);
      } else {
        queue_.add(entry, runtime::WaitReason::mutex, this);
        since = runtime::coarse_now();
      }
    }
    if (const std::error_code error = wait(lock_, entry, ctx)) return error;
    if (entry.handed) return {};
    woken = true;
  }
}

std::error_code Mutex::unlock_slow() noexcept {
  if (word_.owner() != me() >> Word::kOwnerShift) {
    report_bug("a mutex was unlocked by a fiber that does not hold it");
    return errc::not_owner;
  }
  while (!word_.give_back_unless_awaited()) {
    runtime::Ticket ticket;
    std::int64_t waited_since = 0;
    {
      const LockGuard guard(lock_);
      Entry* const first = queue_.pop();
      if (first == nullptr) {
        word_.nobody_waits();
        continue;
      }
      ticket = first->ticket;
      waited_since = first->waited_since;
      first->handed =
          word_.wake_or_hand_over(std::uint64_t{ticket.fiber_index()} << Word::kOwnerShift, !queue_.empty());
    }
    runtime::wake(ticket);
    runtime::contention_is_over(runtime::WaitReason::mutex, waited_since);
    break;
  }
  return {};
}

}  // namespace fiberd::sync
