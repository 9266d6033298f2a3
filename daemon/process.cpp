// build: everything that can fail without the outside seeing it (files, logs, routes), then bind all addresses.
// start: only when all of it stands do the listeners accept; nobody is served by half a daemon.
// stop: process_stop.cpp.
#include "daemon/process.hpp"

#include <signal.h>

#include <algorithm>
#include <ctime>
#include <exception>
#include <functional>
#include <new>
#include <utility>
#include <variant>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/gomaxprocs.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/service_thread.hpp"
#include "core/tls/certificate_loader.hpp"
#include "daemon/admin/admin_token.hpp"
#include "daemon/admin/sampled_pages.hpp"
#include "daemon/client_tls.hpp"
#include "daemon/descriptors.hpp"
#include "daemon/logging.hpp"
#include "daemon/memory_guard.hpp"
#include "daemon/process_setup.hpp"
#include "daemon/services/http_service.hpp"
#include "daemon/signals.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon {

std::shared_ptr<Instance> Process::first_instance(const config::Config& config, Failure& why) {
  Provided provided;
  provided.files = make_open_files(config.file_cache, registry_);
  if (!config.tracing.headers_file.empty()) {
    std::string wrong;
    auto headers = read_collector_headers(config.tracing.headers_file, wrong);
    if (!headers) {
      why = {"tracing.headers_file " + wrong + explain_shortage(headers.error()),
             code_of(headers.error(), ExitCode::bad_usage)};
      return nullptr;
    }
    provided.collector_headers = std::move(*headers);
  }
  {
    std::string wrong;
    config::Place at;
    auto made = make_client_tls(config.tracing.tls, wrong, at);
    if (!made) {
      why = {at.key + ": " + wrong + explain_shortage(made.error()), code_of(made.error(), ExitCode::bad_usage)};
      return nullptr;
    }
    provided.collector_tls = std::move(*made);
  }
  tls::CertificateLoader certificates;
  const TlsPartsByName before = std::exchange(tls_read_, {});
  for (const config::ListenerConfig& listener : config.listeners) {
    provided.tls.emplace_back();
    if (listener.tls) {
      std::vector<Flaw> wrong;
      const auto found = before.find(listener.name);
      auto parts = std::make_shared<const TlsParts>(
          read_tls_parts(*listener.tls, alpn_of(listener), found != before.end() ? found->second.get() : nullptr,
                         certificates, wrong));
      if (!wrong.empty()) {
        why = {"listener " + listener.name + ": " + wrong.front().diagnostic.to_string() +
                   explain_shortage(wrong.front().error),
               code_of(wrong.front().error, ExitCode::bad_usage)};
        return nullptr;
      }
      for (const std::string& warning : warn_of_tls(*listener.tls, *parts)) log(LogLevel::warning, warning);
      provided.tls.back() = std::move(parts);
    }
    if (const auto* const aggregate = std::get_if<config::AggregateConfig>(&listener.service))
      for (const config::AggregateFlush& flush : aggregate->flush) {
        std::string wrong;
        config::Place at;
        if (const auto made = make_client_tls(flush.tls, wrong, at); !made) {
          why = {at.key + ": " + wrong + explain_shortage(made.error()), code_of(made.error(), ExitCode::bad_usage)};
          return nullptr;
        }
      }
    provided.http.emplace_back();
    const auto* const http = std::get_if<config::HttpConfig>(&listener.service);
    if (http == nullptr) continue;
    std::vector<Flaw> flaws;
    provided.http.back() = provision_http(*http,
                                          {listener.name, handlers_, provided.files, config.trusted_proxies, &registry_,
                                           !listener.tls && acme::wants_http(config)},
                                          flaws);
    if (flaws.empty()) continue;
    why = {"listener " + listener.name + ": " + flaws.front().diagnostic.to_string() +
               explain_shortage(flaws.front().error),
           code_of(flaws.front().error, ExitCode::bad_usage)};
    return nullptr;
  }
  std::shared_ptr<Instance> instance = Instance::provision(config, std::move(provided), parts(), nullptr, why);
  if (instance == nullptr || !instance->bind(nullptr, why)) return nullptr;
  return instance;
}

void Process::use_settings(const config::Config& config) {
  shutdown_delay_.store(config.shutdown.delay.count(), std::memory_order_relaxed);
  shutdown_timeout_.store(config.shutdown.timeout.count(), std::memory_order_relaxed);
  upgrade_timeout_.store(config.upgrade.timeout.count(), std::memory_order_relaxed);
  end_.use(config);
  leaks_->set(config.leaks);
  use_profile_rates(config.profiles);
  memory_->use(config.memory, find_memory_limit(config.memory.limit).bytes);
  trace_files_.use(config.trace);
  log_levels_->configure(options_of(config.log));
}

