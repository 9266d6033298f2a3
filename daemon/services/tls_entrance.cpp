#include "daemon/services/tls_entrance.hpp"

#include <list>

#include "core/base/clock.hpp"
#include "core/metric/late_counter.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

using observe::register_metric;

/// Longer than round trips and a busy machine make it.
static constexpr std::int64_t kLongHandshake = 1'000'000'000;

static tls::HandshakeMetrics make_handshake_metrics(const std::string& listener, metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  tls::HandshakeMetrics m;
  metric::Family& completed = register_metric(registry, "fiberd_tls_handshakes_total");
  for (std::size_t version = 0; version < 2; ++version)
    for (std::size_t resumed = 0; resumed < 2; ++resumed)
      m.completed[version][resumed] =
          &leases.counter(completed, {listener, version == 0 ? "1.2" : "1.3", resumed == 0 ? "no" : "yes"});
  metric::Family& failed = register_metric(registry, "fiberd_tls_handshake_failures_total");
  const auto late = std::make_shared<std::list<metric::LateCounter>>();
  for (std::size_t i = 1; i < m.failed.size(); ++i)
    m.failed[i] = &late->emplace_back(registry, failed, listener, tls::token_of(static_cast<tls::Unshaken>(i)));
  leases.keep(late);
  m.duration = &leases.histogram(register_metric(registry, "fiberd_tls_handshake_duration_seconds"), {listener});
  metric::Family& early = register_metric(registry, "fiberd_tls_early_data_total");
  m.early_data[static_cast<std::size_t>(tls::EarlyData::accepted)] = &leases.counter(early, {listener, "accepted"});
  m.early_data[static_cast<std::size_t>(tls::EarlyData::refused)] = &leases.counter(early, {listener, "refused"});
  m.early_data[static_cast<std::size_t>(tls::EarlyData::replayed)] = &leases.counter(early, {listener, "replayed"});
  m.kernel = &leases.counter(register_metric(registry, "fiberd_tls_kernel_connections_total"), {listener});
  m.pending = &leases.gauge(register_metric(registry, "fiberd_tls_handshakes_pending"), {listener});
  return m;
}

/// To a client that speaks HTTP without TLS.
static const std::string& plain_answer() {
  static const std::string answer = [] {
    const std::string text = "This address is served by HTTPS: ask for it with https:// instead of http://.\n";
    return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
           std::to_string(text.size()) + "\r\nConnection: close\r\n\r\n" + text;
  }();
  return answer;
}

TlsEntrance::TlsEntrance(const std::string& listener, metric::Registry& registry)
    : leases_(registry), metrics_(make_handshake_metrics(listener, leases_)) {}

void TlsEntrance::use(const Encryption& encryption, tls::OnSecured on_secured, void* argument) {
  acceptor_.use({.contexts = encryption.contexts,
                 .patience = encryption.handshake,
                 .drain = encryption.drain,
                 .handshakes = encryption.handshakes,
                 .plain_answer = plain_answer(),
                 .on_secured = on_secured,
                 .argument = argument,
                 .metrics = &metrics_});
}

std::size_t TlsEntrance::reclaim(std::size_t most) noexcept {
  return acceptor_.reclaim(most, monotonic_now() - kLongHandshake);
}

}  // namespace fiberd::daemon
