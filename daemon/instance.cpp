#include "daemon/instance.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>

#include "config/addresses.hpp"
#include "config/load_admin.hpp"
#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/process_setup.hpp"
#include "daemon/services/admin_service.hpp"
#include "daemon/services/aggregate_service.hpp"
#include "daemon/services/http_service.hpp"
#include "daemon/services/tcp_service.hpp"
#include "daemon/this_machine.hpp"

namespace fiberd::daemon {

Instance::Instance(config::Config config, const InstanceParts& parts) : config_(std::move(config)), parts_(parts) {}

const Instance::Entry* Instance::find(const std::string& name) const noexcept {
  for (const Entry& e : entries_)
    if (e.service->name() == name) return &e;
  return nullptr;
}

// ---------------------------------------------------------------------------------------------- provision

bool Instance::provision_listener(const config::ListenerConfig& listener, HttpParts parts,
                                  std::shared_ptr<const TlsParts> tls, const Instance* before, Failure& why) {
  const Surroundings with{config_,         parts_.handlers, parts_.registry, parts_.runtime, parts_.access_logs,
                          parts_.room,     parts_.memory,   files_,          tracer_,        parts_.tracing.source(),
                          parts_.inherited};
  Entry entry;
  const Entry* const old = before != nullptr ? before->find(listener.name) : nullptr;
  Service* const follows = old != nullptr ? old->service.get() : nullptr;
  if (listener.tls) {
    if (tls == nullptr) {  // what was to be secret would go in the clear
      report_bug("a listener was to be served without its TLS");
      why = {"listener " + listener.name + ": its TLS could not be made", ExitCode::runtime_failure};
      return false;
    }
    keepers_.push_back(std::make_shared<TlsKeeper>(listener, std::move(tls), parts_.registry));
    parts.tls = keepers_.back()->current();
  }
  if (std::holds_alternative<config::HttpConfig>(listener.service)) {
    if (!parts.whole) {  // a filter may be missing: what it was to keep out would be let in
      report_bug("an HTTP listener was to be served without all of its parts");
      why = {"listener " + listener.name + ": not all of it could be made", ExitCode::runtime_failure};
      return false;
    }
    entry.before = dynamic_cast<HttpService*>(follows);
    entry.service =
        HttpService::provision(listener, std::move(parts), with, static_cast<const HttpService*>(entry.before), why);
  } else if (std::holds_alternative<config::TcpConfig>(listener.service)) {
    entry.before = dynamic_cast<TcpService*>(follows);
    entry.service = TcpService::provision(listener, with, static_cast<const TcpService*>(entry.before), why);
  } else {
    entry.before = dynamic_cast<AggregateService*>(follows);
    entry.service =
        std::make_unique<AggregateService>(listener, with, static_cast<const AggregateService*>(entry.before));
  }
  if (entry.service == nullptr) return false;
  entries_.push_back(std::move(entry));
  return true;
}

std::unique_ptr<Instance> Instance::provision(config::Config config, Provided provided, const InstanceParts& parts,
                                              const Instance* before, Failure& why) {
  std::unique_ptr<Instance> instance(new Instance(std::move(config), parts));
  const config::Config& c = instance->config_;
  instance->files_ = std::move(provided.files);
  instance->collector_headers_ = std::move(provided.collector_headers);
  instance->collector_tls_ = std::move(provided.collector_tls);
  instance->tracer_ = parts.tracing.tracer_for(c.tracing);
  for (std::size_t i = 0; i < c.listeners.size(); ++i)
    if (!instance->provision_listener(c.listeners[i], std::move(provided.http[i]), std::move(provided.tls[i]), before,
                                      why))
      return nullptr;
  if (!instance->provision_own(before, why)) return nullptr;
  return instance;
}

bool Instance::provision_own(const Instance* before, Failure& why) {
  const Surroundings with{config_,     parts_.handlers, parts_.registry, parts_.runtime, parts_.access_logs,
                          parts_.room, parts_.memory,   files_,          tracer_,        parts_.tracing.source()};
  const auto follow = [](Entry& entry, const Instance* old, const Entry Instance::*which) {
    entry.before = old != nullptr ? (old->*which).service.get() : nullptr;
    return static_cast<const AdminService*>(entry.before);
  };
  if (!config_.admin.address.empty()) {
    std::vector<std::shared_ptr<const aggregate::Service>> aggregates;
    for (const Entry& e : entries_)
      if (const auto* const a = dynamic_cast<const AggregateService*>(e.service.get()))
        aggregates.push_back(a->aggregate());
    const AdminService* const old = follow(admin_, before, &Instance::admin_);
    admin_.service = AdminService::provision(config_.admin, parts_.admin, aggregates, with, old, why);
    if (admin_.service == nullptr) return false;
  }
  if (!config_.metrics.addresses.empty()) {
    const AdminService* const old = follow(metrics_, before, &Instance::metrics_);
    metrics_.service = AdminService::provision_metrics(parts_.admin, with, old, why);
    if (metrics_.service == nullptr) return false;
  }
  return true;
}

// ---------------------------------------------------------------------------------------------- bind

/// For how many the table of descriptors is grown.
static std::size_t connections_of(const config::ListenerConfig& listener) {
  if (const auto* const http = std::get_if<config::HttpConfig>(&listener.service)) return http->limits.connections;
  if (const auto* const tcp = std::get_if<config::TcpConfig>(&listener.service)) return tcp->connections;
  return std::get<config::AggregateConfig>(listener.service).connections;
}

static bool parse_owner(const std::string& text, net::ListenerOptions& options, std::string& error) {
  FileOwner owner;
  if (!find_owner(text, owner, error)) return error = "owner: " + error, false;
  options.owner = owner.user;
  options.group = owner.group;
  return true;
}

static Result<std::unique_ptr<net::Listener>> adopt_socket(runtime::Runtime& runtime, InheritedSocket& socket,
                                                           net::ListenerOptions options) {
  std::vector<int> descriptors;
  for (OwnedDescriptor& d : socket.descriptors) descriptors.push_back(d.release());
  const bool foreign = socket.keeper == net::Keeper::service_manager;
  const net::Keeper keeper = socket.handed && !foreign ? net::Keeper::other_process : socket.keeper;
  return net::Listener::adopt(runtime, descriptors, std::move(options), keeper, foreign, socket.handed);
}

/// Need::wanted: an address that another program has is a warning, and then there is no socket.
bool Instance::bind_one(Entry& entry, const std::string& address, const config::Place& at, net::ListenerOptions options,
                        Need need, Failure& why) {
  const std::string& name = entry.service->name();
  auto bound = std::make_shared<BoundSocket>(BoundSocket{name, address, !options.dual_stack});
  options.name = name;
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
  if (!endpoint) {
    why = {"listener " + name + ": address " + address + " is no numeric address with a port, nor unix:/path",
           ExitCode::bad_usage};
    return false;
  }
  auto inherited = parts_.inherited != nullptr ? parts_.inherited->take(name, address, false) : nullptr;
  auto listener = inherited != nullptr ? adopt_socket(parts_.runtime, *inherited, std::move(options))
                                       : net::Listener::bind(parts_.runtime, *endpoint, std::move(options));
  if (!listener && inherited != nullptr) {
    why = {
        "listener " + name + ": " + inherited->described + " cannot be listened at: " + with_limits(listener.error()),
        code_of(listener.error(), ExitCode::cannot_bind)};
    return false;
  }
  if (!listener && need == Need::wanted && listener.error() == std::errc::address_in_use) {
    log(LogLevel::warning, "listener " + name + ": " + address +
                               ", its default, is used by another program: there are no /metrics, /healthz and "
                               "/readyz; say admin.address, or off");
    return true;
  }
  if (!listener) {
    why = {"listener " + name + ": cannot bind " + address + ": " +
               why_unbound(listener.error(), at, endpoint->family() == AF_UNIX ? "ss -lxp" : "ss -ltnp"),
           code_of(listener.error(), ExitCode::cannot_bind)};
    return false;
  }
  bound->socket = std::move(*listener);
  if (inherited != nullptr) {
    bound->keeper = inherited->keeper;
    bound->handed = inherited->handed;
    // Who serves until we do takes all that comes: what we were told of we would have to take, too.
    if (bound->handed) bound->socket->pause();
  }
  entry.sockets.push_back(bound);
  sockets_.add(std::move(bound));
  return true;
}

/// The socket at `address` that the instance before has, now ours, too; or null.
std::shared_ptr<BoundSocket> Instance::keep(Entry& entry, const std::string& address, const Instance* before) {
  if (before == nullptr) return nullptr;
  auto kept = before->sockets_.find(entry.service->name(), address, sockets_);
  if (kept == nullptr) return nullptr;
  entry.sockets.push_back(kept);
  sockets_.add(kept);
  return kept;
}

/// TCP and what else the service has (UDP) on one port: where any free one will do, one must be found that is free for
/// both.
bool Instance::bind_address(Entry& entry, const config::ListenAddress& address, const net::ListenerOptions& options,
                            const Instance* before, Failure& why) {
  static constexpr int kTries = 16;
  const std::string& name = entry.service->name();
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address.text);
  if (!endpoint) {
    why = {"listener " + name + ": address " + address.text + " is no numeric address with a port, nor unix:/path",
           ExitCode::bad_usage};
    return false;
  }
  std::shared_ptr<BoundSocket> tcp = entry.service->wants_tcp() ? keep(entry, address.text, before) : nullptr;
  const bool kept = tcp != nullptr || (parts_.inherited != nullptr && parts_.inherited->has(name, address.text, false));
  for (int left = kTries;; --left) {
    if (entry.service->wants_tcp() && tcp == nullptr) {
      if (!bind_one(entry, address.text, address.at, options, Need::required, why)) return false;
      tcp = entry.sockets.back();
    }
    const Result<void> bound =
        entry.service->bind_others(address.text, tcp != nullptr ? tcp->socket->local() : *endpoint, options.dual_stack);
    if (bound) return true;
    if (tcp != nullptr && !kept && endpoint->port() == 0 && bound.error() == std::errc::address_in_use && left > 0) {
      sockets_.remove(*tcp);
      entry.sockets.pop_back();
      tcp = nullptr;
      continue;
    }
    why = {"listener " + name + ": cannot bind " + address.text +
               " (UDP): " + why_unbound(bound.error(), address.at, "ss -lunp"),
           code_of(bound.error(), ExitCode::cannot_bind)};
    return false;
  }
}

