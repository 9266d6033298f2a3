#include "core/http/filters/cache_rules.hpp"

#include <algorithm>

#include "core/http/characters.hpp"
#include "core/http/filters/compression_policy.hpp"

namespace fiberd::http {

Result<CacheRules> CacheRules::make(std::vector<CacheRule> rules, std::string* why) {
  const auto refuse = [&](const CacheRule& rule, std::string_view sentence) {
    if (why != nullptr) *why = rule.match + ": " + std::string(sentence);
    return fail(std::errc::invalid_argument);
  };
  for (CacheRule& rule : rules) {
    std::transform(rule.match.begin(), rule.match.end(), rule.match.begin(), to_lower);
    const std::string_view match = rule.match;
    const std::size_t slash = match.find('/');
    const bool type = slash != std::string_view::npos && is_token(match.substr(0, slash)) &&
                      is_token(match.substr(slash + 1)) && match.substr(0, slash).find('*') == std::string_view::npos;
    const bool extension = match.size() > 1 && match.front() == '.' && slash == std::string_view::npos &&
                           match.find('*') == std::string_view::npos;
    if (match != "*" && !type && !extension)
      return refuse(rule, "an extension (.css), a media type (text/css, image/*) or * is expected");
    if (rule.value.empty() || trim(rule.value) != rule.value || !is_field_value(rule.value))
      return refuse(rule, "the value of a Cache-Control field is expected, such as max-age=3600");
  }
  CacheRules made;
  made.rules_ = std::move(rules);
  return made;
}

std::string_view CacheRules::find(std::string_view path, std::string_view content_type) const noexcept {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const std::string_view type = bare_media_type(content_type);
  const auto fits = [&](const CacheRule& rule) {
    const std::string_view match = rule.match;
    if (match == "*") return true;
    if (match.front() != '.') return media_type_is(type, match);
    return name.size() > match.size() && equals_lower(name.substr(name.size() - match.size()), match);
  };
  const auto found = std::find_if(rules_.begin(), rules_.end(), fits);
  return found == rules_.end() ? std::string_view() : std::string_view(found->value);
}

bool CacheRules::applies_to(unsigned status) noexcept {
  return status == 200 || status == 203 || status == 206 || status == 304;
}

}  // namespace fiberd::http
