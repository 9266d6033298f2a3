#include "daemon/acme/challenges.hpp"

#include <algorithm>
#include <ctime>
#include <new>

#include "core/base/log.hpp"
#include "core/http/exchange.hpp"
#include "core/runtime/blocking.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"
#include "daemon/acme/hook_program.hpp"
#include "daemon/acme/shared_challenges.hpp"

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
  {
    const LockGuard guard(lock_);
    // OpenSSL hands over the name as the client wrote it; authorities write it in lower case (RFC 8737 section 3).
    const auto found = tls_.find(name);
    if (found != tls_.end()) return found->second.certificate;
  }
  if (!is_shared() || name.empty() || !looks_.try_take()) return nullptr;
  try {
    return shared_challenge(name);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Challenges::share(const std::string& storage) {
  const LockGuard guard(lock_);
  if (shared_.size() >= kMostShared || std::find(shared_.begin(), shared_.end(), storage) != shared_.end()) return;
  shared_.push_back(storage);
  shared_count_.store(shared_.size(), std::memory_order_relaxed);
}

std::vector<std::string> Challenges::shared() const {
  const LockGuard guard(lock_);
  return shared_;
}

std::optional<std::string> Challenges::shared_http(std::string_view token) const {
  if (!is_base64url(token)) return std::nullopt;
  for (const std::string& storage : shared())
    if (auto found = SharedChallenges(storage).find(SharedChallenges::kHttp, token)) return found;
  return std::nullopt;
}

std::shared_ptr<const tls::Certificate> Challenges::shared_challenge(std::string_view name) const {
  for (const std::string& storage : shared()) {
    const auto text = SharedChallenges(storage).find(SharedChallenges::kTls, name);
    if (!text) continue;
    tls::CertificateLoader loader;
    tls::CertificateFlaw why;
    const std::string whose(name);
    if (auto certificate = loader.parse({whose, whose}, *text, *text, {}, std::time(nullptr), why)) return *certificate;
  }
  return nullptr;
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
  if (!exchange.path().starts_with(kWellKnown)) return next(exchange);
  const std::string_view token = exchange.path().substr(kWellKnown.size());
  std::optional<std::string> answer = challenges_->any_http() ? challenges_->http(token) : std::nullopt;
  if (!answer && challenges_->is_shared() && is_base64url(token))
    answer = runtime::blocking([&] { return challenges_->shared_http(token); });
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
    tell_others(SharedChallenges::kHttp, token, key_authorization);
    return {};
  }
  Outcome<Challenges::Pair> pair = make_tls_alpn_pair(name, key_authorization);
  if (!pair) return give_up(pair.error());
  tell_others(SharedChallenges::kTls, name, pair->certificate + pair->key);
  if (!challenges_.put_tls(name, std::move(*pair))) return give_up(Reason::storage, std::string(kTooMany));
  return {};
}

/// It may be this process all the same whom the authority asks: no reason to give an order up.
void OwnProver::tell_others(std::string_view kind, const std::string& of, const std::string& text) const {
  if (storage_.empty()) return;
  const Outcome<void> told = runtime::blocking([&] { return SharedChallenges(storage_).put(kind, of, text); });
  if (!told) log(LogLevel::warning, "acme: other processes cannot answer for this one: " + told.error().what);
}

void OwnProver::take_from_others(std::string_view kind, const std::string& of) const noexcept {
  if (storage_.empty()) return;
  try {
    runtime::blocking([&] { SharedChallenges(storage_).take(kind, of); });
  } catch (const std::bad_alloc&) {  // whoever has the lock next takes it away
  }
}

void OwnProver::retract(const std::string& type, const std::string& name, const std::string& token,
                        const std::string& key_authorization) noexcept {
  if (type == "http-01") {
    challenges_.take_http(token);
    return take_from_others(SharedChallenges::kHttp, token);
  }
  if (type == "tls-alpn-01") {
    challenges_.take_tls(name);
    return take_from_others(SharedChallenges::kTls, name);
  }
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
