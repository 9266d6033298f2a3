#include "daemon/acme/order.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/base/defer.hpp"
#include "core/base/json_writer.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/tls/certificate_facts.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"

namespace fiberd::daemon::acme {

using std::chrono::nanoseconds;

namespace {

constexpr std::int64_t kClocksApart = 3600;  // seconds: authorities date certificates back by an hour, some by none

std::string words(const Problem& problem) {
  if (problem == Problem{}) return "it did not say why";
  return problem.type.empty() ? problem.detail : problem.type + ": " + problem.detail;
}

Reason reason_of_failed_proof(const Problem& problem) noexcept {
  return problem.type == "rateLimited" ? Reason::rate_limited : Reason::challenge;
}

/// One order, from here to its end.
class Ordering {
 public:
  Ordering(const context::Context& ctx, Authority& authority, Prover& prover, nanoseconds pace)
      : ctx_(ctx), authority_(authority), prover_(prover), pace_(pace) {}

  Outcome<Issued> run(const OrderWish& wish) {
    Outcome<Order> order = place(wish);
    if (!order) return give_up(order.error());
    if (order->status == Status::pending) {
      for (const std::string& url : order->authorizations)
        if (const Outcome<void> proved = authorize(url, wish.names); !proved) return give_up(proved.error());
      order = await(Status::pending);
      if (!order) return give_up(order.error());
    }
    Outcome<tls::PrivateKey> key = finalize(*order, wish.names);
    if (!key) return give_up(key.error());
    order = await(Status::processing);
    if (!order) return give_up(order.error());
    if (order->status != Status::valid || order->certificate.empty())
      return give_up(Reason::nonsense, "the order is done, and there is no certificate");
    return download(order->certificate, *key, wish.names);
  }

 private:
  /// An authority that does not want the one before to be replaced (it is already: what came of that never reached the
  /// disk; or it is another account's) would say so each time, until that one ends: then it is an order like any other.
  Outcome<Order> place(const OrderWish& wish) {
    Outcome<Order> order = place_as(wish);
    if (order || wish.replaces.empty()) return order;
    const Reason why = order.error().reason;
    if (why != Reason::refused && why != Reason::account && why != Reason::nonsense) return order;
    OrderWish plain = wish;
    plain.replaces.clear();
    return place_as(plain);
  }

  Outcome<Order> place_as(const OrderWish& wish) {
    const Outcome<const Directory*> all = authority_.directory(ctx_);
    if (!all) return give_up(all.error());
    JsonWriter payload;
    payload.begin_object().key("identifiers").begin_array();
    for (const std::string& name : wish.names)
      payload.begin_object().field("type", "dns").field("value", std::string_view(name)).end_object();
    payload.end_array();
    if (!wish.profile.empty()) {
      const auto& known = (*all)->profiles;
      if (std::find(known.begin(), known.end(), wish.profile) == known.end()) {
        std::string offered;
        for (const std::string& one : known) offered += (offered.empty() ? "" : ", ") + one;
        return give_up(Reason::refused, "has no profile " + quoted(wish.profile, 64) + "; acme.profile may be " +
                                            (offered.empty() ? "nothing: it has none" : offered));
      }
      payload.field("profile", std::string_view(wish.profile));
    }
    if (!wish.replaces.empty() && !(*all)->renewal_info.empty())
      payload.field("replaces", std::string_view(wish.replaces));
    const std::string text = payload.end_object().take();
    const Outcome<Authority::Answer> answer = authority_.post(ctx_, (*all)->new_order, text);
    if (!answer) return give_up(answer.error());
    if (!is_url(answer->location, authority_.scheme())) return give_up(Reason::nonsense, "a new order has no URL");
    url_ = answer->location;
    return parse(*answer);
  }

  Outcome<Order> parse(const Authority::Answer& answer) {
    std::optional<Order> order = read_order(answer.body, authority_.scheme());
    if (!order || order->status == Status::other) return give_up(Reason::nonsense, "an order that is none");
    if (order->status == Status::invalid) {
      return give_up(reason_of_failed_proof(order->error), "the order failed: " + words(order->error));
    }
    return std::move(*order);
  }

  /// Between two looks: as long as it says, at least; else a little longer each time.
  Outcome<void> wait(const Authority::Answer& last) {
    const nanoseconds time = pace_.next(last.retry_after.value_or(std::chrono::seconds(0)));
    if (const Result<void> slept = context::sleep(ctx_, time); !slept)
      return give_up(slept.error() == context::errc::canceled ? Reason::canceled : Reason::unreachable,
                     "the order took longer than " + std::to_string(kOrderPatience.count()) + " minutes");
    return {};
  }

  /// The order, as soon as it is no longer in that state.
  Outcome<Order> await(Status state) {
    pace_.begin();
    for (;;) {
      const Outcome<Authority::Answer> answer = authority_.post(ctx_, url_, {});
      if (!answer) return give_up(answer.error());
      Outcome<Order> order = parse(*answer);
      if (!order || order->status != state) return order;
      if (const Outcome<void> waited = wait(*answer); !waited) return give_up(waited.error());
    }
  }

  Outcome<Authorization> look(const std::string& url, Authority::Answer& answer) {
    Outcome<Authority::Answer> got = authority_.post(ctx_, url, {});
    if (!got) return give_up(got.error());
    answer = std::move(*got);
    std::optional<Authorization> found = read_authorization(answer.body, authority_.scheme());
    if (!found || found->status == Status::other) return give_up(Reason::nonsense, "an authorization that is none");
    return std::move(*found);
  }

