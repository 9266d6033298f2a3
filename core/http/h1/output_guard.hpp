#pragma once
// OutputGuard: a fiber's turn at a connection's output buffer, where another may want it, too.
#include <mutex>

#include "core/sync/mutex.hpp"

namespace fiberd::http {

class [[nodiscard]] OutputGuard {
 public:
  OutputGuard(sync::Mutex& mutex, bool shared) noexcept : mutex_(shared ? &mutex : nullptr) {
    if (mutex_ != nullptr) [[unlikely]]
      mutex_->lock();
  }
  OutputGuard(sync::Mutex& mutex, bool shared, std::try_to_lock_t) noexcept : mutex_(shared ? &mutex : nullptr) {
    if (mutex_ == nullptr || mutex_->try_lock()) return;
    mutex_ = nullptr;
    taken_ = false;
  }
  ~OutputGuard() {
    if (mutex_ != nullptr) [[unlikely]]
      (void)mutex_->unlock();
  }
  OutputGuard(const OutputGuard&) = delete;
  OutputGuard& operator=(const OutputGuard&) = delete;
  /// False: another has it.
  explicit operator bool() const noexcept { return taken_; }

 private:
  sync::Mutex* mutex_;
  bool taken_ = true;
};

}  // namespace fiberd::http
