#include "core/http/filters/cors_policy.hpp"

#include <algorithm>
#include <array>

#include "core/http/host.hpp"

namespace fiberd::http {
namespace {

/// Empty, or what is wrong with it.
std::string_view wrong_origin(std::string_view origin) {
  const std::size_t colon = origin.find("://");
  if (colon == std::string_view::npos || colon == 0)
    return "an origin is a scheme and a host, such as https://app.example.com";
  const std::string_view scheme = origin.substr(0, colon);
  std::string_view host = origin.substr(colon + 3);
  if (host.find('/') != std::string_view::npos) return "an origin has no path, nor a slash at its end";
  if (std::any_of(origin.begin(), origin.end(), is_upper)) return "browsers send origins in lower case";
  if (host.starts_with("*.")) host.remove_prefix(2);
  if (host.find('*') != std::string_view::npos)
    return "'*' stands alone, or for the labels in front of a name: https://*.example.com";
  if (!is_valid_authority(host) || host.ends_with(':'))
    return "an origin is a scheme and a host, with a port if need be";
  const std::string_view port = host.substr(host_without_port(host).size());
  if ((scheme == "http" && port == ":80") || (scheme == "https" && port == ":443"))
    return "browsers leave out the scheme's own port";
  return {};
}

bool matches(std::string_view pattern, std::string_view origin) noexcept {
  const std::size_t star = pattern.find("://*.");
  if (star == std::string_view::npos) return pattern == origin;
  const std::string_view scheme = pattern.substr(0, star + 3);
  const std::string_view suffix = pattern.substr(star + 4);  // ".example.com"
  if (origin.size() <= scheme.size() + suffix.size() || !origin.starts_with(scheme) || !origin.ends_with(suffix))
    return false;
  // Whole labels of a name: no user, no port, no path can be hidden in them.
  const std::string_view labels = origin.substr(scheme.size(), origin.size() - scheme.size() - suffix.size());
  if (labels.starts_with('.') || labels.ends_with('.')) return false;
  return std::all_of(labels.begin(), labels.end(),
                     [](char c) { return is_lower(c) || is_digit(c) || c == '-' || c == '.' || c == '_'; });
}

bool holds(const std::vector<std::string>& list, std::string_view name) noexcept {
  return std::any_of(list.begin(), list.end(), [&](const std::string& s) { return equals_ignore_case(s, name); });
}

std::string joined(const std::vector<std::string>& list) {
  std::string all;
  for (const std::string& s : list) all += (all.empty() ? "" : ", ") + s;
  return all;
}

}  // namespace

Result<CorsPolicy> CorsPolicy::make(CorsOptions options, std::string* why) {
  const auto refuse = [&](std::string_view what, std::string_view sentence) {
    if (why != nullptr) *why = std::string(what) + ": " + std::string(sentence);
    return fail(std::errc::invalid_argument);
  };
  CorsPolicy made;
  if (options.origins.empty()) return refuse("origins", "nobody is allowed: name one, or leave CORS out");
  for (const std::string& origin : options.origins) {
    if (origin == "*") {
      made.any_origin_ = true;
    } else if (origin == "null") {
      return refuse(origin, "any page can have the origin null: it cannot be allowed");
    } else if (const std::string_view wrong = wrong_origin(origin); !wrong.empty()) {
      return refuse(origin, wrong);
    }
  }
  if (made.any_origin_ && options.origins.size() > 1)
    return refuse("*", "'*' is every origin: others beside it say nothing");
  made.any_method_ = holds(options.methods, "*");
  made.any_header_ = holds(options.headers, "*");
  if (options.credentials) {
    if (made.any_origin_) return refuse("*", "with credentials every site could act as its visitor: name the origins");
    if (made.any_method_) return refuse("methods", "with credentials '*' is no method's wildcard: name the methods");
    if (holds(options.expose, "*")) return refuse("expose", "with credentials '*' is no wildcard: name the fields");
  }
  for (const auto* list : {&options.methods, &options.headers, &options.expose})
    for (const std::string& token : *list)
      if (!is_token(token)) return refuse(token, "a method's or field's name is expected");
  if (options.max_age.count() < 0) return refuse("max_age", "it cannot be negative");
  made.allow_methods_ = joined(options.methods);
  made.expose_ = joined(options.expose);
  if (options.max_age.count() != 0) made.max_age_ = std::to_string(options.max_age.count());
  made.options_ = std::move(options);
  return made;
}

bool CorsPolicy::allows_origin(std::string_view origin) const noexcept {
  if (any_origin_) return true;
  return std::any_of(options_.origins.begin(), options_.origins.end(),
                     [&](const std::string& pattern) { return matches(pattern, origin); });
}

bool CorsPolicy::allows_method(std::string_view method) const noexcept {
  if (method == "GET" || method == "HEAD" || method == "POST") return true;
  if (any_method_) return is_token(method);
  // Methods are compared with their case.
  return std::find(options_.methods.begin(), options_.methods.end(), method) != options_.methods.end();
}

bool CorsPolicy::allows_headers(const HeaderView& headers, std::string& allowed) const {
  constexpr std::string_view kAsked = "access-control-request-headers";
  std::size_t asked = 0;
  for (std::size_t i = headers.index_of(kAsked); i < headers.size(); i = headers.index_of(kAsked, i + 1)) {
    TokenList list(headers[i].value);
    std::string_view name;
    while (list.next(name)) {
      if (++asked > kMaxAsked || !is_token(name)) return false;
      if (!any_header_ && !holds(options_.headers, name)) return false;
      // Named one by one, with '*' too: a list is understood with credentials, and by old browsers.
      if (!allowed.empty()) allowed += ", ";
      allowed += name;
    }
  }
  return true;
}

CorsDecision CorsPolicy::decide(Method method, const HeaderView& headers) const {
  using Kind = CorsDecision::Kind;
  CorsDecision decision;
  decision.vary_origin = !any_origin_;
  const std::size_t at = headers.index_of("origin");
  if (at == headers.size()) return decision;
  const std::string_view origin = headers[at].value;
  const bool preflight = method == Method::options && headers.has("access-control-request-method");
  // Two of them are no origin.
  const bool allowed = headers.index_of("origin", at + 1) == headers.size() && !origin.empty() && allows_origin(origin);
  if (!allowed) {
    decision.kind = preflight ? Kind::no_preflight : Kind::refused;
    decision.reason = "origin";
    return decision;
  }
  decision.allow_origin = any_origin_ ? std::string_view("*") : origin;
  decision.kind = preflight ? Kind::preflight : Kind::allowed;
  if (!preflight) return decision;
  if (!allows_method(headers.find("access-control-request-method"))) {
    decision.reason = "method";
  } else if (!allows_headers(headers, decision.allow_headers)) {
    decision.reason = "headers";
  } else {
    return decision;
  }
  decision.kind = Kind::no_preflight;
  decision.allow_origin = {};
  decision.allow_headers.clear();
  return decision;
}

}  // namespace fiberd::http
