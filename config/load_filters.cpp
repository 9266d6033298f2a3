#include "config/load_filters.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "config/addresses.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

namespace {

HeadersFilter read_headers(const Reader& r) {
  HeadersFilter f{r.pairs("set"), r.pairs("add"), r.strings("remove"), r.place("")};
  for (const auto& [key, fields] : {std::pair("set", &f.set), std::pair("add", &f.add)})
    for (std::size_t i = 0; i < fields->size(); ++i) {
      auto& [name, value] = (*fields)[i];
      if (const std::string wrong = check_own_field(name); !wrong.empty()) r.report(key, i, wrong);
      value = read_template(r, key, i, value, TemplateOf::field);
    }
  for (std::size_t i = 0; i < f.remove.size(); ++i)
    if (const std::string wrong = check_removed_field(f.remove[i]); !wrong.empty()) r.report("remove", i, wrong);
  if (f.set.empty() && f.add.empty() && f.remove.empty()) r.report("", "needs one of set, add, remove");
  return f;
}

PlacedTexts read_ranges_of(const Reader& r, std::string_view key) {
  PlacedTexts ranges = read_ranges(r, key);
  if (ranges.texts.empty()) r.report(key, "is empty; e.g. [192.0.2.0/24]");
  return ranges;
}

BasicAuthFilter read_basic_auth(const Reader& r) {
  BasicAuthFilter f{r.text("file"), r.text("realm"), r.place("file")};
  if (!r.has("file"))
    r.report("", "file is required");
  else if (const std::string wrong = check_file_path(f.file); !wrong.empty())
    r.report("file", wrong);
  if (!std::all_of(f.realm.begin(), f.realm.end(), ascii::is_plain))
    r.report("realm", "must be ASCII text without control characters, \" and \\");
  return f;
}

CorsFilter read_cors(const Reader& r) {
  CorsFilter f;
  f.origins = r.strings("origins");
  f.methods = r.strings("methods");
  f.headers = r.strings("headers");
  f.expose = r.strings("expose");
  f.credentials = r.boolean("credentials");
  f.at = r.place("");
  const std::chrono::nanoseconds age = r.duration("max_age");
  f.max_age = std::chrono::duration_cast<std::chrono::seconds>(age);
  if (f.max_age != age) r.report("max_age", "must be whole seconds");
  if (f.origins.empty()) r.report("", "origins is required, e.g. [\"https://a.example\"]");
  for (std::size_t i = 0; i < f.origins.size(); ++i) {
    if (f.origins[i] == "*") {
      if (f.origins.size() != 1) r.report("origins", i, "\"*\" is every origin: it stands alone");
      if (f.credentials)
        r.report("origins", i, "with credentials every site's page could read what is the user's; name the origins");
    } else if (const std::string wrong = check_origin(f.origins[i]); !wrong.empty()) {
      r.report("origins", i, wrong);
    }
  }
  for (const auto& [key, names] :
       {std::pair("methods", &f.methods), std::pair("headers", &f.headers), std::pair("expose", &f.expose)})
    for (std::size_t i = 0; i < names->size(); ++i) {
      const std::string& name = (*names)[i];
      if (!is_token(name))
        r.report(key, i, "\"" + name + "\" is no " + (key == std::string_view("methods") ? "method" : "field name"));
      else if (name == "*" && f.credentials && key != std::string_view("headers"))
        r.report(key, i, "\"*\" means nothing with credentials; name them");
    }
  return f;
}

struct LevelRange {
  std::string_view coding;
  int least;
  int most;
};
constexpr std::array<LevelRange, 3> kLevels{{{"zstd", 1, 19}, {"br", 0, 11}, {"gzip", 1, 9}}};

CompressFilter read_compress(const Reader& r) {
  CompressFilter f;
  f.at = r.place("");
  f.min_size = r.number("min_size");
  const std::vector<std::string> codings = r.strings("codings");
  if (codings.empty()) r.report("codings", "is empty; of zstd, br, gzip");
  for (std::size_t i = 0; i < codings.size(); ++i) {
    const bool known =
        std::any_of(kLevels.begin(), kLevels.end(), [&](const auto& l) { return l.coding == codings[i]; });
    if (!known)
      r.report("codings", i, "\"" + codings[i] + "\" is not known; of zstd, br, gzip");
    else if (std::any_of(f.codings.begin(), f.codings.end(), [&](const auto& c) { return c.coding == codings[i]; }))
      r.report("codings", i, codings[i] + " stands there twice");
    f.codings.push_back({codings[i], std::nullopt});
  }
  const auto levels = r.pairs("level");
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const std::string& coding = levels[i].first;  // not taken apart: clang 14 has no such names in closures
    const std::string& text = levels[i].second;
    const auto of = std::find_if(f.codings.begin(), f.codings.end(), [&](const auto& c) { return c.coding == coding; });
    const auto range = std::find_if(kLevels.begin(), kLevels.end(), [&](const auto& l) { return l.coding == coding; });
    int level = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), level);
    if (of == f.codings.end() || range == kLevels.end())
      r.report("level", i, "\"" + coding + "\" is not one of codings");
    else if (error != std::errc{} || end != text.data() + text.size() || level < range->least || level > range->most)
      r.report("level", i,
               std::string("\"").append(text).append("\" is not a level of ").append(coding).append("; allowed: ") +
                   std::to_string(range->least) + " … " + std::to_string(range->most));
    else
      of->level = level;
  }
  for (const std::string& type : r.strings("types")) {
    f.types.push_back(ascii::lower(type));
    if (const std::string wrong = check_media_type(type, true); !wrong.empty())
      r.report("types", f.types.size() - 1, wrong);
  }
  return f;
}

