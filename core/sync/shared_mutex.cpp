#include "core/sync/shared_mutex.hpp"

#include "core/base/bug.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

/// Never 0, which is nobody.
static std::uint64_t me() noexcept { return std::uint64_t{thread_locals()->fiber - 1U} + 1; }

void SharedMutex::describe_wait(const void* mutex, std::string& text) {
  const auto& m = *static_cast<const SharedMutex*>(mutex);
  std::uint64_t writer = 0;
  std::uint32_t readers = 0;
  {
    const LockGuard guard(m.lock_);
    writer = m.writer_;
    readers = m.readers_;
  }
  if (writer == 0)
    text = "held by " + std::to_string(readers) + (readers == 1 ? " reader" : " readers");
  else if (writer > UINT32_MAX)
    text = "held for writing by a thread without a fiber";
  else
    text = "held for writing by " + runtime::describe_fiber(static_cast<std::uint32_t>(writer));
}

void SharedMutex::tell_edges(const void* mutex, runtime::WaitEdges& edges) {
  const auto& m = *static_cast<const SharedMutex*>(mutex);
  const LockGuard guard(m.lock_);
  if (m.writer_ != 0 && m.writer_ <= UINT32_MAX)
    edges.owner = static_cast<std::uint32_t>(m.writer_);
  else if (m.writer_ != 0)
    edges.elsewhere = true;
  else  // who reads it is not written down, but must be able to get at it
    edges.objects.push_back({runtime::HiddenAddress(&m), sizeof m});
}

[[maybe_unused]] static const bool shared_mutex_described = [] {
  runtime::set_wait_description(runtime::WaitReason::shared_mutex, &SharedMutex::describe_wait);
  runtime::set_wait_edges(runtime::WaitReason::shared_mutex, &SharedMutex::tell_edges);
  return true;
}();

bool SharedMutex::try_lock() noexcept {
  const LockGuard guard(lock_);
  if (writer_ != 0 || readers_ != 0) return false;
  writer_ = me();
  return true;
}

bool SharedMutex::try_lock_shared() noexcept {
  const LockGuard guard(lock_);
  if (writer_ != 0 || !queue_.empty()) return false;
  ++readers_;
  return true;
}

std::error_code SharedMutex::acquire(bool writer, const context::Context* ctx) noexcept {
  if (const std::error_code error = ended_by(ctx)) return error;
  Entry entry;
  {
    const LockGuard guard(lock_);
    if (writer_ == 0 && queue_.empty() && (!writer || readers_ == 0)) {
      if (writer) {
        writer_ = me();
      } else {
        ++readers_;
      }
      return {};
    }
    entry.writer = writer;
    entry.waited_since = runtime::contention_began();
    queue_.add(entry, runtime::WaitReason::shared_mutex, this);
  }
  const std::error_code error = wait(lock_, entry, ctx);
  if (!error || !writer) return error;
  // A writer that gives up may have been what readers behind it waited for.
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    grant(chain);
  }
  chain.wake();
  return error;
}

std::int64_t SharedMutex::grant(WakeChain& chain) noexcept {
  std::int64_t waited_since = 0;
  while (Entry* const first = queue_.front()) {
    if (writer_ != 0 || (first->writer && readers_ != 0)) break;
    queue_.pop();
    if (waited_since == 0) waited_since = first->waited_since;
    if (first->writer) {
      writer_ = first->ticket.fiber_index();
    } else {
      ++readers_;
    }
    chain.add(*first);
  }
  return waited_since;
}

// A BUG is told without the lock: with its trace that takes long, and the log's sink is somebody else's code.
Result<void> SharedMutex::unlock() noexcept {
  WakeChain chain;
  bool held = false;
  std::int64_t waited_since = 0;
  {
    const LockGuard guard(lock_);
    held = writer_ == me();
    if (held) {
      writer_ = 0;
      waited_since = grant(chain);
    }
  }
  if (!held) {
    report_bug("a shared mutex was unlocked by a fiber that does not hold it");
    return fail(errc::not_owner);
  }
  chain.wake();
  runtime::contention_is_over(runtime::WaitReason::shared_mutex, waited_since);
  return {};
}

Result<void> SharedMutex::unlock_shared() noexcept {
  WakeChain chain;
  bool held = false;
  std::int64_t waited_since = 0;
  {
    const LockGuard guard(lock_);
    held = readers_ != 0;
    if (held && --readers_ == 0) waited_since = grant(chain);
  }
  if (!held) {
    report_bug("a shared mutex without readers was unlocked by a reader");
    return fail(errc::not_owner);
  }
  chain.wake();
  runtime::contention_is_over(runtime::WaitReason::shared_mutex, waited_since);
  return {};
}

}  // namespace fiberd::sync
