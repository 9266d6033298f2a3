#include "config/text_rules.hpp"

#include <algorithm>
#include <array>

#include "config/schema.hpp"
#include "core/base/host_port.hpp"
#include "core/base/text.hpp"
#include "core/base/variable_names.hpp"

namespace fiberd::config {

using ascii::is_alnum;

std::string plain_host(std::string host) {
  host = ascii::lower(host);
  if (host.ends_with('.')) host.pop_back();
  return host;
}

std::string check_origin(std::string_view origin) {
  const std::string no =
      "\"" + std::string(origin) + "\" is not an origin like https://a.example or https://*.a.example";
  const std::size_t scheme = origin.starts_with("https://") ? 8 : origin.starts_with("http://") ? 7 : 0;
  if (scheme == 0) return no + ": it begins with http:// or https://";
  std::string_view host = origin.substr(scheme);
  if (host.ends_with('/')) return no + ": it ends without /";
  HostPort parts;
  const bool split = split_host_port(host, parts) == HostPortError::none;
  if (!split || parts.has_port) {
    const unsigned port = split ? parse_port(parts.port).value_or(0) : 0;
    if (port == 0) return no + ": the port is 1 … 65535";
    if (port == (scheme == 8 ? 443U : 80U)) return no + ": browsers leave out the scheme's own port";
    host = parts.written_host();
  }
  if (plain_host(std::string(host)) != host) return no + ": browsers write it in lower case";
  return check_host_pattern(host).empty() ? "" : no;
}

std::string check_host_pattern(std::string_view host) {
  std::string no = "\"" + std::string(host) + "\" is not a host name without port, optionally prefixed by \"*.\"";
  if (host.starts_with('['))
    return host.size() > 2 && host.ends_with(']') && host.find(']') + 1 == host.size() ? "" : no;
  if (host.starts_with("*.")) host.remove_prefix(2);
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.front() == '.' || host.find("..") != std::string_view::npos) return no;
  if (std::any_of(host.begin(), host.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
    return no + ": clients send names of other scripts as xn--…, so write them so";
  if (const std::string_view variable = find_variable(host); !variable.empty())
    return unknown_variable(variable, "write the name itself");
  const bool good =
      std::all_of(host.begin(), host.end(), [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
  return good ? "" : no;
}

bool hosts_meet(std::string_view a, std::string_view b) {
  const auto below = [](std::string_view host, std::string_view pattern) {  // of which the pattern begins with "*."
    return host.size() >= pattern.size() && host.ends_with(pattern.substr(1));
  };
  const bool wild_a = a.starts_with("*.");
  const bool wild_b = b.starts_with("*.");
  if (wild_a && wild_b) return below(a, b) || below(b, a);
  return a == b || (wild_a && below(b, a)) || (wild_b && below(a, b));
}

std::vector<std::string> read_hosts(const Reader& r) {
  std::vector<std::string> hosts;
  for (const std::string& host : r.strings("hosts")) {
    hosts.push_back(plain_host(host));
    if (const std::string wrong = check_host_pattern(host); !wrong.empty()) r.report("hosts", hosts.size() - 1, wrong);
  }
  return hosts;
}

std::string check_route_path(std::string_view path) {
  if (path.empty()) return "is required";
  if (path.front() != '/') return "must begin with /";
  const std::size_t star = path.find('*');
  if (star != std::string_view::npos && (star + 1 != path.size() || path[star - 1] != '/'))
    return "* is allowed only as the end of /prefix/*";
  if (has_control(path)) return "control characters are not allowed";
  const auto is_hex = [](char c) { return ascii::hex_value(c) >= 0; };
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1))
    if (at + 2 < path.size() && is_hex(path[at + 1]) && is_hex(path[at + 2]))
      return "escapes are not allowed: paths are compared decoded; write the character itself, e.g. \"/a b\" for "
             "/a%20b";
  if (path.find_first_of("?#") != std::string_view::npos)
    return "? and # are not allowed: query and fragment are no part of a path; leave them out (a path that holds the "
           "character itself can be met by a prefix)";
  for (const std::string_view dots : {"/./", "/../"})
    if ((std::string(path) + "/").find(dots) != std::string::npos)
      return "dot segments are removed from requests' paths; write the path without . and ..";
  if (path.find("//") != std::string_view::npos)
    return "empty segments are removed from requests' paths; write the path with single slashes";
  if (path.find("${") != std::string_view::npos)
    return unknown_variable(path.substr(path.find("${")), "the only thing that stands for others is /* at the end");
  // As routers of other programs have it.
  for (std::size_t at = path.find("/{"); at != std::string_view::npos; at = path.find("/{", at + 1)) {
    const std::size_t end = std::min(path.find('/', at + 1), path.size());
    if (path[end - 1] == '}' && end > at + 3)
      return "\"" + std::string(path.substr(at + 1, end - at - 1)) +
             "\" would be met by these very characters only: the one thing that stands for others is /* at the end";
  }
  return "";
}

std::string check_file_path(std::string_view path) {
  if (path.empty()) return "is empty";
  if (has_control(path)) return "control characters are not allowed in a path";
  return "";
}

std::string_view find_variable(std::string_view text) {
  const auto begins_name = [](char c) { return ascii::is_alpha(c) || c == '_'; };
  for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at + 1)) {
    const bool braced = at + 1 < text.size() && text[at + 1] == '{';
    std::size_t end = at + (braced ? 2 : 1);
    if (end >= text.size() || (!braced && !begins_name(text[end]))) continue;
    if (braced) {
      const std::size_t close = text.find('}', end);
      return text.substr(at, close == std::string_view::npos ? close : close + 1 - at);
    }
    while (end < text.size() && (is_alnum(text[end]) || text[end] == '_')) ++end;
    return text.substr(at, end - at);
  }
  return {};
}

