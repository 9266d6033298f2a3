#include "core/sync/semaphore.hpp"

#include <algorithm>

#include "core/base/bug.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

// Nothing of the object is read: a concurrency limiter's waits have this reason, too.
[[maybe_unused]] static const bool semaphore_described =
    (runtime::set_wait_edges(runtime::WaitReason::semaphore,
                             [](const void* object, runtime::WaitEdges& edges) {
                               edges.objects.push_back(
                                   {.at = runtime::HiddenAddress(object), .size = sizeof(Semaphore)});
                             }),
     true);

std::error_code Semaphore::acquire_for(std::uint64_t n, const context::Context* ctx) noexcept {
  if (const std::error_code error = ended_by(ctx)) return error;
  Entry entry;
  {
    const LockGuard guard(lock_);
    if (fits(n) && queue_.empty()) {
      out_ += n;
      return {};
    }
    if (n > units_) return errc::too_many;
    entry.n = n;
    queue_.add(entry, runtime::WaitReason::semaphore, this);
  }
  std::error_code error = wait(lock_, entry, ctx);
  const bool granted = !error;
  // Cancelled and then granted, by one fiber: who is told of success would go on for one that has given up.
  if (granted && !(error = ended_by(ctx))) return {};
  // Those behind may have waited only because this one wanted more.
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    if (granted) out_ -= n;
    grant(chain);
  }
  chain.wake();
  return error;
}

bool Semaphore::try_acquire(std::uint64_t n) noexcept {
  const LockGuard guard(lock_);
  if (!fits(n) || !queue_.empty()) return false;
  out_ += n;
  return true;
}

Result<void> Semaphore::release(std::uint64_t n) noexcept {
  WakeChain chain;
  bool out = false;
  {
    const LockGuard guard(lock_);
    out = n <= out_;
    if (out) {
      out_ -= n;
      grant(chain);
    }
  }
  if (!out) {
    // Without the lock: with its trace that takes long, and the log's sink is somebody else's code.
    report_bug("more units were given back to a semaphore than were out");
    return fail(errc::too_many);
  }
  chain.wake();
  return {};
}

void Semaphore::take_anyway(std::int64_t n) noexcept {
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    out_ += static_cast<std::uint64_t>(n);
    grant(chain);
  }
  chain.wake();
}

void Semaphore::grant(WakeChain& chain) noexcept {
  while (Entry* const first = queue_.front()) {
    if (!fits(first->n)) return;
    out_ += first->n;
    chain.add(*queue_.pop());
  }
}

std::uint64_t Semaphore::available() const noexcept {
  const LockGuard guard(lock_);
  return units_ - std::min(out_, units_);
}

}  // namespace fiberd::sync