  Outcome<void> authorize(const std::string& url, const std::vector<std::string>& names) {
    Authority::Answer answer;
    Outcome<Authorization> found = look(url, answer);
    if (!found) return give_up(found.error());
    // It goes into certificates, and to a program: only what the configuration has.
    if (std::find(names.begin(), names.end(), found->name) == names.end() &&
        std::find(names.begin(), names.end(), "*." + found->name) == names.end())
      return give_up(Reason::nonsense, "wants " + quoted(found->name, 256) + " proved, which was not asked for");
    if (found->status == Status::valid) return {};
    const std::string type = prover_.choose(*found);
    const auto challenge = std::find_if(found->challenges.begin(), found->challenges.end(),
                                        [&](const Challenge& one) { return one.type == type; });
    if (type.empty() || challenge == found->challenges.end()) {
      std::string offered;
      for (const Challenge& one : found->challenges) offered += (offered.empty() ? "" : ", ") + one.type;
      return give_up(Reason::challenge, found->name + ": offers no challenge that acme.challenge allows, only " +
                                            (offered.empty() ? "none" : offered));
    }
    const Result<std::string> thumbprint = tls::jwk_thumbprint(authority_.key());
    if (!thumbprint) return give_up(Reason::storage, "the account's key cannot be used");
    const std::string name = found->name;
    const std::string token = challenge->token;
    const std::string proof = token + "." + *thumbprint;
    const defer over([&] { prover_.retract(type, name, token, proof); });
    if (const Outcome<void> shown = prover_.present(ctx_, type, name, token, proof); !shown)
      return give_up(shown.error());
    if (challenge->status == Status::pending)
      if (const auto told = authority_.post(ctx_, challenge->url, "{}"); !told) return give_up(told.error());
    pace_.begin();
    for (;;) {
      found = look(url, answer);
      if (!found) return give_up(found.error());
      if (found->status == Status::valid) return {};
      if (found->status != Status::pending) {
        const Problem* const said = found->error();
        const Problem why = said != nullptr ? *said : Problem{};
        std::string what = name;
        what.append(": ").append(type).append(" failed: ").append(words(why));
        return give_up(reason_of_failed_proof(why), std::move(what));
      }
      if (const Outcome<void> waited = wait(answer); !waited) return give_up(waited.error());
    }
  }

  Outcome<tls::PrivateKey> finalize(const Order& order, const std::vector<std::string>& names) {
    if (order.status != Status::ready) return give_up(Reason::nonsense, "an order that never gets ready");
    Result<tls::PrivateKey> key = tls::PrivateKey::make();
    if (!key) return give_up(Reason::storage, "no key can be made: " + key.error().message());
    const Result<std::string> request = tls::make_certificate_request(*key, names);
    if (!request) return give_up(Reason::storage, "no request can be made: " + request.error().message());
    const std::string payload = R"({"csr":")" + tls::to_base64url(*request) + R"("})";
    if (const auto told = authority_.post(ctx_, order.finalize, payload); !told) return give_up(told.error());
    return std::move(*key);
  }

  Outcome<Issued> download(const std::string& url, const tls::PrivateKey& key, const std::vector<std::string>& names) {
    Outcome<Authority::Answer> answer = authority_.post(ctx_, url, {});
    if (!answer) return give_up(answer.error());
    if (const std::string wrong = why_not(answer->body, key, names, std::time(nullptr)); !wrong.empty())
      return give_up(Reason::nonsense, "handed out a certificate that is not the one asked for: " + wrong);
    const Result<std::string> text = key.to_pem();
    if (!text) return give_up(Reason::storage, "the key cannot be written: " + text.error().message());
    return Issued{std::move(answer->body), *text};
  }

  const context::Context& ctx_;
  Authority& authority_;
  Prover& prover_;
  Pace pace_;
  std::string url_;
};

}  // namespace

nanoseconds Pace::next(nanoseconds asked) noexcept {
  const nanoseconds longest = std::chrono::minutes(2);
  const nanoseconds time = std::min(std::max(asked, next_), longest);
  next_ = std::min<nanoseconds>(next_ * 2, kLongestLook);
  return time;
}

std::string why_not(const std::string& chain, const tls::PrivateKey& key, const std::vector<std::string>& names,
                    std::int64_t now) {
  const Result<tls::CertificateFacts> facts = tls::read_certificate_facts(chain);
  if (!facts) return "it cannot be read";
  if (!tls::is_certificate_of(chain, key)) return "it is for another key";
  for (const std::string& name : names)
    if (std::find(facts->names.begin(), facts->names.end(), name) == facts->names.end())
      return "it is not for " + printable(name, 256);
  if (facts->not_after <= now) return "it has expired already";
  if (facts->not_before > now + kClocksApart) return "it is not valid yet; is this machine's clock right?";
  // By the one who is to show it: a chain out of order, or with a part that has ended, would be kept and never shown.
  const Result<std::string> pem = key.to_pem();
  tls::CertificateLoader loader;
  tls::CertificateFlaw flaw;
  if (!pem || !loader.parse({"its chain", "its key"}, chain, *pem, {}, now, flaw))
    return "it could not be shown: " + printable(flaw.text, 512);
  return {};
}

Outcome<Issued> obtain(const context::Context& ctx, Authority& authority, const OrderWish& wish, Prover& prover,
                       nanoseconds pace) {
  const context::Cancelable limit = context::with_timeout(ctx, kOrderPatience);
  const defer over([&limit] { limit.cancel(); });
  return Ordering(limit.context, authority, prover, pace).run(wish);
}

}  // namespace fiberd::daemon::acme
