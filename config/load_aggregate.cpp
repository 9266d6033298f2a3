#include "config/load_aggregate.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "config/addresses.hpp"
#include "config/load_client_tls.hpp"
#include "config/text_rules.hpp"
#include "config/urls.hpp"
#include "core/base/characters.hpp"
#include "core/base/host_port.hpp"

namespace fiberd::config {

namespace {

std::string check_statsd(std::string_view text) {
  for (const std::string_view scheme : {"udp://", "tcp://"}) {
    if (text.starts_with(scheme)) {
      text.remove_prefix(scheme.size());
      break;
    }
  }
  return check_host_port(text, true);
}

/// Whether what is sent to `statsd` comes back to the listener at `address` that sends it, and is sent again, for ever.
bool is_own(std::string_view statsd, const std::string& address, AggregateProtocol protocol) {
  const bool tcp = statsd.starts_with("tcp://");
  if (tcp || statsd.starts_with("udp://")) statsd.remove_prefix(6);
  if (protocol == (tcp ? AggregateProtocol::udp : AggregateProtocol::tcp)) return false;
  Address own;
  Address to;
  if (!parse_address(address, own).empty() || own.port == 0) return false;
  static constexpr std::string_view kLocal = "localhost";
  const bool local = statsd.starts_with(kLocal) && statsd.substr(kLocal.size()).starts_with(':');
  const std::string numeric = local ? "127.0.0.1" + std::string(statsd.substr(kLocal.size())) : std::string(statsd);
  if (!parse_address(numeric, to).empty() || to.port != own.port) return false;
  if (to.family == own.family && to.bytes == own.bytes) return true;
  static constexpr std::array<unsigned char, 16> kLoopback6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const bool loopback = to.family == Address::Family::ipv4 ? to.bytes[0] == 127 : to.bytes == kLoopback6;
  return loopback && own.any() && (own.family == to.family || own.family == Address::Family::ipv6);
}

void read_percentiles(const Reader& r, AggregateConfig& c) {
  static constexpr std::size_t kMost = 16;
  c.percentiles.clear();
  for (const std::string& text : r.strings("percentiles")) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 1)) {
      r.report("percentiles", "\"" + text + "\" is not a number in 0 … 1");
      continue;
    }
    if (!c.percentiles.empty() && value <= c.percentiles.back().second)
      r.report("percentiles", text + " is not above the one before it");
    c.percentiles.emplace_back(text, value);
  }
  if (c.percentiles.size() > kMost) r.report("percentiles", "at most " + std::to_string(kMost) + " are allowed");
}

}  // namespace

AggregateConfig read_aggregate(const Reader& r, const Reader& listener, const ListenerConfig& so_far) {
  AggregateConfig c;
  c.protocol = static_cast<AggregateProtocol>(r.choice("protocol"));
  c.series = r.number("series");
  c.set_members = r.number("set_members");
  c.flush_interval = r.duration("flush_interval");
  c.expire = r.duration("expire");
  read_percentiles(r, c);
  c.line_size = r.number("line_size");
  c.receive_buffer = r.number("receive_buffer");
  (void)r.list("flush", [&](Reader& item) {
    AggregateFlush f{.statsd = item.text("statsd"), .prometheus = item.text("prometheus")};
    if (item.has("statsd") == item.has("prometheus")) {
      item.report("", "needs exactly one of statsd, prometheus");
    } else if (item.has("statsd")) {
      if (const std::string wrong = check_statsd(f.statsd); !wrong.empty())
        item.report("statsd", wrong);
      else if (std::any_of(so_far.addresses.begin(), so_far.addresses.end(),
                           [&](const ListenAddress& a) { return is_own(f.statsd, a.text, c.protocol); }))
        item.report("statsd", f.statsd + " is this listener itself: what it sends would come back");
    } else if (const std::string wrong = check_http_url(f.prometheus); !wrong.empty()) {
      item.report("prometheus", wrong);
    }
    f.tls = read_client_tls(item.section("tls"), f.prometheus, "prometheus");
    c.flush.push_back(std::move(f));
  });
  c.idle_timeout = r.section("timeouts").duration("idle");
  const Reader l = r.section("limits");
  c.connections = l.number("connections");
  c.connections_per_address = l.number("connections_per_address");
  const auto is_unix = [](const ListenAddress& a) { return a.text.starts_with("unix:"); };
  const bool any_unix = std::any_of(so_far.addresses.begin(), so_far.addresses.end(), is_unix);
  const bool all_unix = any_unix && std::all_of(so_far.addresses.begin(), so_far.addresses.end(), is_unix);
  if (any_unix && c.protocol != AggregateProtocol::tcp) r.report("protocol", "a unix: address takes tcp only");
  for (const std::string_view key :
       {std::string_view("backlog"), std::string_view("defer_accept"), std::string_view("keepalive")})
    if (listener.has(key) && c.protocol == AggregateProtocol::udp)
      listener.report(key, "is for tcp, and aggregate.protocol is udp");
  for (const std::string_view key : {std::string_view("timeouts"), std::string_view("limits")})
    if (r.has(key) && c.protocol == AggregateProtocol::udp) r.report(key, "is for TCP clients, and protocol is udp");
  if (r.has("receive_buffer") && c.protocol == AggregateProtocol::tcp)
    r.report("receive_buffer", "is of the UDP socket, and protocol is tcp");
  if (all_unix && so_far.proxy_protocol == ProxyProtocol::off && c.connections_per_address != 0)
    l.report("connections_per_address", "is not for unix: addresses, whose clients have none");
  if (so_far.reuseport && c.protocol != AggregateProtocol::tcp)
    listener.report("reuseport", "is for tcp; set aggregate.protocol: tcp");
  // Its name is part of a path of the admin listener.
  if (!std::all_of(so_far.name.begin(), so_far.name.end(), is_host_character))
    listener.report("name", "of an aggregate listener has letters, digits, _ . - only");
  return c;
}

}  // namespace fiberd::config