std::string_view find_group(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789";
  for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at + 1)) {
    const std::size_t end = std::min(text.find_first_not_of(kDigits, at + 1), text.size());
    if (end > at + 1) return text.substr(at, end - at);
  }
  return {};
}

bool is_meant_as_variable(std::string_view variable) {
  static constexpr std::array<std::string_view, 16> kNames{
      "$args",        "$document_uri", "$host",           "$http_host",   "$is_args", "$path",        "$query_string",
      "$remote_addr", "$request_id",   "$request_method", "$request_uri", "$scheme",  "$server_name", "$server_port",
      "$status",      "$uri"};
  return variable.starts_with("${") || std::find(kNames.begin(), kNames.end(), variable) != kNames.end();
}

std::string unknown_variable(std::string_view variable, std::string_view remedy) {
  const std::string_view name = variable.substr(variable.starts_with("${") ? 2 : 1);
  const bool environment =
      std::none_of(name.begin(), name.end(), ascii::is_lower) && std::any_of(name.begin(), name.end(), ascii::is_upper);
  return "\"" + std::string(variable) + "\" stands for nothing here" +
         (environment
              ? ": variables of the environment are written ${" + std::string(name.substr(0, name.find('}'))) + "}"
              : "") +
         "; " + std::string(remedy);
}

static std::string wrong_in_field(std::string_view value) {
  if (has_control(value)) return "control characters are not allowed in a field";
  if (const std::string_view variable = find_variable(value); is_meant_as_variable(variable))
    return unknown_variable(variable, "fields are sent as they are written");
  return {};
}

void check_field(const Reader& r, std::string_view key, std::string_view value) {
  if (std::string wrong = wrong_in_field(value); !wrong.empty()) r.report(key, std::move(wrong));
}

void check_field(const Reader& r, std::string_view key, std::size_t index, std::string_view value) {
  if (std::string wrong = wrong_in_field(value); !wrong.empty()) r.report(key, index, std::move(wrong));
}