bool Instance::bind_listener(Entry& entry, const config::ListenerConfig& listener, const Instance* before,
                             Failure& why) {
  net::ListenerOptions options;
  options.backlog = static_cast<int>(listener.backlog);
  options.keep_alive = {listener.keep_alive.idle, listener.keep_alive.interval, listener.keep_alive.count};
  options.reuse_port = listener.reuseport;
  options.mode = listener.mode;
  options.defer_accept = listener.defer_accept.value_or(std::holds_alternative<config::HttpConfig>(listener.service));
  options.connections = connections_of(listener);
  std::string error;
  if (!parse_owner(listener.owner, options, error)) {
    why = {"listener " + listener.name + ": " + error, ExitCode::bad_usage};
    return false;
  }
  for (const config::ListenAddress& address : listener.addresses) {
    options.dual_stack = !address.ipv6_only;
    if (!bind_address(entry, address, options, before, why)) return false;
  }
  return true;
}

/// A socket that a service manager has bound is where and as he says, whatever the configuration does.
bool Instance::check_who_may_ask(Failure& why) const {
  if (!config_.admin.token_file.empty()) return true;
  for (const auto& s : admin_.sockets) {
    if (s->keeper != net::Keeper::service_manager) continue;
    const net::Endpoint local = s->socket->local();
    const std::string path(local.path());
    struct stat file {};
    // Without a file nobody finds it; one without a name in the file system has no mode, so all may.
    const bool named = path.starts_with('/');
    const std::uint32_t mode = !named ? 0777 : ::stat(path.c_str(), &file) == 0 ? file.st_mode : 0;
    config::Address address;
    if (config::parse_address(local.to_string(), address).empty() && !config::needs_token(address, mode)) continue;
    why = {"admin: its socket is another process's, and who reaches it at " + local.to_string() +
               " may ask for everything: that needs admin.token_file, or SocketMode=0660 (of a Unix socket), or an "
               "address like 127.0.0.1:9090 in ListenStream=",
           ExitCode::bad_usage};
    return false;
  }
  return true;
}

