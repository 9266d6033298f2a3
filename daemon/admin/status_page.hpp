#pragma once
// GET /debug/status: the state of the process as JSON (observe::StatusReader), for `fiberd top`, the console, scripts.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/context/context.hpp"
#include "core/http/server.hpp"
#include "core/observe/status_document.hpp"
#include "core/sync/mutex.hpp"

namespace fiberd::daemon {

/// The document for all who ask: one at a time has it made, off the Processors, and what is younger than a tenth of a
/// second is given again. On fibers, any number at a time.
class StatusSource {
 public:
  /// As StatusReader's.
  StatusSource(const observe::Exporter& exporter, std::function<runtime::MemStats(bool)> mem_stats, std::string version,
               std::function<void(JsonWriter&)> more = {})
      : reader_(exporter, std::move(mem_stats), std::move(version), std::move(more)) {}

  /// Errors: those of `ctx`, which ends the wait for one's turn.
  [[nodiscard]] Result<std::shared_ptr<const std::string>> document(const context::Context& ctx);

 private:
  sync::Mutex turn_;  // the rest is its holder's
  observe::StatusReader reader_;
  std::shared_ptr<const std::string> last_;
  std::int64_t made_at_ = 0;
};

/// `source` must outlive the routes; nullptr: 501.
[[nodiscard]] http::Route status_page(StatusSource* source);

}  // namespace fiberd::daemon
