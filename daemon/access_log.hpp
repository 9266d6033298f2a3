#pragma once
// Access logs: a line per answer, written by a thread for each output. How: access_log.cpp, line_writer.cpp.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/http/server.hpp"
#include "core/metric/metrics.hpp"
#include "daemon/line_writer.hpp"

namespace fiberd::daemon {

class LineRing;

enum class AccessFormat : unsigned char { common, json };

/// The lines of one listener, in rings. Thread-safe.
class AccessLog final : public LineSource {
 public:
  /// `dropped` counts lines for which there was no room, or that could not be written; may be null.
  AccessLog(AccessFormat format, std::string listener, metric::Counter* dropped);
  ~AccessLog() override;

  [[nodiscard]] http::AccessLogHook hook() noexcept;
  /// Formats and queues a line; never waits. On the fiber that served the request.
  void write(const http::AccessRecord& record) noexcept;

  std::size_t take(char* out, std::size_t room) noexcept override;
  [[nodiscard]] bool empty() const noexcept override;
  [[nodiscard]] std::uint64_t lines() const noexcept override;
  void lost(std::uint64_t lines) noexcept override;
  /// The counter goes before this does.
  void forget_metrics() noexcept { dropped_.store(nullptr, std::memory_order_release); }

 private:
  [[nodiscard]] LineRing* ring() noexcept;
  std::size_t format_line(char* out, std::size_t room, const http::AccessRecord& record) noexcept;

  const AccessFormat format_;
  const std::string listener_;
  std::atomic<metric::Counter*> dropped_;
  std::unique_ptr<std::atomic<LineRing*>[]> rings_;
  std::size_t next_ = 0;  // the writer's
  Lock shared_lock_;
};

/// The writers of all access logs: one an output, however many listeners share it.
class AccessLogWriters {
 public:
  AccessLogWriters() = default;
  /// stop() with no patience, if nobody did.
  ~AccessLogWriters();
  AccessLogWriters(const AccessLogWriters&) = delete;
  AccessLogWriters& operator=(const AccessLogWriters&) = delete;

  /// All before start(). Opens the output, without waiting for anybody; what is wrong with it is in `why`.
  [[nodiscard]] Result<void> add(const std::string& output, std::shared_ptr<AccessLog> log, std::string& why);
  [[nodiscard]] std::error_code start();
  /// See LineWriter::stop; what was lost is counted and logged. Nobody may log any more. Idempotent.
  void stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept;
  void reopen() noexcept;

 private:
  std::vector<std::unique_ptr<LineWriter>> writers_;
  std::vector<std::shared_ptr<AccessLog>> logs_;
};

}  // namespace fiberd::daemon
