#include "daemon/acme/sites.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>
#include <variant>

#include "core/base/lock.hpp"
#include "core/base/log.hpp"
#include "core/base/read_file.hpp"
#include "core/observe/catalogue.hpp"
#include "daemon/client_tls.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon::acme {

const std::shared_ptr<Challenges>& board() {
  static const auto one = std::make_shared<Challenges>();
  return one;
}

static bool is_plain_http(const config::ListenerConfig& listener) {
  return !listener.tls && std::holds_alternative<config::HttpConfig>(listener.service);
}

OwnProver::Ways ways_of(const config::AcmeConfig& acme, const config::Config& config) {
  using config::AcmeChallenge;
  const bool any = acme.challenge == AcmeChallenge::any;
  const bool plain = std::any_of(config.listeners.begin(), config.listeners.end(), is_plain_http);
  return {.http = plain && (any || acme.challenge == AcmeChallenge::http_01),
          .tls_alpn = any || acme.challenge == AcmeChallenge::tls_alpn_01,
          .dns_program = acme.challenge == AcmeChallenge::dns_01 ? acme.dns_program : std::string()};
}

bool wants_http(const config::Config& config) {
  return std::any_of(config.listeners.begin(), config.listeners.end(), [&](const config::ListenerConfig& listener) {
    return listener.tls && listener.tls->acme && ways_of(*listener.tls->acme, config).http;
  });
}

std::string file_of(const config::AcmeConfig& acme) {
  return Store(acme.storage, acme.directory).path_of(acme.domains);
}

static Site make_site(const config::ListenerConfig& listener, const config::AcmeConfig& acme,
                      const config::Config& config, std::shared_ptr<const tls::ClientContext> tls) {
  return {.listener = listener.name,
          .names = acme.domains,
          .directory = acme.directory,
          .storage = acme.storage,
          .email = acme.email,
          .key_id = acme.key_id,
          .key_file = acme.key_file,
          .profile = acme.profile,
          .ways = ways_of(acme, config),
          .tls = std::move(tls)};
}

std::vector<Site> sites_of(const config::Config& config) {
  std::vector<Site> sites;
  for (const config::ListenerConfig& listener : config.listeners) {
    if (!listener.tls || !listener.tls->acme) continue;
    const config::AcmeConfig& acme = *listener.tls->acme;
    std::string why;
    config::Place at;
    auto tls = make_client_tls(acme.tls, why, at);
    if (!tls) {
      log(LogLevel::error, "acme: listener " + listener.name + ": " + at.key + ": " + why +
                               "; its certificate is not renewed until the next reload");
      continue;
    }
    // Of two listeners with the same names one certificate is for both.
    const std::string file = file_of(acme);
    if (std::any_of(sites.begin(), sites.end(), [&](const Site& one) { return file_of(one) == file; })) continue;
    sites.push_back(make_site(listener, acme, config, std::move(*tls)));
  }
  return sites;
}

std::vector<OnDemandSite> on_demand_sites_of(const config::Config& config) {
  std::vector<OnDemandSite> sites;
  for (const config::ListenerConfig& listener : config.listeners) {
    if (!listener.tls || !listener.tls->acme || listener.tls->acme->on_demand.ask.empty()) continue;
    const config::AcmeConfig& acme = *listener.tls->acme;
    std::string why;
    config::Place at;
    auto tls = make_client_tls(acme.tls, why, at);
    if (!tls) continue;
    OnDemandSite site{make_site(listener, acme, config, std::move(*tls)), acme.on_demand.ask, acme.on_demand.orders,
                      acme.on_demand.names, names_on_demand(acme)};
    site.site.names.clear();
    sites.push_back(std::move(site));
  }
  return sites;
}

const OnDemandNames::Wake& on_demand_wake() {
  static const auto one = std::make_shared<sync::Channel<char>>(1);
  return one;
}

std::shared_ptr<OnDemandNames> names_on_demand(const config::AcmeConfig& acme) {
  static Lock lock;
  static std::map<std::string, std::weak_ptr<OnDemandNames>> known;
  const std::string key = acme.storage + '\0' + acme.directory + '\0' + acme.on_demand.ask;
  auto fresh = std::make_shared<OnDemandNames>(on_demand_wake());
  const LockGuard guard(lock);
  std::erase_if(known, [](const auto& one) { return one.second.expired(); });
  std::weak_ptr<OnDemandNames>& one = known[key];
  if (auto there = one.lock()) return there;
  one = fresh;
  return fresh;
}

void look_for_flaws(const config::AcmeConfig& acme, std::vector<Flaw>& flaws) {
  const auto add = [&](const config::Place& at, std::string message, std::error_code error) {
    flaws.push_back({config::diagnostic_at(at, std::move(message)), error});
  };
  std::string why;
  config::Place at;
  if (const auto tls = make_client_tls(acme.tls, why, at); !tls) add(at, why, tls.error());
  if (!acme.key_file.empty())
    if (const Result<std::string> key = read_file(acme.key_file, 4096); !key)
      add(acme.key_file_at, acme.key_file + ": " + why_unreadable(key.error()), key.error());
  if (!acme.dns_program.empty() && ::access(acme.dns_program.c_str(), X_OK) != 0) {
    const std::error_code error(errno, std::system_category());
    add(acme.dns_program_at, acme.dns_program + ": cannot be run: " + error.message(), error);
  }
}

OnDemandMetrics make_on_demand_metrics(metric::Registry& registry) {
  OnDemandMetrics m;
  metric::Family& names = observe::register_metric(registry, "fiberd_acme_on_demand_names_total");
  for (std::size_t i = 0; i < m.names.size(); ++i)
    m.names[i] = &registry.counter(names, {std::string(token_of(static_cast<OnDemandEnd>(i)))});
  return m;
}

ManagerMetrics make_manager_metrics(metric::Registry& registry) {
  using observe::register_metric;
  ManagerMetrics m;
  m.issued = &registry.counter(register_metric(registry, "fiberd_acme_certificates_total"), {});
  m.bad_nonces = &registry.counter(register_metric(registry, "fiberd_acme_bad_nonces_total"), {});
  m.failing = &registry.gauge(register_metric(registry, "fiberd_acme_failing"), {});
  metric::Family& failures = register_metric(registry, "fiberd_acme_failures_total");
  for (std::size_t i = 0; i < m.failures.size(); ++i) {
    const auto reason = static_cast<Reason>(i);
    // A stop is no failure.
    if (reason != Reason::canceled) m.failures[i] = &registry.counter(failures, {std::string(token_of(reason))});
  }
  return m;
}

}  // namespace fiberd::daemon::acme
