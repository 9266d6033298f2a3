#include "daemon/tls_parts.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <unordered_map>
#include <utility>

#include "core/base/clock.hpp"
#include "core/tls/kernel_tls.hpp"
#include "core/tls/made_certificate.hpp"
#include "daemon/acme/sites.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon {

namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;
/// More than the heads of some requests: what is more has to wait for the handshake's end.
constexpr std::uint32_t kEarlyData = 16 * 1024;

std::int64_t wall_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(wall_now().time_since_epoch()).count();
}

FileStamp stamp_of(const std::string& path) {
  struct stat status {};
  if (path.empty() || ::stat(path.c_str(), &status) != 0) return {};
  const auto ns = [](const timespec& t) { return static_cast<std::int64_t>(t.tv_sec) * kNanoseconds + t.tv_nsec; };
  return {status.st_dev, status.st_ino, status.st_size, ns(status.st_mtim), ns(status.st_ctim)};
}

/// One reading.
class Reading {
 public:
  Reading(const config::TlsConfig& config, const std::vector<std::string>& alpn, const TlsParts* before,
          tls::CertificateLoader& loader, std::vector<Flaw>& flaws)
      : config_(config), alpn_(alpn), before_(before), loader_(loader), flaws_(flaws), now_(wall_seconds()) {}

  TlsParts run() {
    const std::size_t known = flaws_.size();
    if (before_ != nullptr)
      for (const TlsPart& pair : before_->pairs) old_.emplace(key_of(pair.files), &pair);
    parts_.pairs.reserve(config_.certificates.size());
    for (const config::TlsCertificateConfig& pair : config_.certificates) read_pair(pair);
    if (config_.acme) read_acme(*config_.acme);
    read_client_auth();
    read_tickets();
    if (flaws_.size() == known) make_context();
    return std::move(parts_);
  }

 private:
  static std::string key_of(const tls::CertificateFiles& files) {
    return files.certificate + '\0' + files.key + '\0' + files.ocsp;
  }
  void add(const config::Place& at, std::string message, std::error_code error) {
    flaws_.push_back({config::diagnostic_at(at, std::move(message)), error});
  }

  void read_pair(const config::TlsCertificateConfig& config) {
    TlsPart pair{{config.certificate, config.key, config.ocsp}};
    const auto found = old_.find(key_of(pair.files));
    const TlsPart* const old = found != old_.end() ? found->second : nullptr;
    pair.stamps = {stamp_of(config.certificate), stamp_of(config.key), stamp_of(config.ocsp)};
    pair.settled = std::all_of(pair.stamps.begin(), pair.stamps.end(), [this](const FileStamp& stamp) {
      return std::max(stamp.modified, stamp.changed) < (now_ - 1) * kNanoseconds;
    });
    if (old != nullptr && old->settled && old->stamps == pair.stamps) {
      parts_.pairs.push_back(*old);
      return;
    }
    tls::CertificateFlaw why;
    auto loaded = loader_.load(pair.files, now_, why, old != nullptr ? old->certificate : nullptr);
    if (!loaded) {
      const config::Place& at = why.part == tls::CertificatePart::key    ? config.key_at
                                : why.part == tls::CertificatePart::ocsp ? config.ocsp_at
                                                                         : config.certificate_at;
      add(at, std::move(why.text), loaded.error());
      return;
    }
    if (old == nullptr || *loaded != old->certificate) ++parts_.read;
    pair.certificate = std::move(*loaded);
    parts_.pairs.push_back(std::move(pair));
  }

