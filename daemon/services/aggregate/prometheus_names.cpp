#include "daemon/services/aggregate/prometheus_names.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/characters.hpp"
#include "core/base/hash.hpp"

namespace fiberd::daemon::aggregate {

static std::string plain(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const bool digit = ascii::is_digit(c);
    const bool letter = ascii::is_alpha(c) || c == '_';
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
  std::vector<std::pair<std::string, std::string_view>> labels;
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find(','));
    tags.remove_prefix(std::min(tags.size(), tag.size() + 1));
    const std::size_t colon = tag.find(':');
    std::string key = plain(tag.substr(0, colon));
    if (key == "quantile" || key.starts_with("__")) return std::nullopt;
    labels.emplace_back(std::move(key), colon == std::string_view::npos ? "true" : tag.substr(colon + 1));
  }
  std::sort(labels.begin(), labels.end());
  std::string out;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto& [key, value] = labels[i];
    if (i != 0 && labels[i - 1].first == key) return std::nullopt;
    if (i != 0) out += ',';
    out += key + "=\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
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

std::optional<PrometheusLabels> PrometheusLabels::claim(std::shared_ptr<const PrometheusNames::Family> family,
                                                        std::string labels, std::string_view tags) {
  const std::uint64_t key = hash_bytes(labels.data(), labels.size(), hash_seed());
  const std::uint64_t spelling = hash_bytes(tags.data(), tags.size(), hash_seed());
  {
    const LockGuard guard(family->lock_);
    const auto [at, fresh] = family->spellings_.try_emplace(key, PrometheusNames::Family::Spelling{spelling, 0});
    if (at->second.tags != spelling) return std::nullopt;
    ++at->second.uses;
  }
  return PrometheusLabels(std::move(family), std::move(labels), key);
}

PrometheusLabels::~PrometheusLabels() {
  if (family_ == nullptr) return;
  const LockGuard guard(family_->lock_);
  const auto at = family_->spellings_.find(key_);
  if (at != family_->spellings_.end() && --at->second.uses == 0) family_->spellings_.erase(at);
}

}  // namespace fiberd::daemon::aggregate
