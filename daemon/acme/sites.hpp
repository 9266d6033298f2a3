#pragma once
// From a configuration to the certificates that are to come by themselves.
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "daemon/acme/manager.hpp"
#include "daemon/acme/on_demand.hpp"

namespace fiberd::daemon {
struct Flaw;
}

namespace fiberd::daemon::acme {

/// What the process shows to authorities that look: one board for all configurations, for an order outlives a reload.
[[nodiscard]] const std::shared_ptr<Challenges>& board();

/// How the names of a listener may be proved. http-01 where some listener has no TLS.
[[nodiscard]] OwnProver::Ways ways_of(const config::AcmeConfig& acme, const config::Config& config);
/// Whether plain listeners answer for http-01.
[[nodiscard]] bool wants_http(const config::Config& config);
/// Where the certificate of these names is, or will be.
[[nodiscard]] std::string file_of(const config::AcmeConfig& acme);

/// Those of all listeners. Reads the files that they name; what is wrong is logged, and that one left out. Blocks the
/// thread. Throws std::bad_alloc.
[[nodiscard]] std::vector<Site> sites_of(const config::Config& config);
/// Those of listeners that have certificates on demand. As sites_of(), which has logged what is wrong.
[[nodiscard]] std::vector<OnDemandSite> on_demand_sites_of(const config::Config& config);
/// What its handshakes look into: one for all configurations that say the same of it. Throws std::bad_alloc.
[[nodiscard]] std::shared_ptr<OnDemandNames> names_on_demand(const config::AcmeConfig& acme);
/// That of all of them.
[[nodiscard]] const OnDemandNames::Wake& on_demand_wake();
/// What this machine lacks for it. Blocks the thread.
void look_for_flaws(const config::AcmeConfig& acme, std::vector<Flaw>& flaws);

/// Throws as Registry does.
[[nodiscard]] ManagerMetrics make_manager_metrics(metric::Registry& registry);
[[nodiscard]] OnDemandMetrics make_on_demand_metrics(metric::Registry& registry);

}  // namespace fiberd::daemon::acme