RequestIdFilter read_request_id(const Reader& r) {
  RequestIdFilter f{r.text("header"), r.boolean("accept"), r.place("")};
  if (const std::string wrong = check_own_field(f.header); !wrong.empty()) r.report("header", wrong);
  return f;
}

CacheControlFilter read_cache_control(const Reader& r) {
  CacheControlFilter f{r.pairs("cache_control"), r.place("cache_control")};
  if (f.rules.empty()) r.report("cache_control", "is empty; e.g. {\".css\": \"max-age=3600\"}");
  for (std::size_t i = 0; i < f.rules.size(); ++i) {
    auto& [match, value] = f.rules[i];
    match = ascii::lower(match);
    if (match != "*" && !check_extension(match).empty() && !check_media_type(match, true).empty())
      r.report("cache_control", i,
               "\"" + match + "\" is not an extension (.css), no media type (text/css, image/*), and not *");
    check_field(r, "cache_control", i, value);
    if (value.find_first_not_of(" \t") == std::string::npos)
      r.report("cache_control", i, "needs a value, e.g. max-age=3600");
  }
  return f;
}

}  // namespace

std::vector<FilterConfig> read_filters(const Reader& r) {
  std::vector<FilterConfig> filters;
  for (const std::string& key : r.keys()) {
    if (!r.has(key)) continue;
    if (key == "headers") filters.emplace_back(read_headers(r.section(key)));
    if (key == "allow") filters.emplace_back(AllowFilter{read_ranges_of(r, key)});
    if (key == "deny") filters.emplace_back(DenyFilter{read_ranges_of(r, key)});
    if (key == "basic_auth") filters.emplace_back(read_basic_auth(r.section(key)));
    if (key == "cors") filters.emplace_back(read_cors(r.section(key)));
    if (key == "compress") filters.emplace_back(read_compress(r.section(key)));
    if (key == "request_id") filters.emplace_back(read_request_id(r.section(key)));
    if (key == "cache_control") filters.emplace_back(read_cache_control(r));
    if (key == "filters") {
      const PlacedTexts names = r.placed(key);
      for (std::size_t i = 0; i < names.texts.size(); ++i) {
        if (names.texts[i].empty()) r.report(key, i, "is empty; the name of a filter");
        filters.emplace_back(NamedFilter{names.texts[i], names.at[i]});
      }
    }
  }
  return filters;
}

}  // namespace fiberd::config
