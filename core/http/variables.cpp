#include "core/http/variables.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr std::array<VariableName, 9> kRequest = {{
    {"host", static_cast<std::uint8_t>(Variable::host)},
    {"path", static_cast<std::uint8_t>(Variable::path)},
    {"rest", static_cast<std::uint8_t>(Variable::rest)},
    {"query", static_cast<std::uint8_t>(Variable::query)},
    {"method", static_cast<std::uint8_t>(Variable::method)},
    {"scheme", static_cast<std::uint8_t>(Variable::scheme)},
    {"client", static_cast<std::uint8_t>(Variable::client)},
    {"request_id", static_cast<std::uint8_t>(Variable::request_id)},
    {"header.", static_cast<std::uint8_t>(Variable::header)},
}};

struct Foreign {
  std::string_view theirs;
  std::string_view ours;
};
// What nginx and Caddy call them.
constexpr std::array<Foreign, 19> kForeign = {{
    {"uri", "path"},
    {"document_uri", "path"},
    {"request_uri", "path}${query"},
    {"args", "query"},
    {"query_string", "query"},
    {"is_args", "query"},
    {"remote_addr", "client"},
    {"realip_remote_addr", "client"},
    {"remote", "client"},
    {"request_method", "method"},
    {"server_name", "host"},
    {"http_host", "host"},
    {"hostname", "host"},
    {"protocol", "scheme"},
    {"requestid", "request_id"},
    {"http_user_agent", "header.User-Agent"},
    {"http_referer", "header.Referer"},
    {"remote_host", "client"},
    {"remote_user", "header.Authorization"},
}};

bool is_letter(char c) noexcept { return (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '_'; }

/// Levenshtein's distance, of short names.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (to_lower(a[i]) == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

const VariableName* find_name(std::string_view name, std::span<const VariableName> names) noexcept {
  for (const VariableName& n : names) {
    const bool prefix = n.name.ends_with('.');
    if (prefix ? name.starts_with(n.name) : name == n.name) return &n;
  }
  return nullptr;
}

std::string spelled(std::string_view name) { return "${" + std::string(name) + (name.ends_with('.') ? "NAME}" : "}"); }

/// What was probably meant; empty when nothing is near.
std::string nearest(std::string_view name, std::span<const VariableName> names) {
  std::string lower(name.substr(0, 64));
  std::transform(lower.begin(), lower.end(), lower.begin(), to_lower);
  for (const Foreign& f : kForeign)
    if (f.theirs == lower && find_name(f.ours.substr(0, f.ours.find('}')), names) != nullptr) return spelled(f.ours);
  if (lower.starts_with("http_") && lower.size() > 5 && find_name("header.x", names) != nullptr) {
    std::string field = lower.substr(5);
    std::replace(field.begin(), field.end(), '_', '-');
    return spelled("header." + field);
  }
  const VariableName* best = nullptr;
  std::size_t least = 1 + std::max<std::size_t>(1, lower.size() / 2);
  for (const VariableName& n : names) {
    const std::size_t d = distance(lower.substr(0, lower.find('.')), n.name.substr(0, n.name.find('.')));
    if (d < least) {
      best = &n;
      least = d;
    }
  }
  return best == nullptr ? std::string() : spelled(best->name);
}

std::string all_names(std::span<const VariableName> names) {
  std::string all;
  for (const VariableName& n : names) all += (all.empty() ? "" : ", ") + spelled(n.name);
  return all;
}

std::string unknown_variable(std::string_view written, std::string_view name, std::span<const VariableName> names) {
  const std::string near = nearest(name, names);
  std::string why = "there is no variable " + std::string(written.substr(0, 80));
  why += near.empty() ? ": there are " + all_names(names) : ": is " + near + " meant?";
  return why;
}

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

void percent(char c, std::string& out) {
  const auto byte = static_cast<unsigned char>(c);
  out += {'%', kHexDigits[byte >> 4U], kHexDigits[byte & 15U]};
}

// What may stand in a URI as it is (RFC 3986 sections 2.2, 2.3 and 3.3), by where it comes from.
enum class Piece : std::uint8_t { component, path, query, authority };

bool stands_in_uri(char c, Piece piece) noexcept {
  const bool unreserved = is_class(c, chars::kDigit) || (is_letter(c)) || c == '-' || c == '.' || c == '~';
  if (unreserved) return true;
  constexpr std::string_view sub_delims = "!$&'()*+,;=";
  const bool pchar = c == ':' || c == '@' || sub_delims.find(c) != std::string_view::npos;
  switch (piece) {
    case Piece::component: return false;
    case Piece::path: return pchar || c == '/';
    case Piece::query: return pchar || c == '/' || c == '?' || c == '%';
    case Piece::authority: return pchar || c == '[' || c == ']' || c == '%';
  }
  return false;
}

Piece piece_of(std::uint8_t id) noexcept {
  switch (static_cast<Variable>(id)) {
    case Variable::path:
    case Variable::rest: return Piece::path;
    case Variable::query: return Piece::query;
    case Variable::host:
    case Variable::client: return Piece::authority;
    case Variable::method:
    case Variable::scheme:
    case Variable::request_id:
    case Variable::header: break;
  }
  return Piece::component;
}

void escape_html(char c, std::string& out) {
  switch (c) {
    case '&': out += "&amp;"; return;
    case '<': out += "&lt;"; return;
    case '>': out += "&gt;"; return;
    case '"': out += "&quot;"; return;
    case '\'': out += "&#39;"; return;
    default: out += c;
  }
}

void escape_json(char c, std::string& out) {
  if (c == '"' || c == '\\') {
    out += {'\\', c};
  } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\u00";
    out += {kHexDigits[byte >> 4U], kHexDigits[byte & 15U]};
  } else {
    out += c;
  }
}

