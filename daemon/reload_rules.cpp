#include "daemon/reload_rules.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "config/reload.hpp"
#include "daemon/socket_set.hpp"

namespace fiberd::daemon {

namespace {

using config::Config;
using config::ListenerConfig;

/// The listener of that name; null when there is none.
const ListenerConfig* find(const Config& config, std::string_view name) {
  for (const ListenerConfig& l : config.listeners)
    if (l.name == name) return &l;
  return nullptr;
}

std::string_view kind_of(const ListenerConfig& listener) {
  static constexpr std::string_view kKinds[] = {"http", "tcp", "aggregate"};
  return kKinds[listener.service.index()];
}

/// Of a listener's place the key beside it: listeners[0].address → listeners[0].reuseport.
config::Place beside(config::Place at, std::string_view key) {
  at.key = at.key.substr(0, at.key.rfind(".address") + 1) + std::string(key);
  return at;
}

bool wants_udp(const ListenerConfig& listener) {
  const auto* const aggregate = std::get_if<config::AggregateConfig>(&listener.service);
  return aggregate != nullptr && aggregate->protocol != config::AggregateProtocol::tcp;
}

/// "127.0.0.1:80, [::1]:80"
std::string addresses_of(const ListenerConfig& listener) {
  std::string all;
  for (const config::ListenAddress& a : listener.addresses) all += (all.empty() ? "" : ", ") + a.text;
  return all;
}

class Rules {
 public:
  Rules(const Config& before, const Config& after) : before_(before), after_(after) {}

  std::vector<config::Diagnostic> run() {
    found_ = config::not_reloadable(before_, after_);
    look_at_socket(after_.admin.address, after_.admin.address_at, after_.admin.ipv6_only, false);
    for (const config::ListenAddress& address : after_.metrics.addresses)
      look_at_socket(address.text, address.at, address.ipv6_only, false);
    for (const ListenerConfig& l : after_.listeners) look_at(l);
    return std::move(found_);
  }

 private:
  void add(const config::Place& at, std::string message) {
    found_.push_back(config::diagnostic_at(at, std::move(message)));
  }

  void look_at(const ListenerConfig& l) {
    for (const config::ListenAddress& address : l.addresses) {
      look_at_socket(address.text, address.at, address.ipv6_only, l.reuseport);
      if (wants_udp(l)) look_for_holder(l.name, address);
    }
    const ListenerConfig* const old = find(before_, l.name);
    if (old == nullptr || kind_of(*old) != kind_of(l)) return;
    if (const auto* const own = std::get_if<config::AggregateConfig>(&l.service))
      look_at_aggregate(l, *own, std::get<config::AggregateConfig>(old->service));
  }

  /// Of a socket that is kept, whosever it was, some things are for its whole life.
  void look_at_socket(const std::string& address, const config::Place& at, bool ipv6_only, bool reuseport) {
    const std::string wanted = normal_address(address);
    if (wanted.empty()) return;
    const auto compare = [&](const std::string& held, bool was_ipv6_only, bool was_reuseport) {
      if (normal_address(held) != wanted) return;
      if (was_ipv6_only != ipv6_only) add(at, "whether it takes IPv4, too, cannot change while it is listened on");
      if (was_reuseport != reuseport)
        add(beside(at, "reuseport"),
            "it cannot change while the address is listened on: restart the daemon, or take the address away in one "
            "reload and "
            "add it in the next");
    };
    compare(before_.admin.address, before_.admin.ipv6_only, false);
    for (const config::ListenAddress& held : before_.metrics.addresses) compare(held.text, held.ipv6_only, false);
    for (const ListenerConfig& l : before_.listeners)
      for (const config::ListenAddress& held : l.addresses) compare(held.text, held.ipv6_only, l.reuseport);
  }

