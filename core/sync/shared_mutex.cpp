#include "core/sync/shared_mutex.hpp"

#include "core/base/bug.hpp"

namespace fiberd::sync {

bool SharedMutex::try_lock() noexcept {
  const LockGuard guard(lock_);
  if (writer_ != 0 || readers_ != 0) return false;
  writer_ = thread_locals()->fiber;
  return true;
}

bool SharedMutex::try_lock_shared() noexcept {
  const LockGuard guard(lock_);
  if (writer_ != 0 || !queue_.empty()) return false;
  ++readers_;
  return true;
}

std::error_code SharedMutex::acquire(bool writer, const context::Context* ctx) noexcept {
  if (const std::error_code error = error_of(ctx)) return error;
  Entry entry;
  {
    const LockGuard guard(lock_);
    if (writer_ == 0 && queue_.empty() && (!writer || readers_ == 0)) {
      if (writer) {
        writer_ = thread_locals()->fiber;
      } else {
        ++readers_;
      }
      return {};
    }
    entry.writer = writer;
    queue_.add(entry, runtime::WaitReason::mutex);
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

void SharedMutex::grant(WakeChain& chain) noexcept {
  while (Entry* const first = queue_.front()) {
    if (writer_ != 0 || (first->writer && readers_ != 0)) return;
    queue_.pop();
    if (first->writer) {
      writer_ = first->ticket.fiber_index();
    } else {
      ++readers_;
    }
    chain.add(*first);
  }
}

std::error_code SharedMutex::unlock() noexcept {
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    if (writer_ == 0 || writer_ != thread_locals()->fiber) {
      report_bug("a shared mutex was unlocked by a fiber that does not hold it");
      return errc::not_owner;
    }
    writer_ = 0;
    grant(chain);
  }
  chain.wake();
  return {};
}

std::error_code SharedMutex::unlock_shared() noexcept {
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    if (readers_ == 0) {
      report_bug("a shared mutex without readers was unlocked by a reader");
      return errc::not_owner;
    }
    if (--readers_ == 0) grant(chain);
  }
  chain.wake();
  return {};
}

}  // namespace fiberd::sync
