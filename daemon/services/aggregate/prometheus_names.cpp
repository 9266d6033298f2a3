#include "daemon/services/aggregate/prometheus_names.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace fiberd::daemon::aggregate {

static std::string plain(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (digit && out.empty()) out += '_';
    out += digit || letter ? c : '_';
  }
  return out;
}

std::string prometheus_name(std::string_view name, Kind kind) {
  static constexpr std::string_view kTotal = "_total";
  std::string out = plain(name);
  if (kind == Kind::counter && !out.ends_with(kTotal)) out += kTotal;
  return out;
}

std::optional<std::string> prometheus_labels(std::string_view tags) {
  std::string out;
  std::vector<std::string> keys;
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find(','));
    tags.remove_prefix(std::min(tags.size(), tag.size() + 1));
    const std::size_t colon = tag.find(':');
    std::string key = plain(tag.substr(0, colon));
    if (key == "quantile" || key.starts_with("__") || std::find(keys.begin(), keys.end(), key) != keys.end())
      return std::nullopt;
    if (!out.empty()) out += ',';
    out += key + "=\"";
    for (const char c : colon == std::string_view::npos ? "true" : tag.substr(colon + 1)) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
    keys.push_back(std::move(key));
  }
  return out;
}

/// The names that the samples of a family have, its own first.
static std::vector<std::string> names_of(const std::string& name, Kind kind) {
  if (kind == Kind::timer) return {name, name + "_sum", name + "_count"};
  return {name};
}

std::shared_ptr<const PrometheusNames::Family> PrometheusNames::claim(std::string_view statsd_name, Kind kind) {
  const std::string name = prometheus_name(statsd_name, kind);
  const std::vector<std::string> names = names_of(name, kind);
  std::shared_ptr<const Family> family;
  const LockGuard guard(lock_);
  for (const std::string& n : names) {
    const auto claim = claims_.find(n);
    if (claim == claims_.end()) continue;
    if (claim->second.statsd_name != statsd_name || claim->second.kind != kind) return nullptr;
    if (n == name) family = claim->second.family.lock();
  }
  if (family != nullptr) return family;
  std::map<std::string, Claim, std::less<>> fresh;
  for (const std::string& n : names) fresh.try_emplace(n, Claim{std::string(statsd_name), kind, {}, 0});
  family = std::make_shared<const Family>(*this, names, std::string(statsd_name), kind);
  // From here on nothing throws: the family's end will take back what is counted here.
  claims_.merge(fresh);
  for (const std::string& n : names) ++claims_.find(n)->second.uses;
  claims_.find(name)->second.family = family;
  return family;
}

void PrometheusNames::release(const Family& family) noexcept {
  const LockGuard guard(lock_);
  for (const std::string& n : family.names_) {
    const auto claim = claims_.find(n);
    if (claim != claims_.end() && --claim->second.uses == 0) claims_.erase(claim);
  }
}

}  // namespace fiberd::daemon::aggregate
