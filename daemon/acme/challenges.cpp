#include "daemon/acme/challenges.hpp"

#include <algorithm>
#include <ctime>
#include <new>

#include "core/base/log.hpp"
#include "core/http/exchange.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"
#include "daemon/acme/hook_program.hpp"

namespace fiberd::daemon::acme {

bool Challenges::put_http(const std::string& token, const std::string& key_authorization) {
  const LockGuard guard(lock_);
  if (http_.size() >= kMost) return false;
  http_.insert_or_assign(token, key_authorization);
  http_count_.store(http_.size(), std::memory_order_relaxed);
  return true;
}

void Challenges::take_http(const std::string& token) noexcept {
  const LockGuard guard(lock_);
  http_.erase(token);
  http_count_.store(http_.size(), std::memory_order_relaxed);
}

std::optional<std::string> Challenges::http(std::string_view token) const {
  const LockGuard guard(lock_);
  const auto found = http_.find(token);
  return found == http_.end() ? std::nullopt : std::optional<std::string>(found->second);
}

bool Challenges::put_tls(const std::string& name, Pair pair) {
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto certificate = loader.parse({name, name}, pair.certificate, pair.key, {}, std::time(nullptr), why);
  if (!certificate) return false;
  const LockGuard guard(lock_);
  if (tls_.size() >= kMost) return false;
  tls_.insert_or_assign(name, Shown{std::move(pair), std::move(*certificate)});
  return true;
}

std::shared_ptr<const tls::Certificate> Challenges::challenge(std::string_view name) const noexcept {
  const LockGuard guard(lock_);
  // OpenSSL hands over the name as the client wrote it; authorities write it in lower case (RFC 8737 section 3).
  const auto found = tls_.find(name);
  return found == tls_.end() ? nullptr : found->second.certificate;
}

void Challenges::take_tls(const std::string& name) noexcept {
  const LockGuard guard(lock_);
  tls_.erase(name);
}

std::optional<Challenges::Pair> Challenges::tls(std::string_view name) const {
  const LockGuard guard(lock_);
  const auto found = tls_.find(name);
  return found == tls_.end() ? std::nullopt : std::optional<Pair>(found->second.pair);
}

Outcome<Challenges::Pair> make_tls_alpn_pair(const std::string& name, const std::string& key_authorization) {
  static constexpr std::int64_t kHour = 3600;
  const Result<tls::PrivateKey> key = tls::PrivateKey::make();
  const Result<std::string> digest = tls::sha256(key_authorization);
  if (!key || !digest) return give_up(Reason::storage, "no key can be made");
  const std::int64_t now = std::time(nullptr);
  const Result<std::string> pem = tls::make_self_signed(*key, {{&name, 1}, now - kHour, now + 24 * kHour, *digest});
  const Result<std::string> text = key->to_pem();
  if (!pem || !text) return give_up(Reason::storage, "no certificate can be made for " + name);
  return Challenges::Pair{*pem, *text};
}

Result<void> HttpChallengeFilter::serve(http::Exchange& exchange, http::Next next) {
  static constexpr http::Field kNotKept{"Cache-Control", "no-store"};
  if (!challenges_->any_http() || !exchange.path().starts_with(kWellKnown)) return next(exchange);
  const std::optional<std::string> answer = challenges_->http(exchange.path().substr(kWellKnown.size()));
  if (!answer) return next(exchange);
  return exchange.respond(200, "application/octet-stream", *answer, {&kNotKept, 1});
}

std::string OwnProver::choose(const Authorization& of) const {
  const auto offers = [&](std::string_view type) {
    return std::any_of(of.challenges.begin(), of.challenges.end(),
                       [&](const Challenge& one) { return one.type == type; });
  };
  if (ways_.tls_alpn && offers("tls-alpn-01")) return "tls-alpn-01";
  if (ways_.http && offers("http-01")) return "http-01";
  if (!ways_.dns_program.empty() && offers("dns-01")) return "dns-01";
  return {};
}

/// The name and the value of the record (RFC 8555 section 8.4).
static Outcome<void> run_dns(const context::Context& ctx, const std::string& program, const std::string& what,
                             const std::string& name, const std::string& key_authorization) {
  const Result<std::string> digest = tls::sha256(key_authorization);
  if (!digest) return give_up(Reason::storage, "no memory");
  return run_hook(ctx, {program, what, "_acme-challenge." + name, tls::to_base64url(*digest)});
}

Outcome<void> OwnProver::present(const context::Context& ctx, const std::string& type, const std::string& name,
                                 const std::string& token, const std::string& key_authorization) {
  static constexpr std::string_view kTooMany = "too many orders are under way at once";
  if (type == "dns-01") return run_dns(ctx, ways_.dns_program, "present", name, key_authorization);
  if (type == "http-01") {
    if (!challenges_.put_http(token, key_authorization)) return give_up(Reason::storage, std::string(kTooMany));
    return {};
  }
  Outcome<Challenges::Pair> pair = make_tls_alpn_pair(name, key_authorization);
  if (!pair) return give_up(pair.error());
  if (!challenges_.put_tls(name, std::move(*pair))) return give_up(Reason::storage, std::string(kTooMany));
  return {};
}

void OwnProver::retract(const std::string& type, const std::string& name, const std::string& token,
                        const std::string& key_authorization) noexcept {
  if (type == "http-01") return challenges_.take_http(token);
  if (type == "tls-alpn-01") return challenges_.take_tls(name);
  try {
    // The order may be over since its context is: the record is to go all the same.
    const context::Cancelable limit = context::with_timeout(context::background(), std::chrono::seconds(10));
    const Outcome<void> gone = run_dns(limit.context, ways_.dns_program, "cleanup", name, key_authorization);
    limit.cancel();
    if (!gone) log(LogLevel::warning, "acme: " + gone.error().what);
  } catch (const std::bad_alloc&) {
    log(LogLevel::warning, "acme: no memory: a record of dns-01 stays");
  }
}

}  // namespace fiberd::daemon::acme
