#pragma once
// Process: what lives as long as the process that serves does, whichever configuration is served: runtime, metrics,
// signals, logs, the stop; and the one instance that serves at present. How: process.cpp, process_reload.cpp.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "config/config.hpp"
#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/metric/registry.hpp"
#include "core/observe/exporter.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/mutex.hpp"
#include "daemon/access_log.hpp"
#include "daemon/acme/sites.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/admin/status_page.hpp"
#include "daemon/certificate_watcher.hpp"
#include "daemon/config_watcher.hpp"
#include "daemon/cpu_follower.hpp"
#include "daemon/failure.hpp"
#include "daemon/inheritance.hpp"
#include "daemon/instance.hpp"
#include "daemon/leak_watcher.hpp"
#include "daemon/log_dump.hpp"
#include "daemon/log_levels.hpp"
#include "daemon/manager_talk.hpp"
#include "daemon/memory_governor.hpp"
#include "daemon/notify.hpp"
#include "daemon/orphans.hpp"
#include "daemon/reloader.hpp"
#include "daemon/room.hpp"
#include "daemon/run.hpp"
#include "daemon/socket_store.hpp"
#include "daemon/stop_end.hpp"
#include "daemon/trace_files.hpp"
#include "daemon/tracing/tracing.hpp"
#include "daemon/trimmer.hpp"
#include "daemon/upgrade/standby.hpp"
#include "daemon/upgrade/upgrader.hpp"