  void look_at_aggregate(const ListenerConfig& l, const config::AggregateConfig& is,
                         const config::AggregateConfig& was) {
    config::AggregateConfig limits_apart = is;
    limits_apart.connections = was.connections;
    limits_apart.connections_per_address = was.connections_per_address;
    if (limits_apart == was) return;
    const auto fixed = [&](const char* key, bool same) {
      if (!same)
        add(beside(l.address_at, std::string("aggregate.") + key),
            "it shapes what has been aggregated, so it cannot change while the listener is there: remove it in one "
            "reload and add it in the next");
    };
    fixed("protocol", is.protocol == was.protocol);
    fixed("series", is.series == was.series);
    fixed("set_members", is.set_members == was.set_members);
    fixed("flush_interval", is.flush_interval == was.flush_interval);
    fixed("expire", is.expire == was.expire);
    fixed("percentiles", is.percentiles == was.percentiles);
    fixed("line_size", is.line_size == was.line_size);
    fixed("receive_buffer", is.receive_buffer == was.receive_buffer);
    fixed("flush", is.flush == was.flush);
    fixed("idle_timeout", is.idle_timeout == was.idle_timeout);
    if (found_.empty()) add(beside(l.address_at, "aggregate"), "it cannot change while the listener is there");
  }

  /// A UDP address that another listener of ours has now. Its socket is the aggregation's, which reads it until all
  /// that was sent to it has been taken: it does not pass.
  void look_for_holder(const std::string& name, const config::ListenAddress& address) {
    const std::string wanted = normal_address(address.text);
    if (wanted.empty()) return;
    for (const ListenerConfig& l : before_.listeners)
      for (const config::ListenAddress& held : l.addresses)
        if (l.name != name && wants_udp(l) && normal_address(held.text) == wanted)
          add(address.at, "listener " + l.name + " has " + address.text +
                              " until the reload is over: UDP addresses do not pass from one listener to another; "
                              "free it in one reload and take it in the next");
  }

  const Config& before_;
  const Config& after_;
  std::vector<config::Diagnostic> found_;
};

}  // namespace

std::vector<config::Diagnostic> not_reloadable(const Config& before, const Config& after) {
  return Rules(before, after).run();
}

std::string what_changed(const Config& before, const Config& after) {
  std::string line;
  const auto add = [&](const std::string& what) { line += (line.empty() ? "" : "; ") + what; };
  for (const ListenerConfig& l : after.listeners) {
    const ListenerConfig* const old = find(before, l.name);
    if (old == nullptr)
      add("listener " + l.name + " added");
    else if (kind_of(*old) != kind_of(l))
      add("listener " + l.name + " is " + std::string(kind_of(l)) + " instead of " + std::string(kind_of(*old)));
    else if (addresses_of(*old) != addresses_of(l))
      add("listener " + l.name + " moved from " + addresses_of(*old) + " to " + addresses_of(l));
    else if (!(*old == l))
      add("listener " + l.name + " changed");
  }
  for (const ListenerConfig& l : before.listeners)
    if (find(after, l.name) == nullptr) add("listener " + l.name + " removed");
  if (before.trusted_proxies.texts != after.trusted_proxies.texts) add("trusted_proxies");
  if (!(before.config == after.config)) add("config");
  if (!(before.admin == after.admin)) add("admin");
  if (!(before.metrics == after.metrics)) add("metrics");
  if (!(before.runtime == after.runtime)) add("runtime");
  if (!(before.memory == after.memory)) add("memory");
  if (!(before.profiles == after.profiles)) add("profiles");
  if (!(before.trace == after.trace)) add("trace");
  if (!(before.tracing == after.tracing)) add("tracing");
  if (!(before.file_cache == after.file_cache)) add("file_cache");
  if (!(before.log == after.log)) add("log");
  if (!(before.shutdown == after.shutdown)) add("shutdown");
  if (!(before.upgrade == after.upgrade)) add("upgrade");
  if (!(before.leaks == after.leaks)) add("leaks");
  return line;
}

}  // namespace fiberd::daemon
