#pragma once
// Access logs: a line per answer, written by one thread. How: access_log.cpp.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/http/server.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::daemon {

enum class AccessFormat : unsigned char { common, json };

/// One output (a file or stdout) with its rings. Thread-safe.
class AccessLog {
 public:
  /// `output`: "stdout", "stderr" or a path. `dropped` counts lines for which there was no room, or that could not be
  /// written; may be null.
  [[nodiscard]] static Result<std::unique_ptr<AccessLog>> open(AccessFormat format, std::string output,
                                                               std::string listener, metric::Counter* dropped);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  [[nodiscard]] http::AccessLogHook hook() noexcept;
  /// Formats and queues a line; never waits. On the fiber that served the request.
  void write(const http::AccessRecord& record) noexcept;
  /// Writes out what is queued; by the writer's thread, and at the end. Returns the number of bytes.
  std::size_t drain() noexcept;
  /// Asks the writer to open the file anew.
  void request_reopen() noexcept { reopen_.store(true, std::memory_order_release); }

 private:
  struct Ring;
  AccessLog(AccessFormat format, std::string output, std::string listener, metric::Counter* dropped, int fd);
  [[nodiscard]] Ring* ring() noexcept;
  void reopen() noexcept;
  void write_out(std::string_view data) noexcept;
  std::size_t format_line(char* out, std::size_t room, const http::AccessRecord& record) noexcept;

  const AccessFormat format_;
  const std::string output_;
  const std::string listener_;
  metric::Counter* const dropped_;
  int fd_;
  bool in_lost_line_ = false;     // what comes next of the ring belongs to a line whose beginning was lost
  bool in_line_ = false;          // the last byte that was written is no line's end
  bool after_half_line_ = false;  // nor will it be continued: a write broke off there
  std::atomic<bool> reopen_{false};
  std::unique_ptr<std::atomic<Ring*>[]> rings_;
  Lock shared_lock_;
};

/// The thread that drains access logs.
class AccessLogWriter {
 public:
  AccessLogWriter() = default;
  ~AccessLogWriter();
  AccessLogWriter(const AccessLogWriter&) = delete;
  AccessLogWriter& operator=(const AccessLogWriter&) = delete;

  /// All logs before start(); they must outlive stop().
  void add(AccessLog& log) { logs_.push_back(&log); }
  void start();
  /// Drains and ends. Idempotent.
  void stop() noexcept;
  void reopen() noexcept;

 private:
  void run() noexcept;
  std::vector<AccessLog*> logs_;
  std::atomic<std::uint32_t> stop_{0};
  std::thread thread_;
};

}  // namespace fiberd::daemon
