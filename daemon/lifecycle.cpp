// build: everything that can fail without the outside seeing it (files, logs, routes), then bind all addresses.
// start: only when all of it stands do the listeners accept; nobody is served by half a daemon.
// drain: on SIGTERM or SIGINT /readyz says 503, and every HTTP answer `Connection: close`, while service goes on for
// `shutdown.delay` (load balancers take us out); then listeners accept what the kernel has let in and close, idle
// connections close when `shutdown.idle` is over (core/http/connection.cpp), requests finish; at
// `shutdown.timeout`, or on a second signal, the rest is cut and counted in the log. The admin listener goes last. What
// does not end then (a handler that never returns) ends with the process, two seconds later: stop_watchdog.cpp, armed
// before anything else is done about a signal. Logs are given up before that (stop_end.cpp).
#include "daemon/lifecycle.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"
#include "core/observe/catalogue.hpp"
#include "core/observe/exporter.hpp"
#include "core/runtime/gomaxprocs.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/service_thread.hpp"
#include "daemon/access_log.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/entry.hpp"
#include "daemon/gates.hpp"
#include "daemon/http_service.hpp"
#include "daemon/logging.hpp"
#include "daemon/memory_guard.hpp"
#include "daemon/memory_watch.hpp"
#include "daemon/process_setup.hpp"
#include "daemon/services/aggregate/service.hpp"
#include "daemon/services/tcp_server.hpp"
#include "daemon/services/tcp_services.hpp"
#include "daemon/signals.hpp"
#include "daemon/stop_end.hpp"
#include "daemon/this_machine.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon {

namespace {

class Daemon {
 public:
  Daemon(const config::Config& config, const Handlers& handlers, StopEnd& end)
      : config_(config), handlers_(handlers), end_(end) {}
  ~Daemon() { end_.scheduler.store(nullptr, std::memory_order_release); }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ExitCode run();

 private:
  ExitCode build();
  ExitCode serve();
  ExitCode add_listener(const config::ListenerConfig& config);
  std::unique_ptr<TcpServer> make_tcp_server(const std::string& listener, const config::TcpConfig& tcp);
  enum class Need : std::uint8_t { required, wanted };
  ExitCode bind(Entry& entry, const std::string& address, const config::Place& at, net::ListenerOptions options,
                Need need = Need::required);
  ExitCode bind_aggregate(Entry& entry, const config::ListenerConfig& config, const net::ListenerOptions& options);
  Result<void> handle_signals();
  void announce() const;
  std::error_code start(std::string& why);
  void drain();
  void stop_requested(int signo) noexcept;
  void arm_watchdog(std::chrono::nanoseconds more) noexcept;
  ExitCode compare_descriptors() const;

