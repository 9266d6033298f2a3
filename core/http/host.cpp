#include "core/http/host.hpp"

#include <arpa/inet.h>

#include <cstddef>
#include <cstring>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

bool is_port(std::string_view digits) noexcept {
  return digits.empty() || (digits.size() <= 5 && parse_port(digits).has_value());
}

bool is_ipv6(std::string_view text) noexcept {
  char copy[INET6_ADDRSTRLEN];
  // inet_pton stops at a NUL, and would not see what stands behind it.
  if (text.empty() || text.size() >= sizeof copy || text.find('\0') != std::string_view::npos) return false;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  in6_addr address;
  return ::inet_pton(AF_INET6, copy, &address) == 1;
}

/// How many bytes at the beginning of `text` are a registered name.
std::size_t reg_name_size(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  const char* p = skip(text.data(), end, chars::kRegName);
  while (end - p >= 3 && *p == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0)
    p = skip(p + 3, end, chars::kRegName);
  return static_cast<std::size_t>(p - text.data());
}

}  // namespace

std::string_view host_name(std::string_view authority) noexcept {
  std::string_view host = host_without_port(authority);
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

bool serves_host(const std::vector<std::string>& hosts, std::string_view authority) noexcept {
  if (hosts.empty()) return true;
  const std::string_view host = host_name(authority);
  for (const std::string& served : hosts) {
    if (equals_lower(host, served)) return true;
    const std::string_view below = std::string_view(served).substr(served.starts_with("*.") ? 1 : 0);
    if (below.size() < served.size() && host.size() > below.size() &&
        equals_lower(host.substr(host.size() - below.size()), below))
      return true;
  }
  return false;
}

bool is_address_host(std::string_view authority) noexcept {
  if (authority.empty()) return true;
  if (!is_valid_authority(authority)) return false;
  const std::string_view host = host_name(authority);
  if (host.starts_with('[')) return true;
  char copy[INET_ADDRSTRLEN];
  if (host.size() >= sizeof copy) return false;
  std::memcpy(copy, host.data(), host.size());
  copy[host.size()] = '\0';
  in_addr address;
  return ::inet_pton(AF_INET, copy, &address) == 1;
}

bool is_valid_authority(std::string_view authority) noexcept {
  // Asked for each request: what is no address in brackets is read once.
  std::size_t host = 0;
  if (authority.starts_with('[')) {
    host = host_without_port(authority).size();
    if (authority[host - 1] != ']' || !is_ipv6(authority.substr(1, host - 2))) return false;
  } else {
    host = reg_name_size(authority);
    if (host == 0) return false;
  }
  return host == authority.size() || (authority[host] == ':' && is_port(authority.substr(host + 1)));
}

bool is_valid_connect_target(std::string_view authority) noexcept {
  const std::string_view host = host_without_port(authority);
  return is_valid_authority(authority) && authority.size() > host.size() + 1;
}

}  // namespace fiberd::http
