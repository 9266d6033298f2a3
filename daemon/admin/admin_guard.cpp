#include "daemon/admin/admin_guard.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/log_limit.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/http/exchange.hpp"
#include "core/http/host.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

/// What the guard found out, for those behind it.
struct AdminVisitor {
  bool bearer = false;  ///< has sent the token as no browser does by itself
};

/// Browsers send these with every POST, fiberd and curl do not: any page of the web could make one send it.
bool of_a_browser(const http::HeaderView& headers) { return headers.has("origin") || headers.has("sec-fetch-site"); }

class AdminFields final : public http::Filter {
 public:
  Result<void> serve(http::Exchange& exchange, http::Next next) override {
    Hook hook;
    exchange.on_head(hook);
    return next(exchange);
  }

 private:
  class Hook final : public http::HeadHook {
   public:
    void on_head(http::AnswerHead& head) override {
      (void)head.set("Cache-Control", "no-store");
      (void)head.set("X-Content-Type-Options", "nosniff");
      (void)head.set("Cross-Origin-Resource-Policy", "same-origin");
      if (!head.has("content-security-policy"))
        (void)head.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    }
  };
};

class AdminGuard final : public http::Filter {
 public:
  explicit AdminGuard(AdminGuardOptions options) : options_(std::move(options)) {}

  Result<void> serve(http::Exchange& exchange, http::Next next) override {
    if (exchange.path() == "/healthz" || exchange.path() == "/readyz") return next(exchange);
    const http::Request& request = exchange.request();
    const bool own = http::serves_host(options_.hosts, request.host) ||
                     (options_.address_hosts && http::is_address_host(request.host));
    if (!own) return next(exchange);  // to be told so
    const Credentials given = credentials_of(request.headers);
    if (given.kind == Credentials::none) return refuse(exchange, false);
    bool known = options_.token->is(given.token());
    if (!known && options_.token->due(monotonic_now())) {
      (void)context::blocking(exchange.context(),
                              [token = options_.token]() -> Result<void> { return token->look(), Result<void>(); });
      known = options_.token->is(given.token());
    }
    if (!known) return refuse(exchange, true);
    exchange.slot<AdminVisitor>().bearer = given.kind == Credentials::bearer;
    return next(exchange);
  }

 private:
  struct Credentials {
    enum Kind : std::uint8_t { none, bearer, basic } kind = none;
    std::string_view in_head{};
    http::Secret password{};
    [[nodiscard]] std::string_view token() const noexcept { return kind == bearer ? in_head : password.text(); }
  };

  static Credentials credentials_of(const http::HeaderView& headers) {
    static constexpr std::string_view kBearer = "bearer";
    Credentials given;
    const std::size_t at = headers.index_of("authorization");
    if (at == headers.size() || headers.index_of("authorization", at + 1) != headers.size()) return given;
    const std::string_view value = headers[at].value;
    const std::size_t blank = std::min(value.find(' '), value.size());
    if (ascii::equals_lower(value.substr(0, blank), kBearer)) {
      given.kind = Credentials::bearer;
      given.in_head = ascii::trim(value.substr(blank));
    } else if (Result<http::BasicCredentials> basic = http::parse_basic_credentials(value)) {
      given.kind = Credentials::basic;
      given.password = std::move(basic->password);
    }
    return given;
  }

  Result<void> refuse(http::Exchange& exchange, bool wrong) {
    metric::count(wrong ? options_.wrong_token : options_.no_token);
    exchange.set_refusal(wrong ? "wrong_token" : "no_token");
    // Browsers ask first without one: that is no news.
    if (wrong)
      if (const auto left_out = limit_.pass(monotonic_now()))
        log(LogLevel::warning,
            "admin: a wrong token from " + exchange.peer().to_string() +
                (*left_out != 0 ? ", and " + std::to_string(*left_out) + " more since the last line" : std::string()));
    static constexpr std::array<http::Field, 2> kChallenges{
        {{"WWW-Authenticate", "Bearer realm=\"fiberd admin\""},
         {"WWW-Authenticate", "Basic realm=\"fiberd admin\", charset=\"UTF-8\""}}};
    return exchange.respond(
        401, kPlainText,
        "401 Unauthorized\nThe token of admin.token_file is needed: Authorization: Bearer TOKEN, or "
        "Basic with it as the password.\n",
        kChallenges);
  }

  const AdminGuardOptions options_;
  LogLimit limit_;
};

class PostGuard final : public http::Filter {
 public:
  explicit PostGuard(PostGuardOptions options) : options_(std::move(options)) {}

  Result<void> serve(http::Exchange& exchange, http::Next next) override {
    const http::Request& request = exchange.request();
    if (request.method != http::Method::post) return next(exchange);
    const AdminVisitor* const visitor = exchange.find_slot<AdminVisitor>();
    if (of_a_browser(request.headers) && !(visitor != nullptr && visitor->bearer)) {
      metric::count(options_.browser);
      exchange.set_refusal("browser");
      if (const auto left_out = limit_.pass(monotonic_now())) say(exchange, "refused, it comes from a browser");
      return exchange.respond(403, kPlainText, options_.path + ": not for browsers\n");
    }
    metric::count(options_.posts);
    const Result<void> served = next(exchange);
    say(exchange, exchange.status() != 0 ? std::to_string(exchange.status()) : "no answer");
    return served;
  }

 private:
  void say(const http::Exchange& exchange, const std::string& what) const {
    const std::string_view query = exchange.request().query;
    std::string peer = exchange.peer().to_string();
    if (peer.back() == ':') peer.pop_back();  // of a Unix socket a client mostly has no name: "unix"
    log(LogLevel::info, "admin: POST " + options_.path + (query.empty() ? "" : "?" + printable(query, 200)) + " by " +
                            peer + ": " + what);
  }

  const PostGuardOptions options_;
  LogLimit limit_;
};

}  // namespace

std::shared_ptr<http::Filter> make_admin_fields() { return std::make_shared<AdminFields>(); }

std::shared_ptr<http::Filter> make_admin_guard(AdminGuardOptions options) {
  if (options.token == nullptr) return nullptr;
  return std::make_shared<AdminGuard>(std::move(options));
}

std::shared_ptr<http::Filter> make_post_guard(PostGuardOptions options) {
  return std::make_shared<PostGuard>(std::move(options));
}

}  // namespace fiberd::daemon