  const config::Config& config_;
  const Handlers& handlers_;
  StopEnd& end_;
  metric::Registry registry_;
  std::shared_ptr<http::OpenFiles> open_files_;
  std::unique_ptr<observe::Exporter> exporter_;
  AdminState admin_state_;
  AccessLogWriters access_writers_;
  metric::CallbackHandle log_dropped_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::string gomaxprocs_source_;
  std::unique_ptr<MemoryWatch> memory_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<http::Server*> http_servers_;  // of entries_
  std::unique_ptr<Entry> admin_;
  std::atomic<std::uint32_t> stop_{0};  // signals so far
  std::int64_t stop_began_ = 0;         // the first one's time; the service thread's alone
  runtime::CancelSource draining_;      // whoever only looks on ends with it
  std::atomic<std::int64_t> drain_deadline_{0};
  const context::Cancelable served_ = context::with_cancel(context::background());  // until the last connection
};

/// Where the log is a file, whoever started us by hand looks at the terminal.
void fatal(const std::string& line) {
  log(LogLevel::error, line);
  if (!log_is_on_terminal()) say_on_stderr("fiberd: " + line);
}

/// Limits are no mistakes in the configuration, nor is an address taken for want of a descriptor.
bool is_shortage(std::error_code error) { return !explain_shortage(error).empty(); }

/// What there is to say about an error that a limit of the process may have caused.
std::string with_limits(std::error_code error) { return error.message() + explain_shortage(error); }

bool parse_owner(const std::string& text, net::ListenerOptions& options, std::string& error) {
  FileOwner owner;
  if (!find_owner(text, owner, error)) return error = "owner: " + error, false;
  options.owner = owner.user;
  options.group = owner.group;
  return true;
}

/// What there is to say about an address, written at `at`, that could not be bound.
std::string why_unbound(std::error_code error, const config::Place& at, const char* who_has_it) {
  if (error != std::errc::address_in_use) return with_limits(error);
  const std::string place = config::diagnostic_at(at, "").to_string();
  return error.message() + "; who has it: " + who_has_it + "; written in " + place.substr(0, place.size() - 2);
}

/// Need::wanted: an address that another program has is a warning, and then there is no listener.
ExitCode Daemon::bind(Entry& entry, const std::string& address, const config::Place& at, net::ListenerOptions options,
                      Need need) {
  options.name = entry.name;
  options.metrics = make_listener_metrics(entry.name, registry_);
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
  if (!endpoint) {
    fatal("listener " + entry.name + ": address " + address + " is no numeric address with a port, nor unix:/path");
    return ExitCode::bad_usage;
  }
  auto listener = net::Listener::bind(*runtime_, *endpoint, std::move(options));
  if (!listener && need == Need::wanted && listener.error() == std::errc::address_in_use) {
    log(LogLevel::warning,
        "listener " + entry.name + ": " + address +
            ", its default, is used by another program: there are no /metrics, /healthz and /readyz; "
            "say admin.address, or off");
    return ExitCode::clean;
  }
  if (!listener) {
    fatal("listener " + entry.name + ": cannot bind " + address + ": " +
          why_unbound(listener.error(), at, endpoint->family() == AF_UNIX ? "ss -lxp" : "ss -ltnp"));
    return is_shortage(listener.error()) ? ExitCode::runtime_failure : ExitCode::cannot_bind;
  }
  entry.listener = std::move(*listener);
  return ExitCode::clean;
}

/// TCP and UDP on one port: where any free one will do, one must be found that is free for both.
ExitCode Daemon::bind_aggregate(Entry& entry, const config::ListenerConfig& config,
                                const net::ListenerOptions& options) {
  static constexpr int kTries = 16;
  const std::string& address = config.address;
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
  for (int left = kTries;; --left) {
    if (entry.aggregate->wants_tcp())
      if (const ExitCode code = bind(entry, address, config.address_at, options); code != ExitCode::clean) return code;
    if (!entry.aggregate->wants_udp()) return ExitCode::clean;
    if (!endpoint) {
      fatal("listener " + entry.name + ": address " + address + " is no numeric address with a port");
      return ExitCode::bad_usage;
    }
    const Result<void> bound =
        entry.aggregate->bind_udp(entry.listener != nullptr ? entry.listener->local() : *endpoint, options.dual_stack);
    if (bound) return ExitCode::clean;
    if (entry.listener != nullptr && endpoint->port() == 0 && bound.error() == std::errc::address_in_use && left > 0) {
      entry.listener.reset();
      continue;
    }
    fatal("listener " + entry.name + ": cannot bind " + address +
          " (UDP): " + why_unbound(bound.error(), config.address_at, "ss -lunp"));
    return is_shortage(bound.error()) ? ExitCode::runtime_failure : ExitCode::cannot_bind;
  }
}

std::unique_ptr<TcpServer> Daemon::make_tcp_server(const std::string& listener, const config::TcpConfig& tcp) {
  TcpServerMetrics metrics;
  metrics.refused =
      &registry_.counter(observe::register_metric(registry_, "fiberd_listener_refused_total"), {listener, "fibers"});
  metrics.exceptions =
      &registry_.counter(observe::register_metric(registry_, "fiberd_tcp_handler_exceptions_total"), {listener});
  if (tcp.service != config::TcpService::handler)
    return std::make_unique<TcpServer>(tcp.service == config::TcpService::echo ? &serve_tcp_echo : &serve_tcp_discard,
                                       tcp.idle_timeout, metrics);
  std::shared_ptr<TcpHandler> handler = handlers_.tcp(tcp.handler.name);
  if (handler == nullptr) {
    fatal("listener " + listener + ": this program has no TCP handler " + tcp.handler.name);
    return nullptr;
  }
  return std::make_unique<TcpServer>(tcp.handler.name, std::move(handler), metrics);
}

ExitCode Daemon::add_listener(const config::ListenerConfig& config) {
  auto entry = std::make_unique<Entry>();
  entry->name = config.name;
  entry->ipv6_only = config.ipv6_only;
  net::ListenerOptions options;
  options.backlog = static_cast<int>(config.backlog);
  options.keep_alive = {config.keep_alive.idle, config.keep_alive.interval, config.keep_alive.count};
  options.reuse_port = config.reuseport;
  options.dual_stack = !config.ipv6_only;
  options.mode = config.mode;
  std::string error;
  if (!parse_owner(config.owner, options, error)) {
    fatal("listener " + config.name + ": " + error);
    return ExitCode::bad_usage;
  }
  const auto* const http = std::get_if<config::HttpConfig>(&config.service);
  options.defer_accept = config.defer_accept.value_or(http != nullptr);
  if (http != nullptr) {
    options.connections = http->limits.connections;
    options.connections_per_address = http->limits.connections_per_address;
    auto service = make_http_service(config.name, *http, config_.shutdown, handlers_, open_files_, registry_, error);
    if (!service) {
      fatal("listener " + config.name + ": " + error + explain_shortage(service.error()));
      return is_shortage(service.error()) ? ExitCode::runtime_failure : ExitCode::bad_usage;
    }
    entry->http = std::move(*service);
    if (const std::shared_ptr<AccessLog>& access = entry->http.access_log; access != nullptr)
      if (const Result<void> added = access_writers_.add(http->access_log.output, access, error); !added) {
        fatal("listener " + config.name + ": access_log.output " + http->access_log.output + ": " + error +
              explain_shortage(added.error()));
        return is_shortage(added.error()) ? ExitCode::runtime_failure : ExitCode::bad_usage;
      }
  } else if (const auto* const tcp = std::get_if<config::TcpConfig>(&config.service)) {
    options.connections = tcp->connections;
    options.connections_per_address = tcp->connections_per_address;
    entry->tcp_gate =
        make_gate(tcp->flow, config.name, "all", std::chrono::nanoseconds::max(), registry_, entry->tcp_gate_metrics);
    if (tcp->flow.rate_limit) options.gate = accept_gate(*entry->tcp_gate);
  } else {
    const auto& own = std::get<config::AggregateConfig>(config.service);
    options.connections = own.connections;
    options.connections_per_address = own.connections_per_address;
    entry->aggregate = std::make_unique<aggregate::Service>(config.name, own, runtime_->gomaxprocs(), registry_);
  }
  entry->all_http = &http_servers_;
  http::Server* const server = entry->http.server.get();
  entry->open_files = open_files_.get();
  options.make_room = {&Entry::make_room, entry.get()};
  const ExitCode bound = entry->aggregate != nullptr
                             ? bind_aggregate(*entry, config, options)
                             : bind(*entry, config.address, config.address_at, std::move(options));
  if (bound != ExitCode::clean) return bound;
  if (std::holds_alternative<config::TcpConfig>(config.service)) {
    entry->tcp = make_tcp_server(config.name, std::get<config::TcpConfig>(config.service));
    if (entry->tcp == nullptr) return ExitCode::bad_usage;
    entry->tcp->set_gate(entry->tcp_gate);
  }
  entries_.push_back(std::move(entry));
  if (server != nullptr) http_servers_.push_back(server);
  return ExitCode::clean;
}

ExitCode Daemon::build() {
  const runtime::CpuLimits cpus = runtime::detect_gomaxprocs(config_.runtime.gomaxprocs);
  gomaxprocs_source_ = cpus.source;
  if (!cpus.warning.empty()) log(LogLevel::warning, cpus.warning);
  if (!cpus.error.empty()) {
    fatal(cpus.error);
    return ExitCode::bad_usage;
  }
  auto started = runtime::Runtime::start({.gomaxprocs = cpus.gomaxprocs,
                                          .stack_size = config_.runtime.stack_size,
                                          .small_stack_size = config_.runtime.small_stack_size,
                                          .large_stack_size = config_.runtime.large_stack_size,
                                          .stack_guards = static_cast<fiber::GuardMode>(config_.runtime.stack_guards),
                                          .blocking_threads = config_.runtime.blocking_threads,
                                          .handoff_max = config_.runtime.handoff_max,
                                          .machines_max = config_.runtime.machines_max});
  if (!started) {
    fatal("the runtime cannot start: " + with_limits(started.error()));
    return ExitCode::runtime_failure;
  }
  runtime_ = std::move(*started);
  end_.scheduler.store(&runtime_->scheduler(), std::memory_order_release);
  observe::register_catalogue(registry_);
  log_dropped_ = registry_.callback(observe::register_metric(registry_, "fiberd_log_dropped_total"), {},
                                    [] { return static_cast<double>(log_lines_dropped()); });
  open_files_ = make_open_files(config_.file_cache, registry_);
  const MemoryLimit memory = find_memory_limit(config_.memory.limit);
  if (!memory.warning.empty()) log(LogLevel::warning, memory.warning);
  memory_ = std::make_unique<MemoryWatch>(memory.bytes, *open_files_, http_servers_);
  exporter_ = std::make_unique<observe::Exporter>(
      registry_, [this] { return runtime_->read_mem_stats(true); }, std::string(kVersion));
  admin_state_.exporter = exporter_.get();
  for (const config::ListenerConfig& listener : config_.listeners)
    if (const ExitCode code = add_listener(listener); code != ExitCode::clean) return code;
  if (config_.admin.address.empty()) return ExitCode::clean;
  admin_ = std::make_unique<Entry>();
  admin_->name = "admin";
  admin_->ipv6_only = config_.admin.ipv6_only;
  http::ServerOptions options;
  options.metrics = make_server_metrics("admin", registry_);
  options.fiber_name = "admin";  // let in above the memory limit too
  options.claim = fiber::StackClaim::report;
  options.timeouts.drain = config_.shutdown.idle;
  admin_->http.counters.push_back(make_route_counters("admin", "admin", registry_));
  // Who can reach a Unix socket has been let in by its mode; a browser reaches ports only.
  if (!config_.admin.address.starts_with("unix:")) answer_own_hosts_only(options, config_.admin.hosts);
  metric::StatusCounters* const counters = admin_->http.counters.back().get();
  options.metrics.unrouted = counters;
  std::vector<http::Route> routes = admin_routes(admin_state_);
  std::vector<const aggregate::Service*> aggregating;
  for (const auto& e : entries_)
    if (e->aggregate != nullptr) aggregating.push_back(e->aggregate.get());
  for (http::Route& route : aggregate::pages(aggregating)) routes.push_back(std::move(route));
  routes.push_back(admin_index(routes));
  for (http::Route& route : routes) route.counters = counters;
  auto server = http::Server::make(std::move(options), std::move(routes));
  if (!server) {
    fatal("admin: " + server.error().message());
    return ExitCode::runtime_failure;
  }
  admin_->http.server = std::move(*server);
  net::ListenerOptions listening;
  listening.connections = 256;
  listening.mode = config_.admin.mode;
  listening.dual_stack = !config_.admin.ipv6_only;
  std::string wrong_owner;
  if (!parse_owner(config_.admin.owner, listening, wrong_owner)) {
    fatal("admin: " + wrong_owner);
    return ExitCode::bad_usage;
  }
  // When descriptors run out is when somebody wants to know.
  admin_->all_http = &http_servers_;
  admin_->open_files = open_files_.get();
  listening.make_room = {&Entry::make_room, admin_.get()};
  if (!config_.admin.by_default)
    return bind(*admin_, config_.admin.address, config_.admin.address_at, std::move(listening));
  const ExitCode bound =
      bind(*admin_, config_.admin.address, config_.admin.address_at, std::move(listening), Need::wanted);
  if (admin_->listener == nullptr) admin_.reset();
  return bound;
}

/// The last moment of a stop that begins now.
void Daemon::arm_watchdog(std::chrono::nanoseconds more) noexcept {
  static constexpr std::chrono::nanoseconds kGrace = std::chrono::seconds(2);  // for what was cut, and the logs
  end_.watchdog.arm(monotonic_now() + (more + kGrace).count());
}

ExitCode Daemon::compare_descriptors() const {
  static constexpr std::uint64_t kForSignals = 5;  // the service thread's, opened later
  static constexpr std::uint64_t kLeast = 4;
  Descriptors descriptors = count_descriptors();
  descriptors.open += kForSignals;
  if (descriptors.free() < kLeast) {
    fatal("no client could be served: " + std::to_string(descriptors.limit) +
          " files may be open, and with this configuration " + std::to_string(descriptors.open + kLeast) +
          " are the least (the daemon's own " + std::to_string(descriptors.open) + ", and " + std::to_string(kLeast) +
          " for clients)" + explain_shortage(std::make_error_code(std::errc::too_many_files_open)));
    return ExitCode::runtime_failure;
  }
  std::uint64_t wanted = 0;
  for (const config::ListenerConfig& listener : config_.listeners)
    wanted += std::visit(
        [](const auto& service) {
          if constexpr (requires { service.limits; })
            return service.limits.connections;
          else
            return service.connections;
        },
        listener.service);
  if (const std::string warning = compare_with_connections(descriptors, wanted); !warning.empty())
    log(LogLevel::warning, warning);
  return ExitCode::clean;
}

void Daemon::stop_requested(int signo) noexcept {
  // timeout(1) sends its signal to the program and at once to the group that it is in; so do service managers that
  // signal a whole group. That is one wish.
  static constexpr std::int64_t kSameSignal = 100'000'000;  // ns
  const bool first = stop_.load(std::memory_order_acquire) == 0;
  const std::int64_t now = monotonic_now();
  if (first) stop_began_ = now;
  if (!first && stop_began_ != 0 && now - stop_began_ < kSameSignal) return;
  arm_watchdog(first ? config_.shutdown.delay + config_.shutdown.timeout : std::chrono::nanoseconds(0));
  if (stop_.fetch_add(1, std::memory_order_acq_rel) == 0) {
    // Now and not when the listeners have closed: a client that is told early has time to go elsewhere.
    for (http::Server* const server : http_servers_) server->begin_stop();
    if (admin_ != nullptr) admin_->http.server->begin_stop();
    log(LogLevel::info, std::string("signal ") + name_of_signal(signo) + ": stopping");
    stop_began_ = monotonic_now();  // from the end of all this: its twin may have waited here meanwhile
  } else {
    log(LogLevel::warning, "second signal: what is still open is cut");
    drain_deadline_.store(0, std::memory_order_release);
  }
  stop_.notify_all();
}

Result<void> Daemon::handle_signals() {
  Result<void> heard;
  const auto on = [&](int signo, std::function<void(int)> what) {
    if (heard) heard = runtime_->scheduler().service_thread().on_signal(signo, std::move(what));
  };
  for (const int signo : kStopSignals) on(signo, [this](int s) { stop_requested(s); });
  on(SIGUSR1, [this](int) {
    // The writers' threads do it, which may wait for a disk: this one acts on signals.
    reopen_log();
    access_writers_.reopen();
    log(LogLevel::info, "logs reopened");
  });
  on(SIGUSR2,
     [](int) { log(LogLevel::warning, "SIGUSR2: this version cannot be upgraded while it runs; restart it instead"); });
  on(SIGHUP,
     [](int) { log(LogLevel::warning, "SIGHUP: this version cannot reload its configuration; restart it instead"); });
  return heard;
}

void Daemon::announce() const {
  log(LogLevel::info, "configuration: " + (config_.source == config::kBuiltIn
                                               ? "built in, as `config default` prints it: no -c was given"
                                               : config_.source));
  auto say = [](const Entry& e, const char* what) {
    log(LogLevel::info, "listening on " + e.listener->local().to_string() + ": " + e.name + " (" + what +
                            (e.ipv6_only ? ", IPv6 alone)" : ")"));
  };
  for (const auto& e : entries_) {
    if (e->aggregate == nullptr) {
      say(*e, e->tcp != nullptr ? "tcp" : "http");
    } else if (e->listener != nullptr) {
      say(*e, e->aggregate->wants_udp() ? "aggregate, tcp and udp" : "aggregate, tcp");
    } else {
      log(LogLevel::info,
          "listening on " + e->aggregate->udp_address().to_string() + ": " + e->name + " (aggregate, udp)");
    }
  }
  if (admin_ != nullptr) say(*admin_, "admin: /metrics /healthz /readyz");
  warn_of_address_space(config_.runtime.stack_size);
  // Last: who waits for this line may connect everywhere.
  const runtime::MemStats stats = runtime_->read_mem_stats();
  const bool few = stats.guard_kind == fiber::GuardKind::mprotect;  // else there are millions
  log(LogLevel::info, "fiberd " + std::string(kVersion) + " started: GOMAXPROCS=" + std::to_string(stats.gomaxprocs) +
                          " (" + gomaxprocs_source_ + "), stack guards " +
                          std::string(fiber::to_string(stats.guard_kind)) +
                          (few ? " (" + std::to_string(stats.stacks_most) + " at most)" : "") +
                          (memory_->limit() != 0 ? ", memory limit " + std::to_string(memory_->limit() >> 20U) + " MiB"
                                                 : std::string(", no memory limit")));
}

void Daemon::drain() {
  draining_.cancel();
  admin_state_.ready.store(false, std::memory_order_release);
  const std::int64_t serve_until = time_after(monotonic_now(), config_.shutdown.delay);
  while (monotonic_now() < serve_until && stop_.load(std::memory_order_acquire) < 2)
    (void)runtime::sleep_for(std::chrono::milliseconds(10));
  const std::int64_t deadline =
      stop_.load(std::memory_order_acquire) < 2 ? time_after(monotonic_now(), config_.shutdown.timeout) : 0;
  // An exchange sees what a second signal did before its own store of 0, which this may have undone.
  (void)drain_deadline_.exchange(deadline, std::memory_order_acq_rel);
  if (stop_.load(std::memory_order_acquire) >= 2) drain_deadline_.store(0, std::memory_order_release);
  for (const auto& e : entries_)
    if (e->listener != nullptr) e->listener->stop();
  struct Progress {
    std::atomic<std::size_t> left{0};
    std::atomic<std::size_t> cut{0};
  } progress;
  progress.left = entries_.size();
  for (const auto& e : entries_) {
    auto stop_one = [this, &progress, entry = e.get()] {
      progress.cut += entry->stop(drain_deadline_);
      --progress.left;
    };
    // Without a fiber for it, one after the other: slower, not wrong.
    if (!runtime::spawn_reserved(fiber::StackClaim::finish, "drain", stop_one)) stop_one();
  }
  while (progress.left != 0) (void)runtime::sleep_for(std::chrono::milliseconds(2));
  served_.cancel();
  handlers_.stop();
  if (admin_ != nullptr) {
    admin_->listener->stop();
    const std::atomic<std::int64_t> soon{monotonic_now() + 500'000'000};
    admin_->stop(soon);
  }
  if (progress.cut != 0)
    log(LogLevel::warning,
        std::to_string(progress.cut.load()) + " connections were cut " +
            (stop_.load(std::memory_order_acquire) > 1 ? "at the second signal" : "at shutdown.timeout"));
}

/// What the program itself starts, and then the listeners.
std::error_code Daemon::start(std::string& why) {
  std::error_code error;
  try {
    runtime_->run([&] {
      error = error_of(handlers_.start(served_.context, why));
      for (const auto& e : entries_)
        if (!error) error = e->start();
    });
  } catch (const std::system_error& e) {  // not one fiber is to be had
    return e.code();
  }
  if (!error && admin_ != nullptr) error = admin_->start();
  return error;
}

ExitCode Daemon::serve() {
  if (const std::error_code error = end_.watchdog.start()) {
    fatal("the stop's watchdog cannot be started: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  if (const std::error_code error = error_of(handle_signals())) {
    fatal("signals cannot be handled: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  if (const std::error_code error = access_writers_.start()) {
    fatal("the access logs' thread cannot be started: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  memory_->start(*runtime_, draining_, [this] {
    std::size_t open = 0;
    for (const auto& e : entries_) open += e->connections();
    return open;
  });
  ExitCode code = ExitCode::clean;
  std::string why;
  if (const std::error_code error = start(why)) {
    const bool stacks = error == std::errc::not_enough_memory;
    fatal("cannot start: " + (why.empty() ? error.message() : why) + explain_shortage(error) +
          (stacks ? " (stacks are reserved 1024 at a time: " +
                        std::to_string((std::uint64_t{config_.runtime.stack_size} * 1024) >> 20U) +
                        " MiB with this runtime.stack_size)"
                  : std::string()));
    code = ExitCode::runtime_failure;
  } else {
    admin_state_.ready.store(true, std::memory_order_release);
    say_started();
    announce();
    while (stop_.load(std::memory_order_acquire) == 0) stop_.wait(0, std::memory_order_acquire);
  }
  if (code != ExitCode::clean) arm_watchdog(config_.shutdown.delay + config_.shutdown.timeout);
  stop_.fetch_add(code == ExitCode::clean ? 0U : 1U);
  try {
    runtime_->run([this] { drain(); });
  } catch (const std::system_error&) {
    draining_.cancel();  // without a fiber nobody is served either
  }
  return code;
}

ExitCode Daemon::run() {
  ExitCode code = build();
  if (code == ExitCode::clean) code = compare_descriptors();
  if (code == ExitCode::clean) code = serve();
  if (runtime_ != nullptr) {
    // Listeners unregister from the scheduler: before it goes.
    for (const auto& e : entries_) {
      e->listener.reset();
      e->aggregate.reset();
    }
    if (admin_ != nullptr) admin_->listener.reset();
    // The watchdog counts the fibers that this waits for; afterwards there are none, and soon no scheduler.
    runtime_->scheduler().wait_until_no_fibers();
    end_.scheduler.store(nullptr, std::memory_order_release);
    runtime_.reset();
  }
  access_writers_.stop(end_.patience(), end_.log_deadline(kAccessLogsBeforeEnd));
  if (code == ExitCode::clean) log(LogLevel::info, "stopped");
  return code;
}

}  // namespace

ExitCode run_daemon(const config::Config& config, const Handlers& handlers) {
  hold_signals();
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  (void)sigaction(SIGPIPE, &ignore, nullptr);  // whoever read our lines may have gone
  const LogOptions options{.level = static_cast<LogLevel>(config.log.level),
                           .format = config.log.format == config::LogFormat::json ? LogFormat::json : LogFormat::text,
                           .output = config.log.output};
  std::string why;
  if (const Result<void> opened = open_log(options, why); !opened) {
    fatal("log.output " + config.log.output + " cannot be opened: " + why + explain_shortage(opened.error()));
    return is_shortage(opened.error()) ? ExitCode::runtime_failure : ExitCode::bad_usage;
  }
  ExitCode code = ExitCode::runtime_failure;
  StopEnd end(config);
  try {
    Daemon daemon(config, handlers, end);
    code = daemon.run();
  } catch (const std::bad_alloc&) {
    fatal("out of memory" + explain_shortage(std::make_error_code(std::errc::not_enough_memory)));
  } catch (const std::system_error& e) {
    fatal(e.what() + explain_shortage(e.code()));
  } catch (const std::exception& e) {
    fatal(e.what());
  }
  close_log(end.patience(), end.log_deadline(kLogBeforeEnd));
  return code;
}

}  // namespace fiberd::daemon
