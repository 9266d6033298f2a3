#include "daemon/services/access_logs.hpp"

#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

Result<AccessLine> access_line(const config::AccessLogConfig& config, const std::string& listener) {
  switch (config.format) {
    case config::AccessLogFormat::common: return AccessLine::make(AccessFormat::common, listener);
    case config::AccessLogFormat::combined: return AccessLine::make(AccessFormat::combined, listener);
    case config::AccessLogFormat::json: return AccessLine::make(AccessFormat::json, listener);
    case config::AccessLogFormat::written: return AccessLine::make(AccessFormat::written, listener, config.line);
    case config::AccessLogFormat::off: break;
  }
  return fail(std::errc::invalid_argument);
}

std::shared_ptr<AccessLog> AccessLogs::find(const config::AccessLogConfig& config) const {
  for (const auto& [settings, log] : logs_)
    if (settings == config) return log;
  return nullptr;
}

Result<http::AccessLogHook> AccessLogs::make(const config::AccessLogConfig& config, const std::string& listener,
                                             metric::Registry& registry, AccessLogWriters& writers,
                                             const AccessLogs* before, std::string& why) {
  if (config.format == config::AccessLogFormat::off) return http::AccessLogHook();
  if (const auto there = find(config)) return there->hook();
  std::shared_ptr<AccessLog> log = before != nullptr ? before->find(config) : nullptr;
  if (log == nullptr) {
    Result<AccessLine> line = access_line(config, listener);
    if (!line) {
      why = line.error().message();
      return fail(line.error());
    }
    metric::Family& dropped = observe::register_metric(registry, "fiberd_access_log_dropped_total");
    log = std::make_shared<AccessLog>(
        std::move(*line), registry.lease_counter(dropped, {listener}),
        AccessChoice{.sample = config.sample, .only = config.only, .not_paths = config.not_paths});
    if (const Result<void> added = writers.add(config.output, log, why); !added) return fail(added.error());
  }
  logs_.emplace_back(config, log);
  return log->hook();
}

std::vector<std::shared_ptr<AccessLog>> AccessLogs::all() const {
  std::vector<std::shared_ptr<AccessLog>> logs;
  for (const auto& [settings, log] : logs_) logs.push_back(log);
  return logs;
}

}  // namespace fiberd::daemon
