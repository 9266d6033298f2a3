#pragma once
// TlsParts: what TLS of a listener is made of, as its files say it at a time. `check`, a start, a reload and a look at
// files that have changed read it by one function.
//
// Of ten thousand pairs one is another: so each has a stamp, what its files were before they were read (inode, size,
// times). A pair whose stamp is the same is not read again, unless the stamp was so young that a later write might
// have left it as it is; then its content decides.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/server_context.hpp"

namespace fiberd::daemon {

struct Flaw;

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  ///< 0: there is no file
  std::int64_t size = 0;
  std::int64_t modified = 0;  ///< ns since 1970
  std::int64_t changed = 0;
  bool operator==(const FileStamp&) const = default;
};

struct TlsPart {
  tls::CertificateFiles files;
  std::vector<FileStamp> stamps{};  ///< of certificate, key, ocsp
  bool settled = false;             ///< none of them was a second old
  std::shared_ptr<const tls::Certificate> certificate{};
};

struct TlsParts {
  std::vector<TlsPart> pairs;
  std::shared_ptr<const tls::ClientAuth> client_auth{};  ///< null: none is asked for
  std::shared_ptr<tls::TicketKeys> tickets{};            ///< null: none are given
  std::shared_ptr<const tls::ServerContext> context{};   ///< null: flaws say why
  std::size_t read = 0;                                  ///< pairs that were not as they are in the parts before
  bool changed = true;                                   ///< something is not as in the parts before
};

/// Of listeners by their names.
using TlsPartsByName = std::map<std::string, std::shared_ptr<const TlsParts>, std::less<>>;

/// Reads all of it. What is in `before` (may be null) and has not changed is kept, a whole context if nothing has. What
/// is wrong is added to `flaws`. `alpn`: what the listener serves. Blocks the thread. Throws std::bad_alloc.
[[nodiscard]] TlsParts read_tls_parts(const config::TlsConfig& config, const std::vector<std::string>& alpn,
                                      const TlsParts* before, tls::CertificateLoader& loader, std::vector<Flaw>& flaws);
/// The protocols that a listener serves, the best first.
[[nodiscard]] std::vector<std::string> alpn_of(const config::ListenerConfig& listener);
/// What is to be said of parts that are good: what ends soon, or is open to others. At most ten, and how many more.
/// Blocks the thread.
[[nodiscard]] std::vector<std::string> warn_of_tls(const config::TlsConfig& config, const TlsParts& parts);

}  // namespace fiberd::daemon
