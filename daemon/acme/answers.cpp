#include "daemon/acme/answers.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <ctime>
#include <exception>
#include <new>

#include "core/base/characters.hpp"
#include "core/base/printable.hpp"
#include "core/http/client/url.hpp"

namespace fiberd::daemon::acme {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostUrl = 2048;
constexpr std::size_t kMostToken = 256;
constexpr std::size_t kMostNames = 128;  // of authorizations, challenges, profiles
constexpr std::size_t kMostDetail = 512;
constexpr unsigned kMostDepth = 16;
constexpr std::string_view kErrors = "urn:ietf:params:acme:error:";

/// The object that a body is, if it is one.
std::optional<json::object> parse_object(std::string_view body) {
  if (body.size() > kMostDocument) return std::nullopt;
  try {
    json::parse_options options;
    options.max_depth = kMostDepth;
    json::error_code error;
    json::value all = json::parse({body.data(), body.size()}, error, {}, options);
    json::object* const top = error ? nullptr : all.if_object();
    if (top == nullptr) return std::nullopt;
    return std::move(*top);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::string_view text_of(const json::object& from, std::string_view name) noexcept {
  const json::value* const value = from.if_contains({name.data(), name.size()});
  const json::string* const text = value != nullptr ? value->if_string() : nullptr;
  return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

const json::object* object_of(const json::object& from, std::string_view name) noexcept {
  const json::value* const value = from.if_contains({name.data(), name.size()});
  return value != nullptr ? value->if_object() : nullptr;
}

const json::array* array_of(const json::object& from, std::string_view name) noexcept {
  const json::value* const value = from.if_contains({name.data(), name.size()});
  return value != nullptr ? value->if_array() : nullptr;
}

bool flag_of(const json::object& from, std::string_view name) noexcept {
  const json::value* const value = from.if_contains({name.data(), name.size()});
  const bool* const flag = value != nullptr ? value->if_bool() : nullptr;
  return flag != nullptr && *flag;
}

/// False: it is there and no URL, or missing and needed.
bool take_url(const json::object& from, std::string_view name, std::string_view scheme, bool needed, std::string& out) {
  const std::string_view text = text_of(from, name);
  if (text.empty()) return !needed;
  if (!is_url(text, scheme)) return false;
  out = text;
  return true;
}

Status status_of(const json::object& from) noexcept {
  const std::string_view text = text_of(from, "status");
  if (text == "pending") return Status::pending;
  if (text == "ready") return Status::ready;
  if (text == "processing") return Status::processing;
  if (text == "valid") return Status::valid;
  if (text == "invalid") return Status::invalid;
  return Status::other;
}

Problem problem_of(const json::object& from) {
  Problem problem;
  const std::string_view type = text_of(from, "type");
  if (type.starts_with(kErrors)) problem.type = printable(type.substr(kErrors.size()), 64);
  std::string detail(text_of(from, "detail").substr(0, kMostDetail));
  if (const json::array* const parts = array_of(from, "subproblems"))
    for (const json::value& part : *parts) {
      if (detail.size() >= kMostDetail) break;
      const json::object* const one = part.if_object();
      if (one == nullptr) continue;
      const json::object* const about = object_of(*one, "identifier");
      detail.append("; ").append(about != nullptr ? text_of(*about, "value").substr(0, 256) : std::string_view());
      detail.append(": ").append(text_of(*one, "detail").substr(0, kMostDetail));
    }
  problem.detail = printable(detail, kMostDetail);
  return problem;
}

bool digits(std::string_view text, std::size_t at, std::size_t count, int& out) noexcept {
  out = 0;
  if (text.size() < at + count) return false;
  for (const char c : text.substr(at, count)) {
    if (!ascii::is_digit(c)) return false;
    out = out * 10 + (c - '0');
  }
  return true;
}

}  // namespace

const Problem* Authorization::error() const noexcept {
  for (const Challenge& one : challenges)
    if (one.error != Problem{}) return &one.error;
  return nullptr;
}

bool is_url(std::string_view text, std::string_view scheme) noexcept {
  return text.size() <= kMostUrl && text.starts_with(scheme) && text.find('#') == std::string_view::npos &&
         http::parse_client_url(text).has_value();
}

bool is_base64url(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMostToken &&
         std::all_of(text.begin(), text.end(), [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_'; });
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) noexcept {
  std::tm t{};
  int year = 0;
  int month = 0;
  const bool form = text.size() >= 20 && text[4] == '-' && text[7] == '-' && (text[10] == 'T' || text[10] == 't') &&
                    text[13] == ':' && text[16] == ':';
  if (!form || !digits(text, 0, 4, year) || !digits(text, 5, 2, month) || !digits(text, 8, 2, t.tm_mday) ||
      !digits(text, 11, 2, t.tm_hour) || !digits(text, 14, 2, t.tm_min) || !digits(text, 17, 2, t.tm_sec))
    return std::nullopt;
  if (year < 1970 || month < 1 || month > 12 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour > 23 || t.tm_min > 59 ||
      t.tm_sec > 60)
    return std::nullopt;
  t.tm_year = year - 1900;
  t.tm_mon = month - 1;
  std::string_view rest = text.substr(19);
  if (rest.starts_with('.')) {
    const std::size_t end = rest.find_first_not_of("0123456789", 1);
    if (end == std::string_view::npos || end == 1) return std::nullopt;
    rest = rest.substr(end);
  }
  std::int64_t offset = 0;
  if (rest != "Z" && rest != "z") {
    int hours = 0;
    int minutes = 0;
    if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':' || !digits(rest, 1, 2, hours) ||
        !digits(rest, 4, 2, minutes) || hours > 23 || minutes > 59)
      return std::nullopt;
    offset = (hours * 60 + minutes) * 60;
    if (rest[0] == '-') offset = -offset;
  }
  return timegm(&t) - offset;
}

std::optional<Directory> read_directory(std::string_view body, std::string_view scheme) {
  const std::optional<json::object> top = parse_object(body);
  Directory d;
  if (!top || !take_url(*top, "newNonce", scheme, true, d.new_nonce) ||
      !take_url(*top, "newAccount", scheme, true, d.new_account) ||
      !take_url(*top, "newOrder", scheme, true, d.new_order) ||
      !take_url(*top, "renewalInfo", scheme, false, d.renewal_info))
    return std::nullopt;
  const json::object* const meta = object_of(*top, "meta");
  if (meta == nullptr) return d;
  d.external_account_required = flag_of(*meta, "externalAccountRequired");
  if (const json::object* const profiles = object_of(*meta, "profiles"))
    for (const auto& one : *profiles) {
      if (d.profiles.size() == kMostNames) break;
      d.profiles.push_back(printable({one.key().data(), one.key().size()}, 64));
    }
  return d;
}

std::optional<Order> read_order(std::string_view body, std::string_view scheme) {
  const std::optional<json::object> top = parse_object(body);
  Order order;
  if (!top || !take_url(*top, "finalize", scheme, true, order.finalize) ||
      !take_url(*top, "certificate", scheme, false, order.certificate))
    return std::nullopt;
  order.status = status_of(*top);
  const json::array* const authorizations = array_of(*top, "authorizations");
  if (authorizations == nullptr || authorizations->size() > kMostNames) return std::nullopt;
  for (const json::value& one : *authorizations) {
    const json::string* const url = one.if_string();
    if (url == nullptr || !is_url({url->data(), url->size()}, scheme)) return std::nullopt;
    order.authorizations.emplace_back(url->data(), url->size());
  }
  if (const json::object* const error = object_of(*top, "error")) order.error = problem_of(*error);
  return order;
}

std::optional<Authorization> read_authorization(std::string_view body, std::string_view scheme) {
  const std::optional<json::object> top = parse_object(body);
  if (!top) return std::nullopt;
  const json::object* const identifier = object_of(*top, "identifier");
  const json::array* const challenges = array_of(*top, "challenges");
  if (identifier == nullptr || challenges == nullptr) return std::nullopt;
  Authorization a;
  a.status = status_of(*top);
  a.name = printable(text_of(*identifier, "value"), 256);
  a.wildcard = flag_of(*top, "wildcard");
  for (const json::value& value : *challenges) {
    const json::object* const one = value.if_object();
    if (one == nullptr || a.challenges.size() == kMostNames) return std::nullopt;
    Challenge c;
    c.type = printable(text_of(*one, "type"), 64);
    c.token = text_of(*one, "token");
    c.status = status_of(*one);
    if (const json::object* const error = object_of(*one, "error")) c.error = problem_of(*error);
    // Of a kind that we do not know it may be anything; of one without them nothing can be done.
    if (!take_url(*one, "url", scheme, true, c.url) || !is_base64url(c.token)) continue;
    a.challenges.push_back(std::move(c));
  }
  return a;
}

std::optional<RenewalWindow> read_renewal_window(std::string_view body) {
  const std::optional<json::object> top = parse_object(body);
  const json::object* const window = top ? object_of(*top, "suggestedWindow") : nullptr;
  if (window == nullptr) return std::nullopt;
  const auto start = parse_rfc3339(text_of(*window, "start"));
  const auto end = parse_rfc3339(text_of(*window, "end"));
  // "end" is after "start"; a window that is none is as if there were none (RFC 9773 section 4.2).
  if (!start || !end || *end <= *start) return std::nullopt;
  return RenewalWindow{*start, *end};
}

bool is_valid_account(std::string_view body) {
  const std::optional<json::object> top = parse_object(body);
  return top && status_of(*top) == Status::valid;
}

Problem read_problem(std::string_view body) {
  const std::optional<json::object> top = parse_object(body);
  return top ? problem_of(*top) : Problem{};
}

}  // namespace fiberd::daemon::acme