bool Instance::bind_admin(const Instance* before, Failure& why) {
  const config::AdminConfig& config = config_.admin;
  if (keep(admin_, config.address, before) != nullptr) return check_who_may_ask(why);
  net::ListenerOptions options;
  options.connections = kAdminConnections;
  options.mode = config.mode;
  options.dual_stack = !config.ipv6_only;
  std::string error;
  if (!parse_owner(config.owner, options, error)) {
    why = {"admin: " + error, ExitCode::bad_usage};
    return false;
  }
  if (!bind_one(admin_, config.address, config.address_at, std::move(options),
                config.by_default ? Need::wanted : Need::required, why))
    return false;
  if (admin_.sockets.empty()) admin_ = {};
  return check_who_may_ask(why);
}

bool Instance::bind_metrics(const Instance* before, Failure& why) {
  for (const config::ListenAddress& address : config_.metrics.addresses) {
    if (keep(metrics_, address.text, before) != nullptr) continue;
    net::ListenerOptions options;
    options.connections = kMetricsConnections;
    options.dual_stack = !address.ipv6_only;
    if (!bind_one(metrics_, address.text, address.at, std::move(options), Need::required, why)) return false;
  }
  return true;
}

bool Instance::bind(const Instance* before, Failure& why) {
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (!bind_listener(entries_[i], config_.listeners[i], before, why)) return false;
  return (admin_.service == nullptr || bind_admin(before, why)) && bind_metrics(before, why);
}

