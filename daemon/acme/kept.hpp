#pragma once
// What a store has for a set of names, judged as whoever shows it to clients judges it (CertificateLoader): one whose
// chain is out of order, or has ended, or whose key is another's, is there and is shown to nobody.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tls/certificate.hpp"
#include "daemon/acme/store.hpp"

namespace fiberd::daemon::acme {

struct Kept {
  std::int64_t not_before = 0;  ///< of the certificate
  std::int64_t not_after = 0;   ///< of it or of the first of its chain that ends; 0: there is none
  std::string serial{};
  std::string issuer{};
  std::string ari_id{};
  std::string flaw{};                                     ///< why nobody is shown what is there; empty: he is
  std::shared_ptr<const tls::Certificate> certificate{};  ///< null: none, or one with a flaw, or one that has ended
};

/// Blocks the thread. `now`: seconds of the epoch. Throws std::bad_alloc.
[[nodiscard]] Kept look_at_kept(const Store& store, const std::vector<std::string>& names, std::int64_t now);

}  // namespace fiberd::daemon::acme
