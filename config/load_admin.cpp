#include "config/load_admin.hpp"

#include <algorithm>
#include <string_view>

#include "config/addresses.hpp"
#include "config/load_http.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

namespace {

/// 127.0.0.0/8 and ::1.
bool is_loopback(const Address& address) noexcept {
  if (address.family == Address::Family::ipv4) return address.bytes[0] == 127;
  return address.family == Address::Family::ipv6 && address.bytes.back() == 1 &&
         std::all_of(address.bytes.begin(), address.bytes.end() - 1, [](unsigned char b) { return b == 0; });
}

void check_who_may_ask(const Reader& admin, const AdminConfig& c, const Address& address) {
  if (!c.token_file.empty() || !needs_token(address, c.mode)) return;
  if (address.family == Address::Family::unix_socket) {
    admin.report("mode", "lets everybody of this machine ask: that needs admin.token_file, or a mode like 0660");
  } else {
    admin.report("address",
                 c.address +
                     " is reached from other machines: that needs admin.token_file; for /metrics, /healthz and /readyz "
                     "alone there is metrics.address");
  }
}

}  // namespace

bool needs_token(const Address& address, std::uint32_t mode) noexcept {
  static constexpr std::uint32_t kAllMayWrite = 0002;  // which is what connecting to a socket needs
  return address.family == Address::Family::unix_socket ? (mode & kAllMayWrite) != 0 : !is_loopback(address);
}

AdminConfig read_admin(const Reader& admin) {
  AdminConfig c;
  c.address = admin.text("address");
  c.address_at = admin.place("address");
  c.by_default = !admin.has("address");
  c.mode = static_cast<std::uint32_t>(admin.number("mode"));
  c.owner = admin.text("owner");
  c.owner_at = admin.place("owner");
  c.hosts = read_hosts(admin);
  c.token_file = admin.text("token_file");
  c.token_file_at = admin.place("token_file");
  Address address;
  const bool off = c.address == "off";
  if (off) {
    c.address.clear();
  } else if (const std::string wrong = parse_address(c.address, address); !wrong.empty()) {
    admin.report("address", wrong + ", or off");
  } else {
    check_who_may_ask(admin, c, address);
  }
  for (const std::string_view key : {std::string_view("mode"), std::string_view("owner")})
    if (admin.has(key) && !c.address.starts_with("unix:")) admin.report(key, "is for unix: addresses only");
  for (const std::string_view key : {std::string_view("hosts"), std::string_view("token_file")})
    if (admin.has(key) && off) admin.report(key, "is for an address, and there is none: address is off");
  if (!c.hosts.empty() && c.address.starts_with("unix:"))
    admin.report("hosts", "is not for unix: addresses, which answer whatever the Host");
  if (const std::string wrong = check_file_path(c.token_file); !c.token_file.empty() && !wrong.empty())
    admin.report("token_file", wrong);
  else if (const std::string_view variable = find_variable(c.token_file); !variable.empty())
    admin.report("token_file", unknown_variable(variable, "write the path itself"));
  return c;
}

MetricsConfig read_metrics(const Reader& metrics) {
  MetricsConfig c;
  const PlacedTexts written = metrics.placed("address");
  for (std::size_t i = 0; i < written.texts.size(); ++i) {
    const std::string& text = written.texts[i];
    Address address;
    const std::string wrong = text.empty() ? "is empty" : parse_address(text, address);
    if (!wrong.empty())
      metrics.report("address", i, wrong);
    else if (address.family == Address::Family::unix_socket)
      metrics.report("address", i, "is for those who ask over TCP; admin.address may be a Unix socket");
    else
      c.addresses.push_back({.text = text, .at = written.at[i]});
  }
  if (metrics.has("address") && written.texts.empty()) metrics.report("address", "is empty: leave it out, or name one");
  return c;
}

}  // namespace fiberd::config
