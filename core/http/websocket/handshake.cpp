#include "core/http/websocket/handshake.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/http/characters.hpp"

namespace fiberd::http {

static constexpr std::size_t kMostAsked = 64;  // subprotocols: each is compared with those before it

Result<WebSocketRules> WebSocketRules::make(std::vector<std::string> origins, std::vector<std::string> subprotocols,
                                            std::string* why) {
  const auto wrong = [why](std::string what) {
    if (why != nullptr) *why = std::move(what);
    return fail(std::errc::invalid_argument);
  };
  WebSocketRules rules;
  for (std::size_t i = 0; i < subprotocols.size(); ++i) {
    const std::string& name = subprotocols[i];
    if (!is_token(name)) return wrong("subprotocol \"" + name + "\" is no token");
    if (std::find(subprotocols.begin(), subprotocols.begin() + static_cast<std::ptrdiff_t>(i), name) !=
        subprotocols.begin() + static_cast<std::ptrdiff_t>(i))
      return wrong("subprotocol \"" + name + "\" stands there twice");
  }
  rules.subprotocols_ = std::move(subprotocols);
  if (origins.empty()) return rules;
  rules.any_ = false;
  const auto same = std::remove(origins.begin(), origins.end(), "same");
  rules.same_ = same != origins.end();
  origins.erase(same, origins.end());
  if (origins.empty()) return rules;
  Result<CorsPolicy> policy = CorsPolicy::make({.origins = std::move(origins)}, why);
  if (!policy) return fail(policy.error());
  rules.origins_.push_back(std::move(*policy));
  return rules;
}

/// Of "https://host:port" what a Host field would say: a port that is the scheme's own is left out by browsers in both.
static std::string_view authority_of(std::string_view origin) noexcept {
  const std::size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string_view() : origin.substr(scheme + 3);
}

bool WebSocketRules::allows_origin(const Request& request) const noexcept {
  const HeaderView& headers = request.headers;
  const std::size_t at = headers.index_of("origin");
  if (any_ || at == headers.size()) return true;
  if (headers.index_of("origin", at + 1) != headers.size()) return false;
  const std::string_view origin = headers[at].value;
  if (same_ && !request.host.empty() && equals_ignore_case(authority_of(origin), request.host)) return true;
  return !origins_.empty() && origins_.front().allows_origin(origin);
}

/// False: what the client asks for is no list of different tokens (RFC 6455 section 4.1).
bool WebSocketRules::choose(const HeaderView& headers, std::string_view& subprotocol) const noexcept {
  std::array<std::string_view, kMostAsked> asked{};
  std::size_t n = 0;
  for (std::size_t i = headers.index_of("sec-websocket-protocol"); i < headers.size();
       i = headers.index_of("sec-websocket-protocol", i + 1)) {
    TokenList list(headers[i].value);
    std::string_view name;
    while (list.next(name)) {
      if (!is_token(name) || n == asked.size()) return false;
      const auto end = asked.begin() + static_cast<std::ptrdiff_t>(n);
      if (std::find(asked.begin(), end, name) != end) return false;
      asked[n++] = name;
    }
  }
  for (std::size_t i = 0; i < n && subprotocol.empty(); ++i) {
    const auto ours = std::find(subprotocols_.begin(), subprotocols_.end(), asked[i]);
    if (ours != subprotocols_.end()) subprotocol = *ours;
  }
  return true;
}

/// The base64 of 16 bytes.
static bool is_key(std::string_view key) noexcept {
  static constexpr std::size_t kDigits = 22;
  return key.size() == kDigits + 2 && key.ends_with("==") &&
         std::all_of(key.begin(), key.begin() + kDigits,
                     [](char c) { return ascii::is_alnum(c) || c == '+' || c == '/'; });
}

WebSocketRules::Decision WebSocketRules::decide(const Request& request) const noexcept {
  const HeaderView& headers = request.headers;
  Decision d;
  const auto no = [&d](Verdict verdict) {
    d.verdict = verdict;
    return d;
  };
  const bool connect = !request.connect_protocol.empty();
  const bool asked = connect ? equals_ignore_case(request.connect_protocol, "websocket")
                             : headers.has_token("upgrade", "websocket") && headers.has_token("connection", "upgrade");
  if (request.method != Method::get || !asked) return no(Verdict::not_asked);
  if (request.has_body()) return no(Verdict::body);
  const std::size_t version = headers.index_of("sec-websocket-version");
  if (version == headers.size() || headers[version].value != "13" ||
      headers.index_of("sec-websocket-version", version + 1) != headers.size())
    return no(Verdict::version);
  if (!connect) {
    const std::size_t key = headers.index_of("sec-websocket-key");
    if (key == headers.size() || !is_key(headers[key].value) ||
        headers.index_of("sec-websocket-key", key + 1) != headers.size())
      return no(Verdict::key);
    d.key = headers[key].value;
  }
  if (!choose(headers, d.subprotocol)) return no(Verdict::subprotocol);
  if (!allows_origin(request)) return no(Verdict::origin);
  return d;
}

std::string_view token_of(WebSocketRules::Verdict verdict) noexcept {
  using enum WebSocketRules::Verdict;
  switch (verdict) {
    case not_asked: return "not_asked";
    case version: return "version";
    case key: return "key";
    case subprotocol: return "subprotocol";
    case body: return "body";
    case origin: return "origin";
    case accepted:
    case count_: break;
  }
  return "accepted";
}

unsigned status_of(WebSocketRules::Verdict verdict) noexcept {
  using enum WebSocketRules::Verdict;
  switch (verdict) {
    case not_asked:
    case version: return 426;
    case key:
    case subprotocol:
    case body: return 400;
    case origin: return 403;
    case accepted:
    case count_: break;
  }
  return 101;
}

}  // namespace fiberd::http
