#include "daemon/reload_rules.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "config/reload.hpp"
#include "core/net/endpoint.hpp"

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

/// The same address however it is written; empty for one with any port, which nobody can claim.
std::string normal(const std::string& address) {
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
  if (!endpoint || (endpoint->family() != AF_UNIX && endpoint->port() == 0)) return {};
  return endpoint->to_string();
}

/// Of a listener's place the key beside it: listeners[0].address → listeners[0].reuseport.
config::Place beside(config::Place at, std::string_view key) {
  at.key = at.key.substr(0, at.key.rfind('.') + 1) + std::string(key);
  return at;
}

class Rules {
 public:
  Rules(const Config& before, const Config& after) : before_(before), after_(after) {}

  std::vector<config::Diagnostic> run() {
    found_ = config::not_reloadable(before_, after_);
    if (before_.admin.address == after_.admin.address && before_.admin.ipv6_only != after_.admin.ipv6_only)
      add(after_.admin.address_at, "whether it takes IPv4, too, cannot change while it is listened on");
    look_for_holder("admin", after_.admin.address, after_.admin.address_at);
    for (const ListenerConfig& l : after_.listeners) look_at(l);
    return std::move(found_);
  }

 private:
  void add(const config::Place& at, std::string message) {
    found_.push_back(config::diagnostic_at(at, std::move(message)));
  }

  void look_at(const ListenerConfig& l) {
    look_for_holder(l.name, l.address, l.address_at);
    const ListenerConfig* const old = find(before_, l.name);
    if (old == nullptr) return;
    if (kind_of(*old) != kind_of(l)) {
      add(beside(l.address_at, kind_of(l)),
          "listener " + l.name + " is " + std::string(kind_of(*old)) +
              ", and what a listener is cannot change while it is there: remove it in one reload and add it in the "
              "next, or give the new one another name and address");
      return;
    }
    if (old->address == l.address && old->reuseport != l.reuseport)
      add(beside(l.address_at, "reuseport"), "it cannot change while the address is listened on");
    if (old->address == l.address && old->ipv6_only != l.ipv6_only)
      add(l.address_at, "whether it takes IPv4, too, cannot change while it is listened on");
    if (const auto* const own = std::get_if<config::AggregateConfig>(&l.service))
      look_at_aggregate(l, *own, *old, std::get<config::AggregateConfig>(old->service));
  }

  void look_at_aggregate(const ListenerConfig& l, const config::AggregateConfig& is, const ListenerConfig& old,
                         const config::AggregateConfig& was) {
    if (old.address != l.address) add(l.address_at, "an aggregating listener cannot move while it runs");
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

  /// An address that another listener of ours has now.
  void look_for_holder(const std::string& name, const std::string& address, const config::Place& at) {
    const std::string wanted = normal(address);
    if (wanted.empty()) return;
    const auto look = [&](const std::string& holder, const std::string& held) {
      if (holder != name && normal(held) == wanted)
        add(at, "listener " + holder + " has " + address +
                    " until the reload is over: addresses do not pass from one " +
                    "listener to another; free it in one reload and take it in the next");
    };
    look("admin", before_.admin.address);
    for (const ListenerConfig& l : before_.listeners) look(l.name, l.address);
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
    else if (old->address != l.address)
      add("listener " + l.name + " moved from " + old->address + " to " + l.address);
    else if (!(*old == l))
      add("listener " + l.name + " changed");
  }
  for (const ListenerConfig& l : before.listeners)
    if (find(after, l.name) == nullptr) add("listener " + l.name + " removed");
  if (!(before.admin == after.admin)) add("admin");
  if (!(before.runtime == after.runtime)) add("runtime");
  if (!(before.memory == after.memory)) add("memory");
  if (!(before.file_cache == after.file_cache)) add("file_cache");
  if (!(before.log == after.log)) add("log");
  if (!(before.shutdown == after.shutdown)) add("shutdown");
  return line;
}

}  // namespace fiberd::daemon