std::string check_removed_field(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kFraming{"content-length", "transfer-encoding", "connection",
                                                            "date",           "keep-alive",        "upgrade"};
  if (!is_token(name)) return "\"" + std::string(name) + "\" is not a field name";
  if (std::find(kFraming.begin(), kFraming.end(), ascii::lower(name)) != kFraming.end())
    return std::string(name) + " is set by the server itself";
  return {};
}

std::string check_own_field(std::string_view name) {
  const std::string lower = ascii::lower(name);
  if (lower == "server") return std::string(name) + " is set by the server itself: use the key server";
  if (lower == "content-type") return std::string(name) + " is set by who makes the content";
  return check_removed_field(name);
}

std::string check_media_type(std::string_view type, bool pattern) {
  const std::size_t slash = type.find('/');
  const std::string_view sub = slash == std::string_view::npos ? std::string_view() : type.substr(slash + 1);
  const bool good = slash != std::string_view::npos && is_token(type.substr(0, slash)) && is_token(sub) &&
                    type.substr(0, slash).find('*') == std::string_view::npos &&
                    (sub.find('*') == std::string_view::npos || (pattern && sub == "*"));
  if (good) return {};
  return "\"" + std::string(type) + "\" is not a media type like text/css" + (pattern ? " or text/*" : "");
}

std::string check_extension(std::string_view extension) {
  const bool good = extension.size() > 1 && extension.front() == '.' && !has_control(extension) &&
                    extension.find_first_of("/* ") == std::string_view::npos && extension.back() != '.';
  return good ? "" : "\"" + std::string(extension) + "\" is not an extension like .css";
}

std::string check_type_of_variables(std::string_view content_type) {
  std::string type = ascii::lower(content_type.substr(0, content_type.find(';')));
  type.erase(type.find_last_not_of(" \t") + 1);
  type.erase(0, type.find_first_not_of(" \t"));
  const std::string why = "; a body with variables needs one, or browsers guess, and may take it for a page";
  if (type.empty()) return "is empty" + why;
  // These they take for no type (the MIME Sniffing standard, section 7).
  if (type == "unknown/unknown" || type == "application/unknown") return "\"" + type + "\" is no type" + why;
  const std::string wrong = check_media_type(type, false);
  return wrong.empty() ? wrong : wrong + why;
}

bool has_variables(const std::string& text) {
  std::vector<TemplatePart> parts;
  return parse_template(text, request_variables(), parts).empty() &&
         std::any_of(parts.begin(), parts.end(), [](const auto& p) { return p.id != TemplatePart::kLiteral; });
}

/// What is wrong, or empty.
static std::string check_template(const std::string& text, TemplateOf what) {
  std::vector<TemplatePart> parts;
  if (std::string wrong = parse_template(text, request_variables(), parts); !wrong.empty()) return wrong;
  if (what == TemplateOf::field && has_control(text)) return "control characters are not allowed in a field";
  if (what == TemplateOf::location) {
    if (std::string wrong = check_location(parts); !wrong.empty()) return wrong;
    std::string plain = text;
    for (std::size_t at = 0; (at = plain.find("$$", at)) != std::string::npos;) plain.erase(at, 2);
    if (const std::string_view group = find_group(plain); !group.empty())
      return "\"" + std::string(group) +
             "\" stands for nothing here; what is below a prefix is ${rest} (a $ that is meant is $$)";
  }
  return {};
}

std::string read_template(const Reader& r, std::string_view key, std::string text, TemplateOf what) {
  if (std::string wrong = check_template(text, what); !wrong.empty()) r.report(key, std::move(wrong));
  return text;
}

std::string read_template(const Reader& r, std::string_view key, std::size_t index, std::string text, TemplateOf what) {
  if (std::string wrong = check_template(text, what); !wrong.empty()) r.report(key, index, std::move(wrong));
  return text;
}

}  // namespace fiberd::config
