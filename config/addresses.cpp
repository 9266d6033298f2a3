#include "config/addresses.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "config/text_rules.hpp"
#include "core/base/host_port.hpp"

namespace fiberd::config {

namespace {

using Family = Address::Family;

std::string parse_unix(std::string_view path, Address& out) {
  static constexpr std::size_t kMaxPath = 107;
  if (path.empty()) return "unix: needs a path, e.g. unix:/run/fiberd/web.sock";
  if (path.size() > kMaxPath) return "a Unix socket's path has at most " + std::to_string(kMaxPath) + " bytes";
  if (std::string wrong = check_file_path(path); !wrong.empty()) return wrong;
  if (path.back() == '/') return "a Unix socket's path ends in the name of a file";
  if (const std::string_view variable = find_variable(path); !variable.empty())
    return unknown_variable(variable, "write the path itself");
  out.family = Family::unix_socket;
  out.path = path;
  return "";
}

/// Asked of the same function that run asks: a grammar of our own would say ok to what cannot be bound.
bool parse_host(const std::string& host, Address& out) {
  if (host.find('\0') != std::string::npos) return false;
  if (host.empty() || ::inet_pton(AF_INET, host.c_str(), out.bytes.data()) == 1) {
    out.family = Family::ipv4;
    return true;
  }
  in6_addr address{};
  if (host.size() <= 2 || host.front() != '[' || host.back() != ']' ||
      ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &address) != 1)
    return false;
  out.mapped = IN6_IS_ADDR_V4MAPPED(&address) != 0;
  out.family = out.mapped ? Family::ipv4 : Family::ipv6;
  if (out.mapped)
    std::memcpy(out.bytes.data(), &address.s6_addr[12], 4);
  else
    std::memcpy(out.bytes.data(), &address, out.bytes.size());
  return true;
}

}  // namespace

std::string parse_address(std::string_view text, Address& out) {
  static constexpr std::string_view kUnix = "unix:";
  out = {};
  if (text.starts_with(kUnix)) return parse_unix(text.substr(kUnix.size()), out);
  const std::string example = "; write 0.0.0.0:8080, [::]:8080 or unix:/path";
  HostPort parts;
  const HostPortError error = split_host_port(text, parts);
  if (!parts.has_port) return "no port" + example;
  const std::optional<std::uint16_t> port = parse_port(parts.port);
  if (!port) return "\"" + std::string(parts.port) + "\" is not a port (0 … 65535)" + example;
  out.port = *port;
  const std::string host(parts.written_host());
  if (error == HostPortError::none && parse_host(host, out)) return "";
  in6_addr address{};
  if (host.find('\0') == std::string::npos && ::inet_pton(AF_INET6, host.c_str(), &address) == 1)
    return "an IPv6 address stands in brackets: [" + host + "]:" + std::string(parts.port);
  return "\"" + host + "\" is not a numeric address" + example;
}

std::string check_address(std::string_view text) {
  Address ignored;
  return parse_address(text, ignored);
}

std::string normal_socket_path(std::string_view path) {
  std::error_code no_directory;
  const std::filesystem::path whole = std::filesystem::absolute(path, no_directory);
  return (no_directory ? std::filesystem::path(path) : whole).lexically_normal().string();
}

std::string check_range(std::string_view text) {
  if (text == "unix:") return "";
  std::string no =
      "\"" + std::string(text) + "\" is not a range of addresses like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.1";
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  std::array<unsigned char, 16> bytes{};
  if (host.find('\0') != std::string::npos) return no;
  const bool six = host.find(':') != std::string::npos;
  if (::inet_pton(six ? AF_INET6 : AF_INET, host.c_str(), bytes.data()) != 1) return no;
  if (slash == std::string_view::npos) return "";
  const std::string_view digits = text.substr(slash + 1);
  const unsigned most = six ? 128 : 32;
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc{} || end != digits.data() + digits.size() || bits > most)
    return no + ": behind the / stand 0 … " + std::to_string(most) + " bits";
  static constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (six && bits < 96 && std::equal(kMapped.begin(), kMapped.end(), bytes.begin()))
    return "\"" + std::string(text) + "\" is half IPv4: write the IPv4 range";
  for (unsigned bit = bits; bit < most; ++bit)
    if ((bytes[bit / 8] >> (7 - bit % 8) & 1) != 0)
      return "\"" + std::string(text) +
             "\" has bits behind the prefix: write the range's first address, or leave out "
             "the prefix for one address";
  return "";
}

