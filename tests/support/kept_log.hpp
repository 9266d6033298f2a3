#pragma once
// The log, for tests that look at it and for those whose noise nobody wants to read. One at a time: the process has one
// sink. Whoever still logs must have ended before it does, so it stands in front of the server or the runtime.
#include <mutex>
#include <string>
#include <string_view>

#include "core/base/log.hpp"

namespace fiberd::test {

/// What is logged while it lives, of every level, a line each.
class KeptLog {
 public:
  KeptLog() {
    {
      const std::lock_guard guard(mutex_);
      text_.clear();
    }
    set_log_sink([](LogLevel /*level*/, std::string_view line) noexcept {
      const std::lock_guard guard(mutex_);
      text_.append(line).push_back('\n');
    });
  }
  ~KeptLog() { set_log_sink(nullptr); }
  KeptLog(const KeptLog&) = delete;
  KeptLog& operator=(const KeptLog&) = delete;
  [[nodiscard]] static std::string text() {
    const std::lock_guard guard(mutex_);
    return text_;
  }
  [[nodiscard]] static bool holds(std::string_view what) { return text().find(what) != std::string::npos; }

 private:
  // A sink is a plain function and has no object.
  static inline std::mutex mutex_;
  static inline std::string text_;
};

/// Nothing is logged while it lives.
class SilentLog {
 public:
  SilentLog() {
    set_log_sink([](LogLevel /*level*/, std::string_view /*line*/) noexcept {});
  }
  ~SilentLog() { set_log_sink(nullptr); }
  SilentLog(const SilentLog&) = delete;
  SilentLog& operator=(const SilentLog&) = delete;
};

}  // namespace fiberd::test
