#include "config/urls.hpp"

#include <algorithm>

#include "config/addresses.hpp"
#include "config/text_rules.hpp"
#include "core/base/host_port.hpp"

namespace fiberd::config {

std::string check_host_port(std::string_view text, bool port_required) {
  HostPort parts;
  const HostPortError error = split_host_port(text, parts);
  if (error == HostPortError::open_bracket) return "a bracket is missing";
  if (error == HostPortError::behind_bracket) return "a port follows the bracket";
  if (!parts.has_port && port_required) return "no port; write host:port";
  const std::string_view host = parts.written_host();
  if (host.empty()) return "no host";
  if (const std::string_view variable = find_variable(host); !variable.empty())
    return unknown_variable(variable, "write the host itself");
  if (parts.brackets) {
    Address address;
    if (!parse_address(std::string(host) + ":1", address).empty())
      return "\"" + std::string(host) + "\" is not an IPv6 address";
  } else if (error == HostPortError::bare_colons) {
    return "an IPv6 address stands in brackets";
  } else if (!std::all_of(host.begin(), host.end(), is_host_character)) {
    return "\"" + std::string(host) + "\" is not a host name";
  }
  if (parts.has_port && parse_port(parts.port).value_or(0) == 0)
    return "\"" + std::string(parts.port) + "\" is not a port (1 … 65535)";
  return "";
}

std::string check_http_url(std::string_view text) {
  static constexpr std::string_view kHttp = "http://";
  static constexpr std::string_view kHttps = "https://";
  const bool secure = text.starts_with(kHttps);
  if (!secure && !text.starts_with(kHttp)) return "must begin with http:// or https://";
  text.remove_prefix((secure ? kHttps : kHttp).size());
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos)
    return "has no path; write " + std::string(secure ? kHttps : kHttp) + "host:port/path";
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!printable || text.find('#') != std::string_view::npos) return "blanks, control characters and # are not allowed";
  if (text.find_first_of("\"<>\\") != std::string_view::npos)
    return "\", <, > and \\ are no characters of a URL: write %22, %3C, %3E and %5C";
  if (const std::string_view variable = find_variable(text.substr(slash)); !variable.empty())
    return unknown_variable(variable, "write the path itself (a $ that is meant is %24)");
  if (text.substr(0, slash).find('@') != std::string_view::npos)
    return "a user and a password before the host are sent to nobody: leave them out";
  return check_host_port(text.substr(0, slash), false);
}

}  // namespace fiberd::config
