#pragma once
// Access logs: a line per answer, written by a thread for each output. How: access_log.cpp, line_writer.cpp.
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/http/server.hpp"
#include "core/metric/metrics.hpp"
#include "core/metric/registry.hpp"
#include "daemon/access_line.hpp"
#include "daemon/line_writer.hpp"

namespace fiberd::daemon {

class LineRing;

/// Which answers get a line: all that none of these leaves out.
struct AccessChoice {
  double sample = 1;                                  ///< the share of them, above 0; which ones is chance
  std::vector<std::pair<unsigned, unsigned>> only{};  ///< ranges of statuses, first and last; empty: all
  std::vector<std::string> not_paths{};               ///< "/exact", "/prefix/*"; compared in normal form
};

/// The lines of one listener, or of some of its routes, in rings. Thread-safe.
class AccessLog final : public LineSource {
 public:
  /// `dropped` counts lines for which there was no room, or that could not be written; may be null.
  AccessLog(AccessLine line, metric::Counter* dropped, AccessChoice choice = {});
  AccessLog(AccessLine line, metric::Lease<metric::Counter> dropped, AccessChoice choice = {});
  ~AccessLog() override;

  [[nodiscard]] http::AccessLogHook hook() noexcept;
  /// Whether requests for this path, in normal form, are written.
  [[nodiscard]] bool wants(std::string_view path) const noexcept;
  /// Formats and queues a line, if the answer is to have one; never waits. On the fiber that served the request.
  void write(const http::AccessRecord& record) noexcept;

  std::size_t take(char* out, std::size_t room) noexcept override;
  [[nodiscard]] bool empty() const noexcept override;
  [[nodiscard]] std::uint64_t lines() const noexcept override;
  void lost(std::uint64_t lines) noexcept override;
  /// The counter goes before this does.
  void forget_metrics() noexcept {
    dropped_.store(nullptr, std::memory_order_release);
    lease_.reset();
  }

 private:
  [[nodiscard]] LineRing* ring() noexcept;

  const AccessLine line_;
  const std::vector<std::string> not_paths_;
  std::bitset<600> statuses_;             // that are written
  std::uint64_t sample_ = UINT64_MAX;     // of 2^64
  metric::Lease<metric::Counter> lease_;  // of dropped_
  std::atomic<metric::Counter*> dropped_;
  std::unique_ptr<std::atomic<LineRing*>[]> rings_;
  std::size_t next_ = 0;  // the writer's
  Lock shared_lock_;
};

/// The writers of all access logs: one an output, however many listeners share it, and over all configurations. A
/// log's lines are written as long as somebody has it; a writer none of whose logs is left ends, at the latest with
/// tidy(). Thread-safe but for the destructor.
class AccessLogWriters {
 public:
  AccessLogWriters() = default;
  /// stop() with no patience, if nobody did.
  ~AccessLogWriters();
  AccessLogWriters(const AccessLogWriters&) = delete;
  AccessLogWriters& operator=(const AccessLogWriters&) = delete;

  /// Opens the output if it is not open, without waiting for anybody; what is wrong with it is in `why`. Behind start()
  /// it also starts the writer.
  [[nodiscard]] Result<void> add(const std::string& output, const std::shared_ptr<AccessLog>& log, std::string& why);
  [[nodiscard]] std::error_code start();
  /// Ends writers that have nothing to write any more, and forgets those that have ended by themselves. Blocks the
  /// thread for as long as their threads need.
  void tidy() noexcept;
  /// See LineWriter::stop; what was lost is counted and logged. Nobody may log any more. Idempotent.
  void stop(std::chrono::milliseconds patience,
            std::int64_t deadline) noexcept FIBERD_UNCHECKED_LOCKING;  // nobody else is left
  void reopen() noexcept;

 private:
  struct Log {
    LineWriter* writer;
    std::weak_ptr<AccessLog> log;
  };
  Lock lock_;  // for moments: no file is opened, and no thread waited for, under it
  bool started_ = false;
  std::vector<std::shared_ptr<LineWriter>> writers_ FIBERD_GUARDED_BY(lock_);
  std::vector<Log> logs_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::daemon
