#pragma once
// AccessLogs: the access logs of one HTTP listener and its routes: one for each set of settings, however many routes
// share it. A reload keeps a log whose settings are the same, with the lines that wait in it.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "core/base/result.hpp"
#include "core/http/site/site.hpp"
#include "core/metric/registry.hpp"
#include "daemon/access_log.hpp"

namespace fiberd::daemon {

/// A line as `config`, which is not off, says it. Errors: as AccessLine::make.
[[nodiscard]] Result<AccessLine> access_line(const config::AccessLogConfig& config, const std::string& listener);

class AccessLogs {
 public:
  /// The hook of a log with these settings: one that is there, that of `before` (may be null), or a new one, which has
  /// been added to `writers`. An empty hook: it is off. Errors: what opening the output said, and `why`; as
  /// access_line(). Throws as Registry does.
  [[nodiscard]] Result<http::AccessLogHook> make(const config::AccessLogConfig& config, const std::string& listener,
                                                 metric::Registry& registry, AccessLogWriters& writers,
                                                 const AccessLogs* before, std::string& why);
  /// What the hooks point to.
  [[nodiscard]] std::vector<std::shared_ptr<AccessLog>> all() const;

 private:
  [[nodiscard]] std::shared_ptr<AccessLog> find(const config::AccessLogConfig& config) const;
  std::vector<std::pair<config::AccessLogConfig, std::shared_ptr<AccessLog>>> logs_;
};

}  // namespace fiberd::daemon
