// A reload, on a fiber of its own, one at a time (reloader.hpp). Everything that takes long, or may wait for a disk,
// is done on the blocking pool: no Processor is held up by a configuration of thousands of routes.
//
// Until the new instance begins to serve, nothing that others could notice has changed but that new addresses are
// bound; until it takes over, nothing has that could not be undone. What can fail is done before the first thing that
// cannot: load, look, provision, bind, start what is new, open the log. Then there is no way back, and none is needed.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/descriptors.hpp"
#include "daemon/logging.hpp"
#include "daemon/process.hpp"
#include "daemon/process_setup.hpp"
#include "daemon/reload_rules.hpp"
#include "daemon/services/http_service.hpp"

namespace fiberd::daemon {

struct Process::Prepared {
  config::Outcome outcome;
  Provided provided;
  std::shared_ptr<Instance> instance;
  std::vector<std::string> wrong;  // lines; empty: nothing is
  std::vector<std::string> warnings{};
};

/// On the blocking pool. False: next.wrong says why.
bool Process::look_for_flaws(Prepared& next) {
  const config::Config& before = current_->config();
  next.outcome = load_();
  if (config_watcher_ != nullptr) config_watcher_->loaded(next.outcome.config.digest);
  if (stop_.load(std::memory_order_acquire) != 0) return false;  // nobody will use it
  config::Outcome& outcome = next.outcome;
  const bool loaded = outcome.ok();
  next.provided.registry = &registry_;
  next.provided.files = outcome.config.file_cache == before.file_cache
                            ? current_->files()
                            : make_open_files(outcome.config.file_cache, registry_);
  for (const auto& keeper : current_->keepers()) next.provided.tls_before[keeper->listener()] = keeper->parts();
  std::vector<Flaw> flaws = provision(
      outcome, handlers_, &next.provided,
      [this](std::string_view listener, const std::string& address, bool datagrams) {
        return current_->has_socket(listener, address, datagrams);
      },
      &next.warnings);
  for (Flaw& flaw : flaws) outcome.diagnostics.push_back(std::move(flaw.diagnostic));
  // Of a file that could not be read as a whole nobody knows what would change.
  if (loaded)
    for (config::Diagnostic& d : not_reloadable(before, outcome.config)) outcome.diagnostics.push_back(std::move(d));
  config::sort_by_place(outcome.diagnostics);
  for (const config::Diagnostic& d : outcome.diagnostics) next.wrong.push_back(d.to_string());
  return next.wrong.empty();
}

/// On the blocking pool. False: next.wrong says why.
bool Process::prepare(Prepared& next) {
  if (!look_for_flaws(next) || stop_.load(std::memory_order_acquire) != 0) return false;
  for (const std::vector<std::string>& some : {forewarn(next.outcome.config), next.warnings})
    for (const std::string& warning : some) log(LogLevel::warning, warning);
  Failure why;
  next.instance =
      Instance::provision(std::move(next.outcome.config), std::move(next.provided), parts(), current_.get(), why);
  if (next.instance == nullptr || !next.instance->bind(current_.get(), why)) {
    next.instance = nullptr;
    next.wrong.push_back(why.message);
    return false;
  }
  compare_descriptors(current_->config(), next.instance->config());
  return true;
}

/// For what has no way back: memory comes back, half an instance does not become a whole one.
template <class F>
static void until_there_is_memory(F&& fn) {
  for (;;) {
    try {
      fn();
      return;
    } catch (const std::bad_alloc&) {
      (void)runtime::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

/// What is new begins to serve, and the log is the new one's. False, or an exception: it is as it was; next.wrong says
/// why.
bool Process::begin(Prepared& next) {
  const config::Config& config = next.instance->config();
  try {
    if (const Result<void> started = next.instance->start(); !started) {
      next.wrong.push_back("cannot start: " + with_limits(started.error()));
    } else if (!(config.log == current_->config().log)) {
      std::string why;
      const Result<void> opened = runtime::blocking([&] { return open_log(options_of(config.log), why); });
      if (!opened)
        next.wrong.push_back("log.output " + config.log.output + " cannot be opened: " + why +
                             explain_shortage(opened.error()));
    }
  } catch (...) {
    next.instance->undo();
    throw;
  }
  if (next.wrong.empty()) return true;
  next.instance->undo();
  return false;
}

void Process::commit(Prepared& next) {
  std::shared_ptr<Instance> old = current_;
  const std::vector<std::string> before = old->announcements();
  std::vector<std::string> after;
  std::vector<Instance::Entry> left;
  until_there_is_memory([&] { next.instance->adopt(); });
  until_there_is_memory([&] { room_.use(next.instance->present()); });
  until_there_is_memory([&] { old->leave(*next.instance, left); });
  {
    const LockGuard guard(current_lock_);
    current_ = next.instance;
    // Whoever was told to stop meanwhile told the old one.
    if (stop_.load(std::memory_order_acquire) != 0) current_->begin_stop();
  }
  const config::Config& config = current_->config();
  until_there_is_memory([&] { use_settings(config); });
  until_there_is_memory(
      [&] { tracing_->use(config.tracing, current_->collector_headers(), current_->collector_tls()); });
  if (config.runtime.gomaxprocs != old->config().runtime.gomaxprocs) {
    runtime::blocking([&] { cpus_->configure(config.runtime.gomaxprocs); });
  }
  try {
    runtime::blocking([&] { store_->update(*current_); });
  } catch (const std::exception& e) {
    log(LogLevel::warning, std::string("the service manager's store is not told of what changed: ") + e.what());
  }
  // Those that have been taken out of the store are ours alone again.
  for (const Instance::Entry& e : left)
    for (const auto& s : e.sockets)
      if (s->keeper == net::Keeper::store) s->socket->keep(net::Keeper::nobody);
  retire(std::move(left), time_after(monotonic_now(), config.shutdown.timeout));
  until_there_is_memory([&] { after = current_->announcements(); });
  until_there_is_memory([&] { tell_places(); });
  watch_config();
  for (const std::string& line : after)
    if (std::find(before.begin(), before.end(), line) == before.end()) log(LogLevel::info, line);
}

template <class F>
static bool spawned(const F& fn) {
  bool begun = false;
  until_there_is_memory([&] { begun = runtime::spawn_reserved(fiber::StackClaim::finish, "drain", fn).has_value(); });
  return begun;
}

/// Listeners and addresses that are gone, on a fiber each: sockets close when their queues are empty; what a service
/// that is gone serves ends, or is cut at the deadline.
void Process::retire(std::vector<Instance::Entry> entries, std::int64_t deadline) {
  for (Instance::Entry& e : entries) {
    std::shared_ptr<Instance::Entry> entry;
    until_there_is_memory([&] { entry = std::make_shared<Instance::Entry>(); });
    *entry = std::move(e);
    retiring_.fetch_add(1, std::memory_order_acq_rel);
    closing_.fetch_add(1, std::memory_order_acq_rel);
    auto end = [this, entry, deadline] {
      for (const auto& s : entry->sockets) s->socket->stop();
      entry->asked.reset();
      closing_.fetch_sub(1, std::memory_order_acq_rel);
      if (entry->service != nullptr) {
        // A stop's deadline may come first: looked at by a fiber beside, for drain() looks at one.
        struct Watch {
          explicit Watch(std::int64_t until) : bound(until) {}
          std::atomic<std::int64_t> bound;
          std::atomic<bool> over{false};
        };
        std::shared_ptr<Watch> watch;
        until_there_is_memory([&] { watch = std::make_shared<Watch>(deadline); });
        retiring_.fetch_add(1, std::memory_order_acq_rel);
        auto look = [this, watch] {
          while (!watch->over.load(std::memory_order_acquire)) {
            watch->bound.store(std::min(watch->bound.load(), retire_deadline_.load(std::memory_order_acquire)));
            (void)runtime::sleep_for(std::chrono::milliseconds(10));
          }
          retiring_.fetch_sub(1, std::memory_order_acq_rel);
        };
        if (!spawned(look)) retiring_.fetch_sub(1);
        const std::size_t cut = entry->service->drain(watch->bound);
        watch->over.store(true, std::memory_order_release);
        if (cut != 0)
          log(LogLevel::warning, "listener " + entry->service->name() + " is gone: " + std::to_string(cut) +
                                     " connections were cut at shutdown.timeout");
      }
      entry->sockets.clear();
      entry->service.reset();
      retiring_.fetch_sub(1, std::memory_order_acq_rel);
    };
    if (!spawned(end)) end();
  }
}

/// What may wait for others (a service manager that does not read). `fn` may be called twice if it throws.
template <class F>
static void on_blocking_pool(F&& fn) {
  try {
    runtime::blocking(fn);
  } catch (const std::exception&) {  // no thread is to be had: here, then
    fn();
  }
}

void Process::count_failed_reload() {
  reload_successful_->set(0);
  registry_.counter(observe::register_metric(registry_, "fiberd_config_reloads_total"), {"failure"}).add();
}

ReloadAnswer Process::refuse(Prepared& next) {
  count_failed_reload();
  ReloadAnswer answer{ReloadAnswer::Verdict::refused, {}};
  for (const std::string& line : next.wrong) {
    log(LogLevel::error, "reload: " + line);
    answer.text += line + "\n";
  }
  log(LogLevel::error, "reload refused: the configuration before goes on");
  answer.text += "reload refused: the configuration before goes on\n";
  on_blocking_pool([&] { manager_->reloaded(false, next.wrong.empty() ? "no reason is known" : next.wrong.front()); });
  forget(next);
  return answer;
}

/// What has been prepared is not to be.
void Process::forget(Prepared& next) {
  on_blocking_pool([&] {
    next.instance.reset();
    access_writers_.tidy();
  });
}

/// False: a stop has begun to drain the present instance. Else it waits until taking_over_ is false again.
bool Process::may_take_over() noexcept {
  const LockGuard guard(current_lock_);
  if (no_successor_) return false;
  taking_over_.store(true, std::memory_order_release);
  return true;
}

/// Process `next` serves. Whether it has been told is what is said.
ReloadAnswer Process::leave_to(pid_t next) {
  bool told = false;
  on_blocking_pool([&] { told = to_next_.is_open() && to_next_.send("reload").has_value(); });
  const std::string line =
      "reload: process " + std::to_string(next) + (told ? " serves now, and is told to" : " serves now: ask that one");
  log(told ? LogLevel::info : LogLevel::warning, line);
  return {ReloadAnswer::Verdict::stopping, line + (told ? "; ask again how it ended\n" : "\n")};
}

ReloadAnswer Process::reload() {
  const std::lock_guard alone(changing_);  // an upgrade may be under way
  if (const pid_t next = handed_over_.load(std::memory_order_acquire); next != 0) return leave_to(next);
  if (stop_.load(std::memory_order_acquire) != 0) return reloader_->refuse_for_stop();
  const std::int64_t began = monotonic_now();
  on_blocking_pool([&] { manager_->reloading(); });
  // An address that the reload before has freed is bound until its queue is empty: a second at most.
  const std::int64_t until = began + 2'000'000'000;
  while (closing_.load(std::memory_order_acquire) != 0 && monotonic_now() < until)
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  Prepared next;
  bool ready = false;
  // Whatever way it ends: a stop waits for it.
  const defer over([this] { taking_over_.store(false, std::memory_order_release); });
  try {
    ready = runtime::blocking([&] { return prepare(next); });
    if (stop_.load(std::memory_order_acquire) != 0 || (ready && !may_take_over())) {
      forget(next);
      return reloader_->refuse_for_stop();
    }
    ready = ready && begin(next);
  } catch (const std::exception& e) {
    next.wrong.push_back(e.what());
  }
  if (!ready) return refuse(next);
  std::shared_ptr<Instance> old = current_;
  const std::string changed = what_changed(old->config(), next.instance->config());
  commit(next);
  reload_successful_->set(1);
  reload_time_->set(static_cast<std::int64_t>(std::time(nullptr)));
  registry_.counter(observe::register_metric(registry_, "fiberd_config_reloads_total"), {"success"}).add();
  const std::string line = "reloaded " + admin_state_.config_name + " in " +
                           std::to_string((monotonic_now() - began) / 1'000'000) +
                           " ms: " + (changed.empty() ? "no key has changed" : changed);
  log(LogLevel::info, line);
  on_blocking_pool([&] { manager_->reloaded(true, changed.empty() ? "no key has changed" : changed); });
  // What the old one alone had: a thousand routes take their time to go.
  next.instance.reset();
  const auto last = old->ends_on_fibers();
  runtime::blocking([&] {
    old.reset();
    access_writers_.tidy();
  });
  return {ReloadAnswer::Verdict::done, line + "\n"};
}

}  // namespace fiberd::daemon
