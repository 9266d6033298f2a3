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

bool is_reg_name(std::string_view name) noexcept {
  if (name.empty()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (is_class(name[i], chars::kRegName)) continue;
    if (name[i] != '%' || name.size() - i < 3 || hex_value(name[i + 1]) < 0 || hex_value(name[i + 2]) < 0) return false;
    i += 2;
  }
  return true;
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
  const std::string_view host = host_without_port(authority);
  const std::string_view rest = authority.substr(host.size());
  if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return false;
  if (host.size() >= 2 && host.front() == '[') {
    return host.back() == ']' && is_ipv6(host.substr(1, host.size() - 2));
  }
  return is_reg_name(host);
}

bool is_valid_connect_target(std::string_view authority) noexcept {
  const std::string_view host = host_without_port(authority);
  return is_valid_authority(authority) && authority.size() > host.size() + 1;
}

}  // namespace fiberd::http