ExitCode Process::build(const config::Config& config) {
  if (inherited_ != nullptr)
    for (const std::string& warning : inherited_->take_warnings()) log(LogLevel::warning, warning);
  use_profile_rates(config.profiles);  // before there are threads: what one counts down it counts down to its end
  const runtime::CpuLimits cpus = runtime::detect_gomaxprocs(config.runtime.gomaxprocs);
  gomaxprocs_source_ = cpus.source;
  if (!cpus.warning.empty()) log(LogLevel::warning, cpus.warning);
  if (!cpus.error.empty()) {
    say_fatal(cpus.error);
    return ExitCode::bad_usage;
  }
  auto started = runtime::Runtime::start({.gomaxprocs = cpus.gomaxprocs,
                                          .stack_size = config.runtime.stack_size,
                                          .small_stack_size = config.runtime.small_stack_size,
                                          .large_stack_size = config.runtime.large_stack_size,
                                          .stack_guards = static_cast<fiber::GuardMode>(config.runtime.stack_guards),
                                          .stack_learning = config.runtime.stack_learning,
                                          .stack_trim_after = config.runtime.stack_trim_after,
                                          .blocking_threads = config.runtime.blocking_threads,
                                          .handoff_max = config.runtime.handoff_max,
                                          .machines_max = config.runtime.machines_max,
                                          .trace_buffer = config.trace.buffer,
                                          .trace_min_age = config.trace.min_age});
  if (!started) {
    say_fatal("the runtime cannot start: " + with_limits(started.error()));
    return ExitCode::runtime_failure;
  }
  runtime_ = std::move(*started);
  end_.scheduler.store(&runtime_->scheduler(), std::memory_order_release);
  observe::register_catalogue(registry_);
  log_dropped_ = registry_.callback(observe::register_metric(registry_, "fiberd_log_dropped_total"), {},
                                    [] { return static_cast<double>(log_lines_dropped()); });
  profile_metrics_ = register_profile_metrics(registry_);
  trace_counts_ = count_traces(registry_, runtime_->scheduler().tracer());
  trace_files_.count_in(registry_);
  tracing_ = std::make_unique<Tracing>(registry_);
  reload_successful_ = &registry_.gauge(observe::register_metric(registry_, "fiberd_config_last_reload_successful"));
  reload_time_ =
      &registry_.gauge(observe::register_metric(registry_, "fiberd_config_last_reload_success_timestamp_seconds"));
  for (const char* const result : {"success", "failure"})
    (void)registry_.counter(observe::register_metric(registry_, "fiberd_config_reloads_total"), {result});
  if (const MemoryLimit memory = find_memory_limit(config.memory.limit); !memory.warning.empty())
    log(LogLevel::warning, memory.warning);
  leaks_ = std::make_unique<LeakWatcher>(*runtime_, registry_);
  admin_state_.leaks = &leaks_->watch();
  cpus_ = std::make_unique<CpuFollower>(*runtime_, cpus, config.runtime.gomaxprocs);
  memory_ = std::make_unique<MemoryGovernor>(*runtime_, room_, *cpus_, registry_);
  trimmer_ = std::make_unique<Trimmer>(*runtime_, room_, registry_);
  if (Orphans::are_ours()) orphans_ = std::make_unique<Orphans>(*runtime_);
  for (const std::string& warning :
       {warn_of_token_file(config.admin.token_file), warn_of_headers_file(config.tracing.headers_file),
        tls::warn_of_key_file(config.tracing.tls.key)})
    if (!warning.empty()) log(LogLevel::warning, warning);
  manager_ = std::make_unique<ManagerTalk>(
      notifier_, *runtime_, [this] { return figures_of(registry_, runtime_->scheduler().live_fibers()); });
  use_settings(config);
  exporter_ = std::make_unique<observe::Exporter>(
      registry_, [this] { return runtime_->read_mem_stats(true); }, std::string(kVersion));
  admin_state_.exporter = exporter_.get();
  status_ = std::make_unique<StatusSource>(
      *exporter_, [this](bool measure) { return runtime_->read_mem_stats(measure); }, std::string(kVersion),
      [this](JsonWriter& json) { describe(json); });
  admin_state_.status = status_.get();
  reloader_ = std::make_unique<Reloader>(
      *runtime_, [this] { return reload(); },
      [this] {
        count_failed_reload();
        manager_->reloaded(false, "it could not be begun, or ended in an error");
      },
      &registry_.counter(observe::register_metric(registry_, "fiberd_config_reloads_total"), {"stopping"}));
  store_ = std::make_unique<SocketStore>(notifier_,
                                         inherited_ != nullptr ? inherited_->stored() : std::vector<std::string>());
  upgrader_ = std::make_unique<upgrade::Upgrader>(
      *runtime_, registry_, [this](const upgrade::Request& request) { return follow_with(request); });
  admin_state_.upgrade = [this](const context::Context& ctx, upgrade::Request request) {
    return upgrader_->request_and_wait(ctx, std::move(request));
  };
  if (load_ && !file_.empty()) {
    config_watcher_ = std::make_unique<ConfigWatcher>(
        *runtime_, registry_, file_, [this] { return load_(); }, [this] { reloader_->request(); });
    config_watcher_->loaded(config.digest);
  }
  certificate_watcher_ = std::make_unique<CertificateWatcher>(*runtime_);
  acme::ManagerMetrics orders = acme::make_manager_metrics(registry_);
  acme_ = std::make_unique<acme::Manager>(*runtime_, acme::board(), orders);
  orders.failing = nullptr;  // of names that strangers say none has to be there
  on_demand_ = std::make_unique<acme::OnDemand>(*runtime_, acme::board(), acme::on_demand_wake(), orders,
                                                acme::make_on_demand_metrics(registry_));
  admin_state_.renew = [this] { return acme_->renew(); };
  admin_state_.sched_trace = [this](std::chrono::milliseconds period, bool detail) {
    return runtime_->set_sched_trace(period, detail);
  };
  admin_state_.log_levels = log_levels_;
  admin_state_.dump = [this] { return log_dump_->request("dump"); };
  admin_state_.trim = [this] { return trimmer_->trim(); };
  admin_state_.config_file = file_;
  admin_state_.config_name = file_.empty() ? "the " + config.source + " configuration" : file_;
  if (load_) admin_state_.reload = [this](const context::Context& ctx) { return reloader_->request_and_wait(ctx); };
  Failure why;
  current_ = first_instance(config, why);
  if (inherited_ != nullptr) abandoned_ = inherited_->abandoned();
  inherited_ = nullptr;
  if (current_ == nullptr || !enough_descriptors(config, why)) {
    say_fatal(why.message);
    return why.code;
  }
  room_.use(current_->present());
  return ExitCode::clean;
}