// ---------------------------------------------------------------------------------------------- start, adopt, leave

Result<void> Instance::start(Entry& entry) {
  Service& service = *entry.service;
  if (const Result<void> started = entry.before == nullptr ? service.start() : service.start_more(); !started)
    return started;
  // At a new address of a listener that is there the one before serves until it is followed.
  Service& serves = entry.before != nullptr ? *entry.before : service;
  for (const auto& s : entry.sockets) {
    if (s->started) continue;
    if (const Result<void> started = s->socket->start(serves.serving()); !started) return started;
    s->started = true;
  }
  return {};
}

Result<void> Instance::start() {
  for (Entry& e : entries_)
    if (const Result<void> started = start(e); !started) return started;
  for (Entry* const e : own())
    if (const Result<void> started = start(*e); !started) return started;
  return {};
}

std::vector<Instance::Entry*> Instance::own() {
  std::vector<Entry*> all;
  for (Entry* const e : {&admin_, &metrics_})
    if (e->service != nullptr) all.push_back(e);
  return all;
}

void Instance::undo() noexcept {
  const std::atomic<std::int64_t> now{0};
  const auto undo_one = [&](Entry& e) {
    for (const auto& s : e.sockets) {
      static constexpr long kOurs = 2;  // the entry's and the set's
      if (s.use_count() == kOurs) s->socket->stop();
    }
    if (e.before == nullptr)
      (void)e.service->drain(now);
    else
      e.service->undo_more();
  };
  for (Entry& e : entries_) undo_one(e);
  for (Entry* const e : {&admin_, &metrics_})
    if (e->service != nullptr) undo_one(*e);
}

void Instance::adopt(Entry& entry) {
  if (entry.before != nullptr) entry.service->adopt(*entry.before);
  for (const auto& s : entry.sockets) {
    s->socket->replace(entry.service->serving());
    s->listener = entry.service->name();
  }
}

void Instance::adopt() {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    adopt(entries_[i]);
    const config::ListenerConfig& c = config_.listeners[i];
    change(entries_[i], c.owner,
           {.backlog = static_cast<int>(c.backlog),
            .keep_alive = {c.keep_alive.idle, c.keep_alive.interval, c.keep_alive.count},
            .defer_accept = c.defer_accept.value_or(std::holds_alternative<config::HttpConfig>(c.service)),
            .mode = c.mode});
  }
  for (Entry* const e : own()) adopt(*e);
  if (admin_.service != nullptr) change(admin_, config_.admin.owner, {.mode = config_.admin.mode});
}

