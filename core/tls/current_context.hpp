#pragma once
// CurrentContext: the context that a listener's connections begin with at present; who swaps certificates puts another
// one there. Connections that have begun keep theirs.
#include <memory>
#include <utility>

#include "core/base/lock.hpp"
#include "core/tls/server_context.hpp"

namespace fiberd::tls {

/// Thread-safe; never parks.
class CurrentContext {
 public:
  explicit CurrentContext(std::shared_ptr<const ServerContext> context) noexcept : context_(std::move(context)) {}
  /// Never null.
  [[nodiscard]] std::shared_ptr<const ServerContext> get() const noexcept {
    const LockGuard guard(lock_);
    return context_;
  }
  void set(std::shared_ptr<const ServerContext> context) noexcept {
    const LockGuard guard(lock_);
    context_.swap(context);  // what was there ends behind the lock
  }

 private:
  mutable Lock lock_;
  std::shared_ptr<const ServerContext> context_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::tls