  /// One that comes by itself. Until it is there, and while it is none, a self-signed one stands in for it: whoever
  /// asks for it looks at the file, too.
  void read_acme(const config::AcmeConfig& config) {
    const std::string file = acme::file_of(config);
    acme::board()->share(config.storage);
    TlsPart pair{{file, file, {}}};
    const auto found = old_.find(key_of(pair.files));
    const TlsPart* const old = found != old_.end() ? found->second : nullptr;
    const FileStamp stamp = stamp_of(file);
    pair.stamps = {stamp, stamp, {}};
    pair.settled = std::max(stamp.modified, stamp.changed) < (now_ - 1) * kNanoseconds;
    if (old != nullptr && old->settled && old->stamps == pair.stamps) {
      parts_.pairs.push_back(*old);
      return;
    }
    tls::CertificateFlaw why;
    auto loaded = stamp.inode != 0 ? loader_.load(pair.files, now_, why, old != nullptr ? old->certificate : nullptr)
                                   : fail(std::errc::no_such_file_or_directory);
    if (!loaded && old != nullptr) {
      loaded = old->certificate;
    } else if (!loaded) {
      static constexpr std::int64_t kYears = 10LL * 365 * 86'400;
      const Result<tls::PrivateKey> key = tls::PrivateKey::make();
      const Result<std::string> pem = key ? key->to_pem() : fail(key.error());
      const Result<std::string> own =
          pem ? tls::make_self_signed(*key, {config.domains, now_ - 3600, now_ + kYears, {}}) : fail(pem.error());
      if (!own) return add(config.at, "no self-signed certificate can be made: " + own.error().message(), own.error());
      loaded = loader_.parse(pair.files, *own, *pem, {}, now_, why);
      if (!loaded) return add(config.at, std::move(why.text), loaded.error());
    }
    if (old == nullptr || *loaded != old->certificate) ++parts_.read;
    pair.certificate = std::move(*loaded);
    parts_.pairs.push_back(std::move(pair));
  }

  void read_client_auth() {
    if (!config_.client_auth) return;
    std::string why;
    bool of_crl = false;
    auto loaded = tls::ClientAuth::load({config_.client_auth->ca, config_.client_auth->crl},
                                        config_.client_auth->mode == config::TlsClientAuthMode::require
                                            ? tls::ClientAuthMode::require
                                            : tls::ClientAuthMode::request,
                                        why, of_crl);
    if (!loaded) return add(of_crl ? config_.client_auth->crl_at : config_.client_auth->ca_at, why, loaded.error());
    const bool same =
        before_ != nullptr && before_->client_auth != nullptr && before_->client_auth->digest() == (*loaded)->digest();
    parts_.client_auth = same ? before_->client_auth : *loaded;
  }

  void read_tickets() {
    if (!config_.tickets) return;
    tls::TicketKeys* const old = before_ != nullptr ? before_->tickets.get() : nullptr;
    std::string why;
    auto keys =
        config_.ticket_keys.empty() ? tls::TicketKeys::random() : tls::TicketKeys::read(config_.ticket_keys, why);
    if (!keys) return add(config_.ticket_keys_at, why.empty() ? keys.error().message() : why, keys.error());
    // Random ones go on; of files, those of the ring before would be the same, or are to be forgotten.
    parts_.tickets =
        old != nullptr && (!(*keys)->shared() ? !old->shared() : old->same(**keys)) ? before_->tickets : *keys;
  }

  /// Of listeners whose certificate comes by itself, unless it may be proved otherwise alone.
  [[nodiscard]] std::shared_ptr<const tls::ChallengeSource> challenges_of_listener() const {
    using config::AcmeChallenge;
    const bool shown = config_.acme && (config_.acme->challenge == AcmeChallenge::any ||
                                        config_.acme->challenge == AcmeChallenge::tls_alpn_01);
    return shown ? acme::board() : nullptr;
  }

  [[nodiscard]] std::shared_ptr<tls::NameSource> names_of_listener() const {
    return config_.acme && !config_.acme->on_demand.ask.empty() ? acme::names_on_demand(*config_.acme) : nullptr;
  }

