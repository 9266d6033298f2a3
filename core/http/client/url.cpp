#include "core/http/client/url.hpp"

#include <algorithm>

#include "core/base/host_port.hpp"
#include "core/http/characters.hpp"
#include "core/http/client/errc.hpp"
#include "core/http/host.hpp"

namespace fiberd::http {

static bool starts_lower(std::string_view text, std::string_view lower) noexcept {
  return text.size() >= lower.size() && equals_lower(text.substr(0, lower.size()), lower);
}

Result<ClientUrl> parse_client_url(std::string_view text) noexcept {
  static constexpr std::string_view kHttp = "http://";
  static constexpr std::string_view kHttps = "https://";
  ClientUrl url;
  url.secure = starts_lower(text, kHttps);
  if (!url.secure && !starts_lower(text, kHttp)) return fail(client_errc::bad_url);
  text.remove_prefix((url.secure ? kHttps : kHttp).size());
  text = text.substr(0, text.find('#'));
  const std::size_t end = std::min(text.find_first_of("/?"), text.size());
  if (url.secure) url.port = 443;
  url.authority = text.substr(0, end);
  url.target = text.substr(end);
  if (!is_valid_authority(url.authority)) return fail(client_errc::bad_url);
  if (!std::all_of(url.target.begin(), url.target.end(), [](char c) { return is_class(c, chars::kTarget); }))
    return fail(client_errc::bad_url);
  url.host = host_without_port(url.authority);
  const std::string_view port = url.authority.substr(url.host.size());
  if (port.size() > 1) url.port = parse_port(port.substr(1)).value_or(0);
  if (url.port == 0) return fail(client_errc::bad_url);
  if (url.host.starts_with('[')) url.host = url.host.substr(1, url.host.size() - 2);
  return url;
}

}  // namespace fiberd::http