void escape_log(char c, std::string& out) {
  if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
    out += c;
    return;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += {'\\', 'x', kHexDigits[byte >> 4U], kHexDigits[byte & 15U]};
}

void append(std::string_view value, std::uint8_t id, Form form, std::string& out) {
  const Piece piece = piece_of(id);
  for (const char c : value) {
    switch (form) {
      case Form::location: stands_in_uri(c, piece) ? out.push_back(c) : percent(c, out); break;
      case Form::field: is_class(c, chars::kValue) ? out.push_back(c) : percent(c, out); break;
      case Form::text: out += c; break;
      case Form::html: escape_html(c, out); break;
      case Form::json: escape_json(c, out); break;
      case Form::log: escape_log(c, out); break;
    }
  }
}

}  // namespace

std::span<const VariableName> request_variables() noexcept { return kRequest; }

Form form_for(std::string_view content_type) noexcept {
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  const auto ends_lower = [&](std::string_view end) {
    return type.size() >= end.size() && equals_lower(type.substr(type.size() - end.size()), end);
  };
  if (ends_lower("/html") || ends_lower("/xml") || ends_lower("+xml")) return Form::html;
  if (ends_lower("/json") || ends_lower("+json") || ends_lower("/javascript")) return Form::json;
  return Form::text;
}

Result<Template> Template::parse(std::string_view text, std::string* why, std::size_t* at,
                                 std::span<const VariableName> names) {
  std::size_t i = 0;
  const auto refuse = [&](std::string sentence) {
    if (why != nullptr) *why = std::move(sentence);
    if (at != nullptr) *at = i;
    return fail(std::errc::invalid_argument);
  };
  if (text.size() > kMaxText) return refuse("longer than " + std::to_string(kMaxText) + " bytes");
  Template made;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) made.parts_.push_back({kLiteral, std::exchange(literal, {})});
  };
  while (i < text.size()) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '$' || (next != '$' && next != '{' && !is_letter(next))) {
      literal += text[i++];
      continue;
    }
    if (next == '$') {
      literal += '$';
      i += 2;
      continue;
    }
    if (next != '{') {
      std::size_t end = i + 1;
      while (end < text.size() && (is_letter(text[end]) || is_class(text[end], chars::kDigit))) ++end;
      const std::string_view name = text.substr(i + 1, end - i - 1);
      const std::string written = "$" + std::string(name.substr(0, 80));
      if (find_name(name, names) != nullptr)
        return refuse("variables are written in braces: ${" + std::string(name) + "} for " + written +
                      ", and $$ for a dollar sign");
      return refuse(unknown_variable(written, name, names) + " A dollar sign alone is $$");
    }
    const std::size_t close = text.find('}', i);
    if (close == std::string_view::npos) return refuse("'${' without its '}'; a dollar sign alone is $$");
    const std::string_view name = text.substr(i + 2, close - i - 2);
    const std::string_view written = text.substr(i, close + 1 - i);
    const VariableName* const known = find_name(name, names);
    if (known == nullptr) {
      const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
      const bool upper =
          !name.empty() && is_letter(name[0]) && std::none_of(name.begin(), name.end(), is_lower) && is_token(name);
      if (upper)
        return refuse(
            std::string(written.substr(0, 80)) +
            " is an environment variable, which cannot stand here: variables of the request are in lower case");
      return refuse(unknown_variable(written, name, names));
    }
    std::string argument;
    if (known->name.ends_with('.')) {
      argument = name.substr(known->name.size());
      if (!is_token(argument))
        return refuse("behind ${" + std::string(known->name) + " a field's name is expected, such as " + "${" +
                      std::string(known->name) + "User-Agent}");
    }
    if (++made.variables_ > kMaxVariables) return refuse("more than " + std::to_string(kMaxVariables) + " variables");
    end_literal();
    made.parts_.push_back({known->id, std::move(argument)});
    i = close + 1;
  }
  end_literal();
  return made;
}