/// If this process serves alone and the configuration says so.
void Process::watch_config() noexcept {
  certificate_watcher_->use(current_->keepers());
  try {
    // It reads files.
    acme_->use(runtime::blocking([this] { return acme::sites_of(current_->config()); }));
    on_demand_->use(runtime::blocking([this] { return acme::on_demand_sites_of(current_->config()); }));
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "acme: no memory: certificates are not renewed until the next reload");
  }
  if (config_watcher_ != nullptr) config_watcher_->set(current_->config().config.watch);
}

/// For describe(), which must not keep an instance alive: some of it ends on fibers alone.
void Process::tell_places() {
  auto places = std::make_shared<const std::vector<Instance::Place>>(current_->places());
  std::vector<std::shared_ptr<TlsKeeper>> keepers = current_->keepers();
  const LockGuard guard(current_lock_);
  places_.swap(places);
  keepers_.swap(keepers);
}

/// What the status document tells of the daemon itself; on the blocking pool.
void Process::describe(JsonWriter& json) const {
  std::shared_ptr<const std::vector<Instance::Place>> places;
  std::vector<std::shared_ptr<TlsKeeper>> keepers;
  {
    const LockGuard guard(current_lock_);
    places = places_;
    keepers = keepers_;
  }
  json.key("daemon").begin_object();
  json.field("ready", admin_state_.ready.load(std::memory_order_acquire));
  json.field("configuration", admin_state_.config_name);
  json.key("listening").begin_array();
  if (places != nullptr)
    for (const Instance::Place& place : *places)
      json.begin_object()
          .field("listener", place.listener)
          .field("address", place.address)
          .field("what", place.what)
          .end_object();
  json.end_array().key("certificates").begin_array();
  static constexpr std::size_t kMost = 20;
  std::vector<std::pair<TlsKeeper::Shown, std::string>> certificates;
  for (const auto& keeper : keepers)
    for (TlsKeeper::Shown& one : keeper->shown(kMost)) certificates.emplace_back(std::move(one), keeper->listener());
  std::stable_sort(certificates.begin(), certificates.end(),
                   [](const auto& a, const auto& b) { return a.first.not_after < b.first.not_after; });
  certificates.resize(std::min(certificates.size(), kMost));
  for (const auto& [one, listener] : certificates)
    json.begin_object()
        .field("listener", listener)
        .field("file", one.file)
        .field("names", one.names)
        .field("not_after_seconds", one.not_after)
        .end_object();
  json.end_array().end_object();
}