PlacedTexts read_ranges(const Reader& r, std::string_view key) {
  PlacedTexts ranges = r.placed(key);
  for (std::size_t i = 0; i < ranges.texts.size(); ++i)
    if (const std::string wrong = check_range(ranges.texts[i]); !wrong.empty()) r.report(key, i, wrong);
  return ranges;
}

namespace {

struct Use {
  std::string text;
  std::string who;
  const Place* at;
  bool* ipv6_only;
  bool tcp = true;
  bool udp = false;
  Address address{};

  [[nodiscard]] bool shares(const Use& o) const { return (tcp && o.tcp) || (udp && o.udp); }
  [[nodiscard]] bool within(const Use& o) const { return (!tcp || o.tcp) && (!udp || o.udp); }
  [[nodiscard]] bool every(Family family) const { return address.family == family && address.any(); }
  [[nodiscard]] bool is_unix() const { return address.family == Family::unix_socket; }
};

std::vector<Use> all_uses(Config& config) {
  std::vector<Use> uses;
  const auto add = [&](Use use) {
    if (use.text.empty() || !parse_address(use.text, use.address).empty()) return;  // reported when it was read
    if (!use.is_unix() && use.address.port == 0) return;
    uses.push_back(std::move(use));
  };
  add({.text = config.admin.address,
       .who = "admin",
       .at = &config.admin.address_at,
       .ipv6_only = &config.admin.ipv6_only});
  for (ListenAddress& address : config.metrics.addresses)
    add({.text = address.text, .who = "metrics", .at = &address.at, .ipv6_only = &address.ipv6_only});
  for (ListenerConfig& l : config.listeners) {
    for (ListenAddress& address : l.addresses) {
      const std::size_t of = address.at.key.rfind('.');  // of listeners[0].address, or listeners[0].address[1]
      Use use{.text = address.text,
              .who = address.at.key.substr(0, of),
              .at = &address.at,
              .ipv6_only = &address.ipv6_only};
      if (const auto* const aggregate = std::get_if<AggregateConfig>(&l.service)) {
        use.tcp = aggregate->protocol != AggregateProtocol::udp;
        use.udp = aggregate->protocol != AggregateProtocol::tcp;
      }
      add(std::move(use));
    }
  }
  return uses;
}

/// Why `b` cannot be bound when `a` is; empty: it can.
std::string clash(const Use& a, const Use& b) {
  if (!a.shares(b)) return "";
  if (a.is_unix() || b.is_unix()) {
    const auto normal = [](const Use& use) { return normal_socket_path(use.address.path); };
    return a.is_unix() && b.is_unix() && normal(a) == normal(b) ? "the same path" : "";
  }
  if (a.address.port != b.address.port) return "";
  const auto every = [](const Use& use, const char* what) { return use.text + " is every " + what + " address"; };
  if (a.address.family == b.address.family) {
    if (a.address.bytes == b.address.bytes) return "the same address";
    const char* const what = a.address.family == Family::ipv4 ? "IPv4" : "IPv6";
    return a.address.any() ? every(a, what) : b.address.any() ? every(b, what) : "";
  }
  const Use& six = a.address.family == Family::ipv6 ? a : b;
  const Use& four = &six == &a ? b : a;
  if (!six.address.any() || *six.ipv6_only) return "";
  if (four.address.any()) return six.text + " takes IPv4, too, and " + four.text + " has it for one protocol only";
  return six.text + " takes IPv4, too, unless a listener has all of it at 0.0.0.0:" + std::to_string(six.address.port);
}

}  // namespace

void settle_addresses(Config& config, std::vector<Diagnostic>& diagnostics) {
  const std::vector<Use> uses = all_uses(config);
  for (const Use& six : uses)
    *six.ipv6_only = six.every(Family::ipv6) && std::any_of(uses.begin(), uses.end(), [&](const Use& four) {
                       return four.every(Family::ipv4) && four.address.port == six.address.port && six.within(four);
                     });
  for (std::size_t j = 1; j < uses.size(); ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      const std::string why = clash(uses[i], uses[j]);
      if (why.empty()) continue;
      const bool default_admin = uses[i].who == "admin" && config.admin.by_default;
      diagnostics.push_back(
          diagnostic_at(*uses[j].at, uses[j].text + " cannot be bound beside " + uses[i].text + ", used by " +
                                         uses[i].who + " already: " + why +
                                         (default_admin       ? "; set admin.address, to off or another port"
                                          : uses[j].is_unix() ? "; use another path"
                                                              : "; use another port")));
      break;
    }
  }
  for (ListenerConfig& l : config.listeners)
    if (!l.addresses.empty()) l.ipv6_only = l.addresses.front().ipv6_only;
}

}  // namespace fiberd::config