bool Template::uses(std::uint8_t id) const noexcept {
  return std::any_of(parts_.begin(), parts_.end(), [id](const Part& p) { return p.id == id && id != kLiteral; });
}

Result<void> Template::render(VariableSource& source, Form form, std::string& out, std::size_t most) const {
  for (const Part& part : parts_) {
    if (part.id == kLiteral) {
      out += part.text;
    } else {
      const std::string_view value = source.value(part.id, part.text);
      if (value.size() > most) return fail(std::errc::message_size);
      append(value, part.id, form, out);
    }
    if (out.size() > most) return fail(std::errc::message_size);
  }
  return {};
}

Result<void> check_location(const Template& location, std::string* why) {
  const auto refuse = [&](std::string sentence) -> Result<void> {
    if (why != nullptr) *why = std::move(sentence);
    return fail(std::errc::invalid_argument);
  };
  // The text up to the end of the authority, with \1 for ${host} and ${scheme}, \2 for ${path} and \3 for the others.
  std::string shape;
  for (const Template::Part& part : location.parts_) {
    if (part.id == Template::kLiteral) {
      const auto in_uri = [](char c) { return is_class(c, chars::kTarget) || c == '#'; };
      if (!std::all_of(part.text.begin(), part.text.end(), in_uri))
        return refuse("a location holds the characters of a URI alone: write others as %20, %5C, %C3%A4");
      shape += part.text;
      continue;
    }
    const auto variable = static_cast<Variable>(part.id);
    const bool harmless = variable == Variable::host || variable == Variable::scheme;
    shape += harmless ? '\1' : variable == Variable::path ? '\2' : '\3';
  }
  constexpr std::string_view kForm = "a location begins with '/', with ${path}, or with a scheme and a host";
  const std::size_t first = std::min(shape.find_first_of("/?#\2"), shape.size());
  const std::size_t colon = std::min(shape.find(':'), shape.size());
  std::size_t begin = 0;
  if (colon < first) {
    if (shape.compare(colon, 3, "://") != 0) return refuse(std::string(kForm));
    if (shape.substr(0, colon).find('\3') != std::string::npos)
      return refuse("only ${scheme} may stand for a location's scheme");
    begin = colon + 3;
  } else if (shape.starts_with("//")) {
    begin = 2;
  } else {
    // Relative: no value may make it absolute ("http${rest}" becomes "http:/evil.example"), and none may make two
    // slashes of its first one: "${path}" begins with a slash and may be that alone, others may be empty.
    if (shape.find_first_of("\1\3") < first) return refuse(std::string(kForm));
    std::size_t second = 1;
    while (second < shape.size() && shape[second] == '\3') ++second;
    const bool rooted = shape.starts_with('/') || shape.starts_with('\2');
    if (rooted && second < shape.size() && (shape[second] == '/' || shape[second] == '\2'))
      return refuse(
          "its first two slashes may come to stand side by side, which would lead to another host: ${path} "
          "begins with a slash, and other variables may be empty");
    return {};
  }
  // "\2" begins with '/', so the authority ends there.
  const std::size_t end = std::min(shape.find_first_of("/?#\2", begin), shape.size());
  if (end == begin) return refuse("the location's host is missing");
  if (shape.substr(begin, end - begin).find('\3') != std::string::npos)
    return refuse("where the location's host is, only ${host} may stand: put a '/' before the other variable");
  return {};
}

}  // namespace fiberd::http
