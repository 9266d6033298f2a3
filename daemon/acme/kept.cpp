#include "daemon/acme/kept.hpp"

#include <utility>

#include "core/tls/certificate_facts.hpp"
#include "core/tls/certificate_loader.hpp"

namespace fiberd::daemon::acme {

Kept look_at_kept(const Store& store, const std::vector<std::string>& names, std::int64_t now) {
  Kept kept;
  const std::optional<Issued> there = store.certificate(names);
  if (!there) return kept;
  const std::string file = store.path_of(names);
  const Result<tls::CertificateFacts> facts = tls::read_certificate_facts(there->chain);
  if (facts) {
    kept.not_before = facts->not_before;
    kept.not_after = facts->not_after;
    kept.serial = facts->serial;
    kept.issuer = facts->issuer;
    kept.ari_id = facts->ari_id;
  }
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto loaded = loader.parse({file, file}, there->chain, there->key, {}, now, why);
  if (loaded) {
    kept.not_after = (*loaded)->not_after();
    kept.certificate = std::move(*loaded);
  } else if (!facts || facts->not_after > now) {
    kept.not_after = 0;
    kept.flaw = std::move(why.text);
  }
  return kept;
}

}  // namespace fiberd::daemon::acme
