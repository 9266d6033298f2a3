#include "core/base/variable_names.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/text.hpp"

namespace fiberd {
namespace {

constexpr std::uint8_t id_of(RequestVariable variable) noexcept { return static_cast<std::uint8_t>(variable); }

constexpr std::array<VariableName, 16> kRequest = {{
    {"host", id_of(RequestVariable::host)},
    {"path", id_of(RequestVariable::path)},
    {"rest", id_of(RequestVariable::rest)},
    {"query", id_of(RequestVariable::query)},
    {"method", id_of(RequestVariable::method)},
    {"scheme", id_of(RequestVariable::scheme)},
    {"client", id_of(RequestVariable::client)},
    {"request_id", id_of(RequestVariable::request_id)},
    {"header.", id_of(RequestVariable::header)},
    {"tls_version", id_of(RequestVariable::tls_version)},
    {"tls_cipher", id_of(RequestVariable::tls_cipher)},
    {"tls_server_name", id_of(RequestVariable::tls_server_name)},
    {"client_cert_verified", id_of(RequestVariable::client_cert_verified)},
    {"client_cert_subject", id_of(RequestVariable::client_cert_subject)},
    {"client_cert_names", id_of(RequestVariable::client_cert_names)},
    {"client_cert_fingerprint", id_of(RequestVariable::client_cert_fingerprint)},
}};

struct Foreign {
  std::string_view theirs;
  std::string_view ours;
};
// What nginx and Caddy call them. Of several with the same name the first that the table has.
constexpr std::array<Foreign, 37> kForeign = {{
    {"uri", "path"},
    {"document_uri", "path"},
    {"request_uri", "target"},
    {"request_uri", "path}${query"},
    {"args", "query"},
    {"query_string", "query"},
    {"is_args", "query"},
    {"remote_addr", "client"},
    {"realip_remote_addr", "client"},
    {"remote", "client"},
    {"remote_host", "client"},
    {"request_method", "method"},
    {"server_name", "host"},
    {"http_host", "host"},
    {"hostname", "host"},
    {"server_protocol", "protocol"},
    {"server_protocol", "scheme"},
    {"requestid", "request_id"},
    {"http_user_agent", "user_agent"},
    {"http_user_agent", "header.User-Agent"},
    {"http_referer", "referer"},
    {"http_referer", "header.Referer"},
    {"body_bytes_sent", "bytes_out"},
    {"bytes_sent", "bytes_out"},
    {"request_length", "bytes_in"},
    {"request_time", "duration"},
    {"upstream_header_time", "time_to_head"},
    {"time_local", "time"},
    {"time_iso8601", "time"},
    {"msec", "time"},
    {"ssl_protocol", "tls_version"},
    {"ssl_cipher", "tls_cipher"},
    {"ssl_server_name", "tls_server_name"},
    {"ssl_client_verify", "client_cert_verified"},
    {"ssl_client_s_dn", "client_cert_subject"},
    {"ssl_client_fingerprint", "client_cert_fingerprint"},
    {"tls_client_subject", "client_cert_subject"},
}};

constexpr bool begins_name(char c) noexcept { return ascii::is_alpha(c) || c == '_'; }

const VariableName* find_name(std::string_view name, std::span<const VariableName> names) noexcept {
  for (const VariableName& n : names) {
    const bool prefix = n.name.ends_with('.');
    if (prefix ? name.starts_with(n.name) : name == n.name) return &n;
  }
  return nullptr;
}

std::string spelled(std::string_view name) { return "${" + std::string(name) + (name.ends_with('.') ? "NAME}" : "}"); }

std::string all_names(std::span<const VariableName> names) {
  std::string all;
  for (const VariableName& n : names) all += (all.empty() ? "" : ", ") + spelled(n.name);
  return all;
}

/// A name as it is told back: no more than a line of it.
std::string shown(std::string_view written) { return std::string(written.substr(0, 80)); }

std::string unknown(std::string_view written, std::string_view name, std::span<const VariableName> names) {
  const std::string near = nearest_variable(name, names);
  return "there is no variable " + shown(written) +
         (near.empty() ? "; there are " + all_names(names) : "; did you mean " + near + "?");
}

}  // namespace

std::span<const VariableName> request_variables() noexcept { return kRequest; }

std::string nearest_variable(std::string_view name, std::span<const VariableName> names) {
  const std::string lower = ascii::lower(name.substr(0, 64));
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
    const std::string_view wanted = std::string_view(lower).substr(0, lower.find('.'));
    const std::size_t d = edit_distance(wanted, n.name.substr(0, n.name.find('.')));
    if (d < least) {
      best = &n;
      least = d;
    }
  }
  return best == nullptr ? std::string() : spelled(best->name);
}

void add_complaint(std::string& all, const std::string& what) {
  static constexpr std::size_t kLine = 1024;
  static constexpr std::string_view kMore = "; and more";
  if (all.find(what) != std::string::npos || all.ends_with(kMore)) return;
  if (all.size() >= kLine) {
    all += kMore;
    return;
  }
  if (!all.empty()) all += "; also, ";
  all += what;
}

