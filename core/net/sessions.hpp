#pragma once
// Sessions: the live connections of one server: who they are, and how many.
//
// The list and the number are not the same thing. A session leaves the list while it can still be found by nobody else
// (it is being closed, or is in the hands of somebody who will put it back), and counts as there until the last of it
// is gone: whoever stops the server waits for the number, and lets go of the server, this list with it, when it reads
// 0. So gone() is the last that a session does.
//
// The lock is base's, which blocks the thread: what visits the sessions is short, never parks, and takes as much of
// them at a time as it can afford to hold up accepting connections for.
#include <atomic>
#include <cstddef>
#include <type_traits>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"

namespace fiberd::net {

/// `Session` is a ListHook. Thread-safe.
template <class Session>
class Sessions {
 public:
  Sessions() = default;
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  /// A new one: listed, and counted.
  void add(Session& session) noexcept {
    const LockGuard guard(lock_);
    list_.push_back(session);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  /// It goes on counting.
  void unlist(Session& session) noexcept {
    const LockGuard guard(lock_);
    List<Session>::remove(session);
  }
  /// Back from the list `from` of the caller's, into which each() had put it.
  void relist(Session& session) noexcept {
    const LockGuard guard(lock_);
    List<Session>::remove(session);
    list_.push_back(session);
  }
  /// The last that is done of a session.
  void gone() noexcept { count_.fetch_sub(1, std::memory_order_release); }

  [[nodiscard]] std::size_t size() const noexcept { return count_.load(std::memory_order_relaxed); }
  /// All that sessions did is seen once this is true.
  [[nodiscard]] bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }

  /// visit(session) for each that is listed, under the lock; until it returns false, when it returns something. It may
  /// move the session to a list of its own.
  template <class Visit>
  void each(Visit&& visit) {
    const LockGuard guard(lock_);
    Session* next = list_.front();
    while (Session* const session = next) {
      next = list_.after(*session);
      if constexpr (std::is_same_v<std::invoke_result_t<Visit&, Session&>, bool>) {
        if (!visit(*session)) return;
      } else {
        visit(*session);
      }
    }
  }

 private:
  std::atomic<std::size_t> count_{0};
  Lock lock_;
  List<Session> list_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::net