Result<void> Process::handle_signals() {
  Result<void> heard;
  const auto on = [&](int signo, std::function<void(int)> what) {
    if (heard) heard = runtime_->scheduler().service_thread().on_signal(signo, std::move(what));
  };
  for (const int signo : kStopSignals) on(signo, [this](int s) { stop_requested(s); });
  if (orphans_ != nullptr) on(SIGCHLD, [this](int) { orphans_->look(draining_); });
  on(SIGQUIT, [this](int) { (void)log_dump_->request("SIGQUIT"); });
  on(SIGUSR1, [this](int) {
    // The writers' threads do it, which may wait for a disk: this one acts on signals.
    reopen_log();
    access_writers_.reopen();
    log(LogLevel::info, "logs reopened");
  });
  on(SIGUSR2, [this](int) {
    log(LogLevel::info, "SIGUSR2: a new process is to follow this one");
    upgrader_->request({});
  });
  on(SIGHUP, [this](int) {
    if (load_) log(LogLevel::info, "SIGHUP: the configuration is loaded anew");
    if (load_)
      reloader_->request();
    else
      log(LogLevel::warning, "SIGHUP: this program does not reload its configuration; restart it instead");
  });
  return heard;
}

void Process::announce() const {
  const config::Config& config = current_->config();
  log(LogLevel::info, "configuration: " + (config.source == config::kBuiltIn
                                               ? "built in, as `config default` prints it: no -c was given"
                                               : config.source));
  for (const std::string& line : current_->announcements()) log(LogLevel::info, line);
  warn_of_address_space(config.runtime.stack_size);
  // Last: who waits for this line may connect everywhere.
  const runtime::MemStats stats = runtime_->read_mem_stats();
  const bool few = stats.guard_kind == fiber::GuardKind::mprotect;  // else there are millions
  log(LogLevel::info,
      "fiberd " + std::string(kVersion) + " started: GOMAXPROCS=" + std::to_string(stats.gomaxprocs) + " (" +
          gomaxprocs_source_ + "), stack guards " + std::string(fiber::to_string(stats.guard_kind)) +
          (few ? " (" + std::to_string(stats.stacks_most) + " at most)" : "") +
          (memory_->nearest().limit != 0 ? ", memory limit " + std::to_string(memory_->nearest().limit >> 20U) + " MiB"
                                         : std::string(", no memory limit")));
}

/// What the program itself starts, and then the listeners.
std::error_code Process::start(std::string& why) {
  std::error_code error;
  try {
    runtime_->run([&] {
      tracing_->use(current_->config().tracing, current_->collector_headers(), current_->collector_tls());
      error = error_of(handlers_.start(context::with_value(served_.context, trace::kSource, tracing_->source()), why));
      if (!error) error = error_of(current_->start());
    });
  } catch (const std::system_error& e) {  // not one fiber is to be had
    return e.code();
  }
  return error;
}