/// What of a socket that is kept may be another now.
void Instance::change(Entry& entry, const std::string& owner, net::SocketSettings settings) {
  net::ListenerOptions found;
  std::string error;
  (void)parse_owner(owner, found, error);  // it was found when the configuration was looked at
  settings.owner = found.owner;
  settings.group = found.group;
  for (const auto& s : entry.sockets)
    if (const Result<void> changed = s->socket->change(settings); !changed)
      log(LogLevel::warning, "listener " + entry.service->name() +
                                 ": not all of its socket could be changed: " + changed.error().message());
}

void Instance::leave(const Instance& successor, std::vector<Entry>& left) {
  left.reserve(entries_.size() + 2);
  const auto look = [&](Entry& e, bool followed) {
    if (e.service == nullptr) return;
    Entry out;
    for (auto& s : e.sockets)
      if (!successor.sockets_.contains(*s)) out.sockets.push_back(s);
    if (!followed) {
      out.service = std::move(e.service);
    } else if (!out.sockets.empty()) {
      out.asked = std::move(e.service);
    }
    if (out.service != nullptr || !out.sockets.empty()) left.push_back(std::move(out));
  };
  for (Entry& e : entries_)
    if (e.service != nullptr) look(e, successor.follows(*e.service));
  for (Entry* const e : own()) look(*e, successor.follows(*e->service));
}

bool Instance::follows(const Service& service) const noexcept {
  return admin_.before == &service || metrics_.before == &service ||
         std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.before == &service; });
}

std::vector<std::shared_ptr<const void>> Instance::ends_on_fibers() const {
  std::vector<std::shared_ptr<const void>> all;
  for (const Entry& e : entries_)
    if (e.service != nullptr)
      for (auto& one : e.service->ends_on_fibers()) all.push_back(std::move(one));
  return all;
}

void Instance::stop_listening() noexcept {
  for (const Entry& e : entries_)
    for (const auto& s : e.sockets) s->socket->stop();
}

void Instance::begin_stop() noexcept {
  for (const Entry& e : entries_) e.service->begin_stop();
  for (const Entry* const e : {&admin_, &metrics_})
    if (e->service != nullptr) e->service->begin_stop();
}

bool Instance::has_socket(std::string_view listener, const std::string& address, bool datagrams) const {
  if (!datagrams) return sockets_.has(listener, address);
  const auto e = std::find_if(entries_.begin(), entries_.end(),
                              [&](const Entry& entry) { return entry.service->name() == listener; });
  return e != entries_.end() && e->service->has_other(address);
}

Room::Present Instance::present() const {
  Room::Present present;
  present.files = files_;
  for (const Entry& e : entries_) {
    if (auto counts = e.service->counts()) present.counts.push_back(std::move(counts));
    if (auto server = e.service->http_server()) present.servers.push_back(std::move(server));
    if (auto queues = e.service->queues()) present.queues.push_back(std::move(queues));
  }
  return present;
}

std::vector<Instance::Place> Instance::places() const {
  std::vector<Place> places;
  const auto add = [&](const Entry& e) {
    const std::string what = e.service->describe();
    for (const auto& s : e.sockets)
      places.push_back({e.service->name(), s->socket->local().to_string(),
                        what + (s->ipv6_only ? ", IPv6 alone" : "") +
                            (s->socket->keeper() == net::Keeper::service_manager ? ", inherited" : "")});
    for (const std::string& other : e.service->other_addresses()) places.push_back({e.service->name(), other, what});
  };
  for (const Entry& e : entries_) add(e);
  for (const Entry* const e : {&admin_, &metrics_})
    if (e->service != nullptr) add(*e);
  return places;
}

std::vector<std::string> Instance::announcements() const {
  std::vector<std::string> lines;
  for (const Place& p : places())
    lines.push_back("listening on " + p.address + ": " + p.listener + " (" + p.what + ")");
  return lines;
}

}  // namespace fiberd::daemon
