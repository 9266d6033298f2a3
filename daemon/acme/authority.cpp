#include "daemon/acme/authority.hpp"

#include <ctime>
#include <utility>

#include "core/base/defer.hpp"
#include "core/base/json_writer.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/http/client/errc.hpp"
#include "core/tls/jose.hpp"
#include "daemon/tracing/exporter.hpp"

namespace fiberd::daemon::acme {

namespace {

constexpr std::chrono::seconds kPatience{60};  // with one exchange

std::string without_query(const std::string& url) { return printable(url.substr(0, url.find('?')), 256); }

Trouble trouble_of(const std::string& url, const std::error_code& error) {
  Reason reason = Reason::unreachable;
  if (error == context::errc::canceled) {
    reason = Reason::canceled;
  } else if (http::is_malformed(error) || error == std::errc::message_size) {
    reason = Reason::nonsense;
  }
  return {reason, without_query(url) + ": " + error.message()};
}

Reason reason_of(unsigned status, const Problem& problem) noexcept {
  if (status == 429 || problem.type == "rateLimited") return Reason::rate_limited;
  if (status >= 500) return Reason::busy;
  if (problem.type == "accountDoesNotExist" || problem.type == "unauthorized" ||
      problem.type == "externalAccountRequired" || problem.type == "invalidContact" ||
      problem.type == "unsupportedContact" || problem.type == "userActionRequired")
    return Reason::account;
  return problem.type.empty() ? Reason::nonsense : Reason::refused;
}

Trouble refusal_of(const std::string& url, const Authority::Answer& answer) {
  const Problem problem = read_problem(answer.body);
  std::string what = without_query(url) + ": answered " + std::to_string(answer.status);
  if (!problem.type.empty()) what += ", " + problem.type;
  if (!problem.detail.empty()) what += ": " + problem.detail;
  if (answer.status >= 300 && answer.status < 400) what += ": redirects are not followed; write the URL itself";
  return {reason_of(answer.status, problem), std::move(what), problem.type, answer.retry_after};
}

}  // namespace

Authority::Authority(http::Client& http, std::string directory_url, tls::PrivateKey account_key,
                     metric::Counter* bad_nonces)
    : http_(http),
      directory_url_(std::move(directory_url)),
      scheme_(directory_url_.substr(0, directory_url_.find("://") + 3)),
      key_(std::move(account_key)),
      bad_nonces_(bad_nonces) {}

/// Whatever it answers, bounded; its nonce is kept.
Outcome<Authority::Answer> Authority::send(const context::Context& ctx, const http::ClientRequest& request) {
  const std::string url(request.url);
  const context::Cancelable limit = context::with_timeout(ctx, kPatience);
  const defer over([&limit] { limit.cancel(); });
  Result<http::ClientResponse> response = http_.send(limit.context, request);
  if (!response) return give_up(trouble_of(url, ctx.done() ? ctx.err() : response.error()));
  Answer answer;
  answer.status = response->status();
  answer.location = response->headers().find("location");
  answer.retry_after = parse_retry_after(response->headers().find("retry-after"), std::time(nullptr));
  if (const std::string_view nonce = response->headers().find("replay-nonce"); is_base64url(nonce)) nonce_ = nonce;
  Result<std::string> body = response->read_all(limit.context, kMostDocument);
  if (!body) return give_up(trouble_of(url, ctx.done() ? ctx.err() : body.error()));
  answer.body = std::move(*body);
  return answer;
}

Outcome<Authority::Answer> Authority::get(const context::Context& ctx, const std::string& url) {
  Outcome<Answer> answer = send(ctx, {.url = url});
  if (!answer || (answer->status >= 200 && answer->status < 300)) return answer;
  return give_up(refusal_of(url, *answer));
}

Outcome<const Directory*> Authority::directory(const context::Context& ctx) {
  if (directory_) return &*directory_;
  const Outcome<Answer> answer = get(ctx, directory_url_);
  if (!answer) return give_up(answer.error());
  directory_ = read_directory(answer->body, scheme_);
  if (!directory_)
    return give_up(Reason::nonsense, without_query(directory_url_) +
                                         ": is no ACME directory: newNonce, newAccount and newOrder, each a URL of " +
                                         scheme_ + ", are missing");
  return &*directory_;
}

Outcome<void> Authority::fetch_nonce(const context::Context& ctx) {
  const Outcome<const Directory*> all = directory(ctx);
  if (!all) return give_up(all.error());
  nonce_.clear();
  const std::string& url = (*all)->new_nonce;
  const Outcome<Answer> answer = send(ctx, {.method = http::Method::head, .url = url});
  if (!answer) return give_up(answer.error());
  if (answer->status < 200 || answer->status >= 300) return give_up(refusal_of(url, *answer));
  if (nonce_.empty()) return give_up(Reason::nonsense, without_query(url) + ": gave no nonce");
  return {};
}

Outcome<Authority::Answer> Authority::post_as(const context::Context& ctx, const std::string& url,
                                              std::string_view payload, Signer signer) {
  for (unsigned tries = 1;; ++tries) {
    if (nonce_.empty())
      if (const Outcome<void> fresh = fetch_nonce(ctx); !fresh) return give_up(fresh.error());
    std::string header = R"({"alg":"ES256",)";
    if (signer == Signer::key) {
      const Result<std::string> key = tls::jwk(key_);
      if (!key) return give_up(Reason::storage, "the account's key cannot be used: " + key.error().message());
      header += "\"jwk\":" + *key;
    } else {
      header += "\"kid\":";
      append_json_string(header, account_);
    }
    header += R"(,"nonce":")" + std::exchange(nonce_, {}) + R"(","url":)";
    append_json_string(header, url);
    header += '}';
    const Result<std::string> body = tls::sign_jws(key_, header, payload);
    if (!body) return give_up(Reason::storage, "the account's key cannot sign: " + body.error().message());
    const http::Field type{"Content-Type", "application/jose+json"};
    Outcome<Answer> answer = send(ctx, {.method = http::Method::post, .url = url, .fields = {&type, 1}, .body = *body});
    if (!answer || (answer->status >= 200 && answer->status < 300)) return answer;
    Trouble refusal = refusal_of(url, *answer);
    if (refusal.problem != "badNonce" || tries == kTries) return give_up(std::move(refusal));
    metric::count(bad_nonces_);
  }
}

Outcome<Authority::Answer> Authority::post(const context::Context& ctx, const std::string& url,
                                           std::string_view payload) {
  return post_as(ctx, url, payload, Signer::account);
}

/// The account's key, signed by the secret that both sides have.
Outcome<std::string> Authority::binding(const ExternalAccount& external) const {
  std::string header = R"({"alg":"HS256","kid":)";
  append_json_string(header, external.key_id);
  header += ",\"url\":";
  append_json_string(header, directory_->new_account);
  header += '}';
  const Result<std::string> key = tls::jwk(key_);
  const Result<std::string> bound = key ? tls::mac_jws(external.secret, header, *key) : fail(key.error());
  if (!bound) return give_up(Reason::storage, "the account's key cannot be used: " + bound.error().message());
  return *bound;
}

Outcome<std::string> Authority::enter(const context::Context& ctx, const AccountWish& wish, const std::string& known) {
  if (!known.empty() && is_url(known, scheme_)) {
    account_ = known;
    return account_;
  }
  const Outcome<const Directory*> all = directory(ctx);
  if (!all) return give_up(all.error());
  if ((*all)->external_account_required && wish.external.key_id.empty())
    return give_up(Reason::account, without_query(directory_url_) +
                                        ": wants accounts that are bound to an external one: set acme.eab to the key "
                                        "id and the key that it has given you");
  std::string payload = R"({"termsOfServiceAgreed":true)";
  if (!wish.email.empty()) {
    payload += ",\"contact\":[";
    append_json_string(payload, "mailto:" + wish.email);
    payload += ']';
  }
  if (!wish.external.key_id.empty()) {
    const Outcome<std::string> bound = binding(wish.external);
    if (!bound) return give_up(bound.error());
    payload += ",\"externalAccountBinding\":" + *bound;
  }
  payload += '}';
  const std::string& url = (*all)->new_account;
  const Outcome<Answer> answer = post_as(ctx, url, payload, Signer::key);
  if (!answer) return give_up(answer.error());
  if (!is_url(answer->location, scheme_))
    return give_up(Reason::nonsense, without_query(url) + ": did not say where the account is");
  account_ = answer->location;
  return account_;
}

}  // namespace fiberd::daemon::acme
