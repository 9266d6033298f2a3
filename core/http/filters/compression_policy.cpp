#include "core/http/filters/compression_policy.hpp"

#include <algorithm>

#include "core/http/message.hpp"

namespace fiberd::http {
namespace {

bool has_directive(std::string_view list, std::string_view directive) noexcept {
  TokenList elements(list);
  std::string_view element;
  while (elements.next(element))
    if (equals_lower(element, directive)) return true;
  return false;
}

}  // namespace

std::string_view bare_media_type(std::string_view content_type) noexcept {
  return trim(content_type.substr(0, content_type.find(';')));
}

bool media_type_is(std::string_view type, std::string_view pattern) noexcept {
  if (!pattern.ends_with("/*")) return equals_lower(type, pattern);
  const std::string_view prefix = pattern.substr(0, pattern.size() - 1);
  return type.size() > prefix.size() && equals_lower(type.substr(0, prefix.size()), prefix);
}

std::vector<std::string> CompressionPolicy::usual_types() {
  return {"text/*",
          "application/json",
          "application/ld+json",
          "application/manifest+json",
          "application/problem+json",
          "application/javascript",
          "application/xml",
          "application/xhtml+xml",
          "application/rss+xml",
          "application/atom+xml",
          "application/wasm",
          "application/vnd.ms-fontobject",
          "font/ttf",
          "font/otf",
          "image/svg+xml",
          "image/x-icon",
          "image/bmp"};
}

bool CompressionPolicy::has_type(std::string_view content_type) const noexcept {
  const std::string_view type = bare_media_type(content_type);
  return std::any_of(types_.begin(), types_.end(), [&](const std::string& t) { return media_type_is(type, t); });
}

CompressionVerdict CompressionPolicy::judge(const AnswerFacts& facts) const noexcept {
  const bool not_modified = facts.status == 304;
  if (!not_modified && !status_has_body(facts.status)) return CompressionVerdict::leave;
  const bool part = facts.status == 206;
  if ((facts.has_range && !part) || facts.encoded || facts.has_digest) return CompressionVerdict::leave;
  if (has_directive(facts.cache_control, "no-transform")) return CompressionVerdict::leave;
  const std::uint64_t least = std::max<std::uint64_t>(min_size_, 1);
  if (part || not_modified) {
    // As the 200 would be. What it is about only its handler knows: a 304 has no type, several parts have that of their
    // envelope, and no length is that of the whole. Where nobody says so it is taken for what would be compressed.
    const bool fits = facts.selected != nullptr
                          ? facts.selected->length >= least && has_type(facts.selected->media_type)
                          : has_type(facts.content_type) || (not_modified && facts.content_type.empty()) ||
                                (part && bare_media_type(facts.content_type) == "multipart/byteranges");
    if (!fits) return CompressionVerdict::leave;
    return part ? CompressionVerdict::vary : CompressionVerdict::not_modified;
  }
  if (facts.content_length && *facts.content_length < least) return CompressionVerdict::leave;
  return has_type(facts.content_type) ? CompressionVerdict::compress : CompressionVerdict::leave;
}

std::optional<std::string> weak_etag(std::string_view etag) {
  if (!etag.starts_with('"')) return std::nullopt;
  return "W/" + std::string(etag);
}

std::optional<std::string> vary_with(const FieldLines& fields, std::string_view name) {
  std::string all;
  bool holds = false;
  fields.each([&](const Field& field) {
    if (!equals_lower(field.name, "vary")) return;
    TokenList elements(field.value);
    std::string_view element;
    while (elements.next(element)) {
      holds = holds || element == "*" || equals_ignore_case(element, name);
      all.append(element).append(", ");
    }
  });
  if (holds) return std::nullopt;
  return all.append(name);
}

}  // namespace fiberd::http