namespace fiberd::daemon {

class Process {
 public:
  /// `inheritance` may be null.
  Process(const Handlers& handlers, LoadFunction load, std::string file, StopEnd& end, Notifier& notifier,
          Inheritance* inheritance)
      : handlers_(handlers),
        load_(std::move(load)),
        file_(std::move(file)),
        end_(end),
        notifier_(notifier),
        inherited_(inheritance != nullptr ? &inheritance->sockets : nullptr),
        predecessor_(inheritance != nullptr ? inheritance->predecessor : nullptr),
        tls_read_(inheritance != nullptr ? std::move(inheritance->tls) : TlsPartsByName()) {}
  ~Process() { end_.scheduler.store(nullptr, std::memory_order_release); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ExitCode run(const config::Config& config);

 private:
  ExitCode build(const config::Config& config);
  ExitCode serve();
  [[nodiscard]] std::shared_ptr<Instance> first_instance(const config::Config& config, Failure& why);
  Result<void> handle_signals();
  void announce() const;
  void describe(JsonWriter& json) const;
  void tell_places();
  void watch_config() noexcept;
  std::error_code start(std::string& why);
  void drain();
  void drain_services(std::size_t& cut);
  void stop_requested(int signo) noexcept;
  [[nodiscard]] bool begin_stop(std::string_view by) noexcept;
  void cut_rest(std::string_view by) noexcept;
  void arm_watchdog(std::chrono::nanoseconds more) noexcept;
  void use_settings(const config::Config& config);
  [[nodiscard]] InstanceParts parts() noexcept {
    return {handlers_,       registry_,    *runtime_, access_writers_, room_,
            memory_->gate(), admin_state_, *tracing_, inherited_};
  }

  // Reloads: on the reload's fiber.
  struct Prepared;
  ReloadAnswer reload();
  [[nodiscard]] bool prepare(Prepared& next);
  [[nodiscard]] bool look_for_flaws(Prepared& next);
  [[nodiscard]] bool begin(Prepared& next);
  void commit(Prepared& next);
  [[nodiscard]] ReloadAnswer refuse(Prepared& next);
  void retire(std::vector<Instance::Entry> entries, std::int64_t deadline);
  void forget(Prepared& next);
  void count_failed_reload();
  [[nodiscard]] bool may_take_over() noexcept;
  [[nodiscard]] ReloadAnswer leave_to(pid_t next);

  // Upgrades: on the upgrade's fiber (process_upgrade.cpp).
  upgrade::Answer follow_with(const upgrade::Request& request);
  [[nodiscard]] std::string why_not_upgradable() const;
  [[nodiscard]] std::string why_not_to_be_named() const;
  [[nodiscard]] bool prove(upgrade::Successor& next, const upgrade::Program& program,
                           const std::vector<HandedSocket>& sockets, std::string& why);
  [[nodiscard]] bool stand_by(upgrade::Successor& next, std::chrono::nanoseconds time, std::string& why);
  [[nodiscard]] upgrade::Answer give_up(upgrade::Successor& next, const std::string& why);
  void serve_again() noexcept;
  [[nodiscard]] std::chrono::milliseconds time_to_finish() const noexcept;
  [[nodiscard]] upgrade::Answer roll_back(upgrade::Successor& next, std::string why);
  [[nodiscard]] upgrade::Answer stop_both(upgrade::Successor& next);
  [[nodiscard]] upgrade::Answer keep(upgrade::Successor& next);
  [[nodiscard]] upgrade::Answer hand_over(upgrade::Successor& next, const std::string& path, std::int64_t began);
  [[nodiscard]] bool pass_on(upgrade::Successor& next);
  [[nodiscard]] bool stop_for_other() noexcept;
  void stop_with(upgrade::Successor& next) noexcept;
  [[nodiscard]] upgrade::Traffic traffic() const;
  [[nodiscard]] std::string health();
  [[nodiscard]] Result<void> follow();
  void unlink_abandoned() noexcept;

  const Handlers& handlers_;
  const LoadFunction load_;
  const std::string file_;  // that load_ reads; empty: none
  StopEnd& end_;
  Notifier& notifier_;
  InheritedSockets* inherited_;                              // until everything is bound
  std::vector<std::string> abandoned_;                       // files of sockets that nobody has any more
  const std::shared_ptr<upgrade::Predecessor> predecessor_;  // null: none
  TlsPartsByName tls_read_;                                  // until the first instance is made of them
  metric::Registry registry_;
  std::unique_ptr<observe::Exporter> exporter_;
  std::unique_ptr<StatusSource> status_;
  AdminState admin_state_;
  AccessLogWriters access_writers_;
  metric::CallbackHandle log_dropped_;
  std::vector<metric::CallbackHandle> profile_metrics_;
  metric::Gauge* reload_successful_ = nullptr;
  metric::Gauge* reload_time_ = nullptr;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::string gomaxprocs_source_;
  Room room_;
  std::unique_ptr<LeakWatcher> leaks_;
  std::unique_ptr<CpuFollower> cpus_;
  std::unique_ptr<MemoryGovernor> memory_;
  std::unique_ptr<Trimmer> trimmer_;
  std::unique_ptr<Orphans> orphans_;  // null: they are another's
  std::unique_ptr<ManagerTalk> manager_;
  const std::shared_ptr<LogDump> log_dump_ = std::make_shared<LogDump>();
  TraceFiles trace_files_;
  std::unique_ptr<Tracing> tracing_;
  std::vector<metric::CallbackHandle> trace_counts_;
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<upgrade::Upgrader> upgrader_;
  std::unique_ptr<SocketStore> store_;             // by the reload's fiber, once reloads are open
  std::unique_ptr<ConfigWatcher> config_watcher_;  // null: there is nothing to load
  std::unique_ptr<CertificateWatcher> certificate_watcher_;
  std::unique_ptr<acme::Manager> acme_;
  std::unique_ptr<acme::OnDemand> on_demand_;
  sync::Mutex changing_;                          // of a reload and an upgrade one at a time
  upgrade::Channel to_next_;                      // by who has changing_, once another process serves
  std::atomic<pid_t> handed_over_{0};             // who serves while this process stops; 0: nobody
  std::atomic<std::int64_t> upgrade_timeout_{0};  // ns
  mutable Lock current_lock_;                     // for whoever is not the fiber that replaces it
  std::shared_ptr<Instance> current_;
  std::shared_ptr<const std::vector<Instance::Place>> places_ FIBERD_GUARDED_BY(current_lock_);  // of current_
  std::vector<std::shared_ptr<TlsKeeper>> keepers_ FIBERD_GUARDED_BY(current_lock_);             // of current_
  bool no_successor_ FIBERD_GUARDED_BY(current_lock_) = false;  // of current_: it is being drained
  std::atomic<bool> taking_over_{false};                        // by a reload: drain() waits for its end

  std::atomic<std::uint32_t> stop_{0};             // signals so far
  std::int64_t stop_began_ = 0;                    // the first one's time; the service thread's alone
  std::atomic<bool> told_to_stop_{false};          // by the process before, which may have more to say
  runtime::CancelSource draining_;                 // whoever only looks on ends with it
  std::atomic<std::int64_t> shutdown_delay_{0};    // ns
  std::atomic<std::int64_t> shutdown_timeout_{0};  // ns
  std::atomic<std::int64_t> drain_deadline_{0};
  std::atomic<std::size_t> closing_{0};                   // of those the ones whose sockets are not closed yet
  std::atomic<std::size_t> retiring_{0};                  // fibers of retire()
  std::atomic<std::int64_t> retire_deadline_{INT64_MAX};  // of all of them, when a stop comes
  const context::Cancelable served_ = context::with_cancel(context::background());  // until the last connection
  const std::shared_ptr<LogLevels> log_levels_ = std::make_shared<LogLevels>(served_.context);
};

}  // namespace fiberd::daemon