std::string parse_template(std::string_view text, std::span<const VariableName> names,
                           std::vector<TemplatePart>& parts) {
  if (text.size() > kMaxTemplate) return "is longer than " + std::to_string(kMaxTemplate) + " bytes";
  std::string literal;
  std::string wrong;
  std::size_t variables = 0;
  const auto refuse = [&wrong](const std::string& what) { add_complaint(wrong, what); };
  const auto end_literal = [&] {
    if (!literal.empty()) parts.push_back({TemplatePart::kLiteral, std::exchange(literal, {})});
  };
  for (std::size_t i = 0; i < text.size();) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '$' || (next != '$' && next != '{' && !begins_name(next))) {
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
      while (end < text.size() && (begins_name(text[end]) || ascii::is_digit(text[end]))) ++end;
      const std::string_view name = text.substr(i + 1, end - i - 1);
      refuse(find_name(name, names) != nullptr
                 ? "a variable is written in braces: " + spelled(shown(name)) + "; a $ that is meant is $$"
                 : unknown("$" + std::string(name), name, names) + " A $ that is meant is $$");
      i = end;
      continue;
    }
    const std::size_t close = text.find('}', i);
    if (close == std::string_view::npos) {
      refuse("${ without its }; a $ that is meant is $$");
      break;
    }
    const std::string_view name = text.substr(i + 2, close - i - 2);
    const VariableName* const known = find_name(name, names);
    const std::string_view written = text.substr(i, close + 1 - i);
    i = close + 1;
    if (known == nullptr) {
      refuse(unknown(written, name, names));
      continue;
    }
    std::string argument;
    if (known->name.ends_with('.')) {
      argument = name.substr(known->name.size());
      if (!ascii::is_token(argument) || argument.size() > 128) {
        refuse(shown(written) + ": behind the dot the name of a field is expected");
        continue;
      }
    }
    if (++variables > kMaxVariables) {
      refuse("has more than " + std::to_string(kMaxVariables) + " variables");
      break;
    }
    end_literal();
    parts.push_back({known->id, std::move(argument)});
  }
  end_literal();
  return wrong;
}

std::string check_location(std::span<const TemplatePart> location) {
  static constexpr std::string_view kForm = "a location begins with /, with ${path}, or with a scheme and a host";
  // What may stand in a URI; a backslash is a slash to browsers.
  const auto in_uri = [](char c) {
    return c > 0x20 && c < 0x7f && std::string_view("\"<>\\").find(c) == std::string_view::npos;
  };
  // Each variable as one byte: \1 for ${host} and ${scheme}, \2 for ${path} and \3 for the others.
  std::string shape;
  for (const TemplatePart& part : location) {
    if (part.id == TemplatePart::kLiteral) {
      if (!std::all_of(part.text.begin(), part.text.end(), in_uri))
        return "a location holds the characters of a URI alone: others are written as %20, %5C, %C3%A4";
      shape += part.text;
      continue;
    }
    const auto variable = static_cast<RequestVariable>(part.id);
    const bool harmless = variable == RequestVariable::host || variable == RequestVariable::scheme;
    shape += harmless ? '\1' : variable == RequestVariable::path ? '\2' : '\3';
  }
  const std::size_t first = std::min(shape.find_first_of("/?#\2"), shape.size());
  const std::size_t colon = std::min(shape.find(':'), shape.size());
  std::size_t begin = 0;
  if (colon < first) {
    if (shape.compare(colon, 3, "://") != 0) return std::string(kForm);
    if (shape.substr(0, colon).find('\3') != std::string::npos)
      return "only ${scheme} may stand for a location's scheme";
    begin = colon + 3;
  } else if (shape.starts_with("//")) {
    begin = 2;
  } else {
    // Relative: no value may make it absolute ("http${rest}" becomes "http:/evil.example"), and none may make two
    // slashes of its first one: "${path}" begins with a slash and may be that alone, others may be empty.
    if (shape.find_first_of("\1\3") < first) return std::string(kForm);
    std::size_t second = 1;
    while (second < shape.size() && shape[second] == '\3') ++second;
    const bool rooted = shape.starts_with('/') || shape.starts_with('\2');
    if (rooted && second < shape.size() && (shape[second] == '/' || shape[second] == '\2'))
      return "the first two slashes of the location may come to stand side by side, which would lead to another host: "
             "${path} begins with one, and other variables may be empty";
    return {};
  }
  // "\2" begins with '/', so the authority ends there.
  const std::size_t end = std::min(shape.find_first_of("/?#\2", begin), shape.size());
  if (end == begin) return "the location's host is missing";
  if (shape.substr(begin, end - begin).find('\3') != std::string::npos)
    return "where a location's host is only ${host} may stand: put a / before the other variable";
  return {};
}

}  // namespace fiberd
