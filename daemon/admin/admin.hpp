#pragma once
// The admin listener: /metrics, /healthz, /readyz, /debug/contexts and what services add, served by our own HTTP
// server.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/http/server.hpp"
#include "core/observe/exporter.hpp"
#include "core/observe/leak_report.hpp"
#include "daemon/log_levels.hpp"

namespace fiberd::daemon {

class StatusSource;
namespace upgrade {
struct Answer;
struct Request;
}  // namespace upgrade

/// What a reload came to, for people.
struct ReloadAnswer {
  enum class Verdict : std::uint8_t { done, refused, stopping } verdict = Verdict::done;
  std::string text{};  ///< lines
};

/// What the admin routes look at. Must outlive the server.
struct AdminState {
  const observe::Exporter* exporter = nullptr;
  observe::LeakWatch* leaks = nullptr;  ///< nullptr: no pages about leaks
  StatusSource* status = nullptr;       ///< of /debug/status; nullptr: 501
  std::atomic<bool> ready{false};       ///< /readyz: 200 while true, else 503
  /// Reloads the configuration and waits under `ctx` for what comes of it. On a fiber. Empty: POST /reload is answered
  /// 501.
  std::function<Result<ReloadAnswer>(const context::Context& ctx)> reload{};
  /// Has this process be followed by another and waits under `ctx` for what comes of it. On a fiber. Empty: 501.
  std::function<Result<daemon::upgrade::Answer>(const context::Context& ctx, daemon::upgrade::Request request)>
      upgrade{};
  /// Asks for all automatic certificates now; how many there are. Empty: POST /acme/renew is answered 501.
  std::function<std::size_t()> renew{};
  /// Writes the scheduler's state to the log again and again (runtime::Runtime::set_sched_trace). Empty: 501.
  std::function<Result<void>(std::chrono::milliseconds period, bool detail)> sched_trace{};
  /// Gives back memory and says what came of it, in lines. On a thread that may wait. Error device_or_resource_busy:
  /// somebody else is about it. Empty: 501.
  std::function<Result<std::string>()> trim{};
  /// Has all fibers written to the log (LogDump::request). Empty: 501.
  std::function<Result<void>()> dump{};
  std::shared_ptr<LogLevels> log_levels{};  ///< null: 501
  std::int64_t began = monotonic_now();     ///< from which the scheduler's milliseconds count
  std::string config_file{};                ///< what it loads, by its absolute path; empty: no file that could be named
  std::string config_name{};                ///< the same, for people
};

/// The routes of the admin server: /metrics, /healthz (200 when a fiber ran on every Processor within a second),
/// /readyz, /debug/contexts (who holds contexts, who forgets to cancel them), those about fibers (fiber_pages.hpp),
/// profiles (profile_pages.hpp), leaks (leak_pages.hpp) and traces (trace_pages.hpp), /debug/status (all of it as
/// JSON), those that change something (control_pages.hpp); POST /reload (200: the new configuration serves; 422: it was
/// refused, with all that is wrong with it; 503: the daemon stops). A body names the file that is meant: 409 if this
/// daemon runs with another one. POST /upgrade (upgrade/page.hpp).
[[nodiscard]] std::vector<http::Route> admin_routes(AdminState& state);
/// Of these /metrics, /healthz and /readyz.
[[nodiscard]] std::vector<http::Route> scrape_routes(AdminState& state);

/// The pages need no password on loopback, where every page of the web that the machine's users look at reaches them:
/// it cannot read another origin's answers, but its owner may turn its own name to 127.0.0.1. Then the Host is that
/// name. So only IP addresses, localhost and `hosts` are answered; 421 for others, which says what to do.
void answer_own_hosts_only(http::SiteOptions& options, const std::vector<std::string>& hosts);

/// The page / : a list of `routes`, those that are no pages with their method.
[[nodiscard]] http::Route admin_index(const std::vector<http::Route>& routes);

}  // namespace fiberd::daemon
