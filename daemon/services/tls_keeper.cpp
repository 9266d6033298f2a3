#include "daemon/services/tls_keeper.hpp"

#include <algorithm>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"
#include "daemon/acme/sites.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon {

using observe::register_metric;

/// Series of one listener.
static constexpr std::size_t kMostEnds = 100;

TlsKeeper::TlsKeeper(const config::ListenerConfig& listener, std::shared_ptr<const TlsParts> parts,
                     metric::Registry& registry)
    : listener_(listener.name),
      config_(listener.tls.value()),
      alpn_(alpn_of(listener)),
      current_(std::make_shared<tls::CurrentContext>(parts->context)),
      parts_(std::move(parts)),
      registry_(registry),
      swapped_(registry.counter(register_metric(registry, "fiberd_tls_certificate_reloads_total"), {"success"})),
      refused_(registry.counter(register_metric(registry, "fiberd_tls_certificate_reloads_total"), {"failure"})) {
  note_ends();
}

std::vector<std::string> TlsKeeper::files() const {
  std::vector<std::string> all;
  const auto add = [&](const std::string& file) {
    if (!file.empty()) all.push_back(file);
  };
  for (const config::TlsCertificateConfig& pair : config_.certificates) {
    add(pair.certificate);
    add(pair.key);
    add(pair.ocsp);
  }
  if (config_.acme) add(acme::file_of(*config_.acme));
  if (config_.client_auth) {
    add(config_.client_auth->ca);
    add(config_.client_auth->crl);
  }
  for (const std::string& file : config_.ticket_keys) add(file);
  return all;
}

std::vector<TlsKeeper::Shown> TlsKeeper::shown(std::size_t most) const {
  const std::shared_ptr<const TlsParts> now = parts();
  std::vector<const TlsPart*> order;
  order.reserve(now->pairs.size());
  for (const TlsPart& pair : now->pairs) order.push_back(&pair);
  const auto sooner = [](const TlsPart* a, const TlsPart* b) {
    return a->certificate->not_after() < b->certificate->not_after();
  };
  most = std::min(most, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(), sooner);
  std::vector<Shown> all;
  for (std::size_t i = 0; i < most; ++i) {
    static constexpr std::size_t kNames = 3;
    const std::vector<std::string>& names = order[i]->certificate->names();
    Shown one{order[i]->files.certificate, {}, order[i]->certificate->not_after()};
    for (std::size_t n = 0; n < std::min(names.size(), kNames); ++n) one.names += (n == 0 ? "" : ", ") + names[n];
    if (names.size() > kNames) one.names += " and " + std::to_string(names.size() - kNames) + " more";
    all.push_back(std::move(one));
  }
  return all;
}

void TlsKeeper::note_ends() {
  auto fresh = std::make_unique<metric::Leases>(registry_);
  metric::Family& family = register_metric(registry_, "fiberd_tls_certificate_not_after_seconds");
  for (const Shown& one : shown(kMostEnds)) fresh->gauge(family, {listener_, one.file}).set(one.not_after);
  ends_ = std::move(fresh);
}

bool TlsKeeper::look() {
  tls::CertificateLoader loader;
  std::vector<Flaw> flaws;
  const std::int64_t began = monotonic_now();
  const auto next = std::make_shared<const TlsParts>(read_tls_parts(config_, alpn_, parts().get(), loader, flaws));
  if (!flaws.empty()) {
    std::string wrong;
    for (const Flaw& flaw : flaws) wrong += (wrong.empty() ? "" : "; ") + flaw.diagnostic.to_string();
    if (wrong == said_) return false;
    said_ = wrong;
    refused_.add();
    log(LogLevel::error, "listener " + listener_ + ": tls: " + wrong + "; what was there before goes on");
    return false;
  }
  const bool mended = !said_.empty();
  said_.clear();
  {
    std::shared_ptr<const TlsParts> before = next;  // ends behind the lock
    const LockGuard guard(lock_);
    parts_.swap(before);
  }
  if (!next->changed) {
    if (mended) log(LogLevel::info, "listener " + listener_ + ": tls: its files are right again, and as before");
    return true;
  }
  current_->set(next->context);
  note_ends();
  swapped_.add();
  log(LogLevel::info,
      "listener " + listener_ + ": tls: " +
          (next->read != 0 ? std::to_string(next->read) + (next->read == 1 ? " certificate is" : " certificates are")
                           : std::string("its client authorities or ticket keys are")) +
          " others from now on (" + std::to_string((monotonic_now() - began) / 1'000'000) + " ms)");
  for (const std::string& warning : warn_of_tls(config_, *next)) log(LogLevel::warning, warning);
  return true;
}

}  // namespace fiberd::daemon