  void make_context() {
    const tls::ServerContext* const old = before_ != nullptr ? before_->context.get() : nullptr;
    const tls::Profile profile =
        config_.profile == config::TlsProfile::modern ? tls::Profile::modern : tls::Profile::intermediate;
    tls::CertificateTable::List list;
    list.reserve(parts_.pairs.size());
    for (const TlsPart& pair : parts_.pairs) list.push_back(pair.certificate);
    if (old != nullptr && old->options().certificates == list && old->options().client_auth == parts_.client_auth &&
        old->options().tickets == parts_.tickets && old->options().profile == profile && old->options().alpn == alpn_ &&
        old->options().challenges == challenges_of_listener() && old->options().names == names_of_listener() &&
        old->options().strict_sni == config_.strict_sni && (old->options().early_data != 0) == config_.early_data &&
        old->options().kernel == (config_.ktls == config::TlsKernel::automatic)) {
      parts_.context = before_->context;
      parts_.changed = false;
      return;
    }
    std::string why;
    std::shared_ptr<const tls::ChallengeSource> challenges = challenges_of_listener();
    auto made = tls::ServerContext::make({.profile = profile,
                                          .certificates = std::move(list),
                                          .alpn = alpn_,
                                          .strict_sni = config_.strict_sni,
                                          .client_auth = parts_.client_auth,
                                          .tickets = parts_.tickets,
                                          .early_data = config_.early_data ? kEarlyData : 0,
                                          .kernel = config_.ktls == config::TlsKernel::automatic,
                                          .challenges = std::move(challenges),
                                          .names = names_of_listener()},
                                         why);
    if (!made) return add(config_.at, why.empty() ? made.error().message() : why, made.error());
    parts_.context = std::move(*made);
  }

  const config::TlsConfig& config_;
  const std::vector<std::string>& alpn_;
  const TlsParts* const before_;
  tls::CertificateLoader& loader_;
  std::vector<Flaw>& flaws_;
  const std::int64_t now_;
  std::unordered_map<std::string, const TlsPart*> old_;
  TlsParts parts_;
};

}  // namespace

TlsParts read_tls_parts(const config::TlsConfig& config, const std::vector<std::string>& alpn, const TlsParts* before,
                        tls::CertificateLoader& loader, std::vector<Flaw>& flaws) {
  return Reading(config, alpn, before, loader, flaws).run();
}

std::vector<std::string> alpn_of(const config::ListenerConfig& listener) {
  if (!std::holds_alternative<config::HttpConfig>(listener.service)) return {};
  return {"h2", "http/1.1", "http/1.0"};
}

std::vector<std::string> warn_of_tls(const config::TlsConfig& config, const TlsParts& parts) {
  static constexpr std::size_t kMost = 10;
  const std::int64_t now = wall_seconds();
  std::vector<std::string> all;
  for (const TlsPart& pair : parts.pairs)
    for (std::string& one : tls::warn_of(*pair.certificate, pair.files, now)) all.push_back(std::move(one));
  for (const std::string& file : config.ticket_keys)
    if (std::string open = tls::warn_of_key_file(file, "the ticket key"); !open.empty()) all.push_back(std::move(open));
  if (config.acme) {
    std::string open = tls::warn_of_key_file(config.acme->key_file, "the key of acme.eab");
    if (!open.empty()) all.push_back(std::move(open));
    open = tls::warn_of_key_file(config.acme->tls.key);
    if (!open.empty()) all.push_back(std::move(open));
  }
  if (config.ktls == config::TlsKernel::automatic && !tls::kernel_has_tls())
    all.push_back("tls.ktls: auto: " + std::string(tls::why_no_kernel_tls()) + ": records are made by the process");
  if (parts.client_auth != nullptr && parts.client_auth->crl_until() < now)
    all.push_back(config.client_auth->crl + ": a list of revoked certificates is over since " +
                  tls::describe_time(parts.client_auth->crl_until()) +
                  ", and clients of its issuer are refused: fetch a new one");
  // Two pairs may share a key.
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  if (all.size() <= kMost) return all;
  const std::size_t more = all.size() - kMost;
  all.resize(kMost);
  all.push_back("and " + std::to_string(more) + " more of the same kind");
  return all;
}

}  // namespace fiberd::daemon
