// What all listeners have, and those of plain TCP.
#include "config/load_listener.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "config/addresses.hpp"
#include "config/load_aggregate.hpp"
#include "config/load_flow.hpp"
#include "config/load_http.hpp"
#include "config/load_tls.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

namespace {

KeepAliveConfig read_keep_alive(const Reader& r) {
  KeepAliveConfig k{{}, {}, static_cast<int>(r.number("count"))};
  const auto seconds = [&](const char* key) {
    const std::chrono::nanoseconds time = r.duration(key);
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
    if (whole != time) r.report(key, "must be whole seconds");
    return whole;
  };
  k.idle = seconds("idle");
  k.interval = seconds("interval");
  for (const std::string_view key : {std::string_view("interval"), std::string_view("count")})
    if (r.has(key) && k.idle.count() == 0) r.report(key, "is of probes, and idle: 0s sends none");
  return k;
}

TcpConfig read_tcp(const Reader& tcp, bool nameless) {
  TcpConfig c;
  const bool echo = tcp.has("echo");
  const bool discard = tcp.has("discard");
  const bool handler = tcp.has("handler");
  if (int{echo} + int{discard} + int{handler} != 1) tcp.report("", "needs exactly one of echo, discard, handler");
  if (echo) (void)tcp.section("echo");
  if (discard) (void)tcp.section("discard");
  if (handler) c.handler = read_handler(tcp);
  c.service = handler ? TcpService::handler : discard ? TcpService::discard : TcpService::echo;
  const Reader t = tcp.section("timeouts");
  c.idle_timeout = t.duration("idle");
  c.flow = read_flow(tcp, FlowOf::connections, nameless);
  if (handler && c.idle_timeout.count() != 0) t.report("idle", "is not for handler, which sets deadlines of its own");
  const Reader l = tcp.section("limits");
  c.connections = l.number("connections");
  c.connections_per_address = l.number("connections_per_address");
  if (nameless && c.connections_per_address != 0)
    l.report("connections_per_address", "is not for unix: addresses, whose clients have none");
  return c;
}

void read_addresses(const Reader& l, ListenerConfig& c) {
  const PlacedTexts written = l.placed("address");
  for (std::size_t i = 0; i < written.texts.size(); ++i) {
    const std::string& text = written.texts[i];
    c.addresses.push_back({.text = text, .at = written.at[i]});
    if (const std::string wrong = text.empty() ? "is empty" : check_address(text);
        !wrong.empty() && (!text.empty() || written.texts.size() > 1))
      l.report("address", i, wrong);
  }
  if (c.addresses.empty() || (c.addresses.size() == 1 && c.addresses.front().text.empty()))
    l.report("address", "is required");
  if (c.addresses.empty()) return;
  c.address = c.addresses.front().text;
  c.address_at = c.addresses.front().at;
}

}  // namespace

ListenerConfig read_listener(const Reader& l, const PlacedTexts& trusted_proxies) {
  ListenerConfig c;
  c.name = l.text("name");
  if (c.name.empty()) {
    l.report("name", "is required");
  } else if (!is_token(c.name) || c.name.size() > 64) {
    l.report("name", "must be a word of at most 64 characters");
  } else if (c.name == "admin") {
    l.report("name", "admin is the admin listener's name");
  }
  read_addresses(l, c);
  const auto is_unix_address = [](const ListenAddress& a) { return a.text.starts_with("unix:"); };
  const bool any_unix = std::any_of(c.addresses.begin(), c.addresses.end(), is_unix_address);
  const bool is_unix = any_unix && std::all_of(c.addresses.begin(), c.addresses.end(), is_unix_address);
  for (const std::string_view key : {std::string_view("mode"), std::string_view("owner")})
    if (l.has(key) && !any_unix) l.report(key, "is for unix: addresses only");
  for (const std::string_view key :
       {std::string_view("reuseport"), std::string_view("defer_accept"), std::string_view("keepalive")})
    if (l.has(key) && is_unix) l.report(key, "is not for unix: addresses");
  c.mode = static_cast<std::uint32_t>(l.number("mode"));
  c.owner = l.text("owner");
  c.owner_at = l.place("owner");
  c.reuseport = l.boolean("reuseport");
  if (l.has("defer_accept")) c.defer_accept = l.boolean("defer_accept");
  c.proxy_protocol = static_cast<ProxyProtocol>(l.choice("proxy_protocol"));
  c.backlog = static_cast<unsigned>(l.number("backlog"));
  c.keep_alive = read_keep_alive(l.section("keepalive"));
  if (l.has("tls")) c.tls = read_tls(l.section("tls"));
  const bool http = l.has("http");
  const bool tcp = l.has("tcp");
  const bool aggregate = l.has("aggregate");
  if (int{http} + int{tcp} + int{aggregate} != 1) l.report("", "needs exactly one of http, tcp, aggregate");
  if (c.tls && !http && int{tcp} + int{aggregate} == 1) l.report("tls", "is for http listeners");
  // Behind a proxy clients of a Unix socket have addresses, too.
  const bool nameless = is_unix && c.proxy_protocol == ProxyProtocol::off;
  const std::vector<std::string>& trusted = trusted_proxies.texts;
  const bool trusts_unix = std::find(trusted.begin(), trusted.end(), "unix:") != trusted.end();
  if (http && !l.has("tls")) {
    const Reader h = l.section("http");
    for (const auto& [section, key] : {std::pair("timeouts", "handshake"), std::pair("limits", "handshakes")})
      if (h.section(section).has(key)) h.section(section).report(key, "is for listeners with tls");
  }
  if (http && l.has("tls")) {
    const Reader h2 = l.section("http").section("http2");
    if (h2.boolean("upgrade")) h2.report("upgrade", "is for listeners without tls");
  }
  if (http) c.service = read_http(l.section("http"), nameless, trusts_unix);
  if (tcp && !http) c.service = read_tcp(l.section("tcp"), nameless);
  if (aggregate && !http && !tcp) c.service = read_aggregate(l.section("aggregate"), l, c);
  const auto* const sums = std::get_if<AggregateConfig>(&c.service);
  if (c.proxy_protocol != ProxyProtocol::off && sums != nullptr && sums->protocol == AggregateProtocol::udp)
    l.report("proxy_protocol", "is for tcp, and aggregate.protocol is udp");
  return c;
}

}  // namespace fiberd::config
