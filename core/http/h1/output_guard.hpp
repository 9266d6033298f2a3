#pragma once
// OutputGuard: a fiber's turn at a connection's output buffer, where another may want it, too.
#include <mutex>

#include "core/sync/mutex.hpp"

namespace fiberd::http {

class [[nodiscard]] OutputGuard {
 public:
  /// nullptr: nobody else can be there.
  explicit OutputGuard(sync::Mutex* mutex) noexcept : mutex_(mutex) {
    if (mutex_ != nullptr) [[unlikely]]
      mutex_->lock();
  }
  OutputGuard(sync::Mutex* mutex, std::try_to_lock_t) noexcept : mutex_(mutex) {
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