ExitCode Process::serve() {
  end_.watchdog.say_at_abort([dump = log_dump_] {
    static constexpr std::chrono::seconds kMost{8};
    log(LogLevel::error, "SIGABRT from outside, as of a watchdog that was not fed: all fibers, then the end");
    (void)dump->request("SIGABRT");
    if (!dump->wait(kMost)) log(LogLevel::error, "SIGABRT: the fibers cannot be written to the end");
  });
  if (const std::error_code error = end_.watchdog.start()) {
    say_fatal("the stop's watchdog cannot be started: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  if (const std::error_code error = error_of(handle_signals())) {
    say_fatal("signals cannot be handled: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  if (const std::error_code error = access_writers_.start()) {
    say_fatal("the access logs' thread cannot be started: " + with_limits(error));
    return ExitCode::runtime_failure;
  }
  if (predecessor_ == nullptr) manager_->start();  // nobody is heard who is not the main process
  memory_->start(draining_);
  leaks_->start(draining_);
  ExitCode code = ExitCode::clean;
  std::string why;
  if (const std::error_code error = start(why)) {
    const bool stacks = error == std::errc::not_enough_memory;
    const std::uint64_t size = current_->config().runtime.stack_size;
    say_fatal("cannot start: " + (why.empty() ? error.message() : why) + explain_shortage(error) +
              (stacks ? " (stacks are reserved 1024 at a time: " + std::to_string((size * 1024) >> 20U) +
                            " MiB with this runtime.stack_size)"
                      : std::string()));
    code = ExitCode::runtime_failure;
  } else {
    reload_successful_->set(1);
    reload_time_->set(static_cast<std::int64_t>(std::time(nullptr)));
    tell_places();
    admin_state_.ready.store(true, std::memory_order_release);
    if (predecessor_ == nullptr) {
      unlink_abandoned();
      store_->update(*current_);
      watch_config();     // before a reload may change what is watched
      upgrader_->open();  // before anybody hears that it serves: he may ask for one at once
    }
    say_started();
    announce();
    if (predecessor_ == nullptr) {
      manager_->ready();
      reloader_->open();
    } else if (const std::error_code gone = error_of(follow())) {
      say_fatal("no thread for the hand-over: " + with_limits(gone));
      code = ExitCode::runtime_failure;
      (void)stop_for_other();
    }
    while (stop_.load(std::memory_order_acquire) == 0) stop_.wait(0, std::memory_order_acquire);
  }
  if (predecessor_ != nullptr) {
    if (code != ExitCode::clean) predecessor_->failed(last_fatal());
    if (!told_to_stop_.load(std::memory_order_acquire)) predecessor_->stop();
  }
  if (code != ExitCode::clean)
    arm_watchdog(std::chrono::nanoseconds(shutdown_delay_.load() + shutdown_timeout_.load()));
  stop_.fetch_add(code == ExitCode::clean ? 0U : 1U);
  try {
    runtime_->run([this] { drain(); });
  } catch (const std::system_error&) {
    draining_.cancel();  // without a fiber nobody is served either
  }
  if (predecessor_ != nullptr) predecessor_->stop();
  return code;
}

ExitCode Process::run(const config::Config& config) {
  ExitCode code = build(config);
  if (code == ExitCode::clean) code = serve();
  if (runtime_ != nullptr) {
    // Listeners unregister from the scheduler: before it goes.
    if (current_ != nullptr) {
      current_->stop_listening();
      for (const Instance::Entry* const e : current_->own())
        for (const auto& s : e->sockets) s->socket->stop();
    }
    log_dump_->close();
    if (memory_ != nullptr) memory_->stop();
    trace_files_.close();
    // The watchdog counts the fibers that this waits for; afterwards there are none, and soon no scheduler.
    runtime_->scheduler().wait_until_no_fibers();
    if (manager_ != nullptr) manager_->stop();
    room_.use({});
    current_.reset();
    end_.scheduler.store(nullptr, std::memory_order_release);
    trace_counts_.clear();  // each is read once more, of what the runtime has
    runtime_.reset();
  }
  access_writers_.stop(end_.patience(), end_.log_deadline(kAccessLogsBeforeEnd));
  if (code == ExitCode::clean) log(LogLevel::info, "stopped");
  return code;
}

ExitCode run_daemon(const config::Config& config, const Handlers& handlers, LoadFunction reload, std::string file,
                    Inheritance* inheritance) {
  hold_signals();
  Notifier notifier = Notifier::from_environment();  // before there are threads, which read the environment
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  (void)sigaction(SIGPIPE, &ignore, nullptr);  // whoever read our lines may have gone
  std::string why;
  if (const Result<void> opened = open_log(options_of(config.log), why); !opened) {
    say_fatal("log.output " + config.log.output + " cannot be opened: " + why + explain_shortage(opened.error()));
    return code_of(opened.error(), ExitCode::bad_usage);
  }
  ExitCode code = ExitCode::runtime_failure;
  StopEnd end(config);
  try {
    Process process(handlers, std::move(reload), std::move(file), end, notifier, inheritance);
    code = process.run(config);
  } catch (const std::bad_alloc&) {
    say_fatal("out of memory" + explain_shortage(std::make_error_code(std::errc::not_enough_memory)));
  } catch (const std::system_error& e) {
    say_fatal(e.what() + explain_shortage(e.code()));
  } catch (const std::exception& e) {
    say_fatal(e.what());
  }
  close_log(end.patience(), end.log_deadline(kLogBeforeEnd));
  return code;
}

}  // namespace fiberd::daemon
