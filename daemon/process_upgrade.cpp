// An upgrade: another process follows this one, on a fiber of its own, one at a time (daemon/upgrade/upgrader.hpp).
//
//   prove    the new process is started, gets the sockets, loads the configuration, binds what is new, opens its logs
//            and starts; it says `ready`, or why not. Nothing of what is served here has changed: whatever goes wrong
//            (it crashes, refuses, hangs), it is ended, and this process goes on.
//   serve    it accepts, beside us. Only when it has said so do we stop. In between both do, on the same sockets, so
//            nobody is turned away; from here on neither filters the sockets nor unlinks their files at its end.
//   standby  if asked for: we accept no more, but keep connections and sockets, and look at how it does. If it does
//            worse, we accept again, and it stops.
//   done     the sockets are its own. We stop as at SIGTERM, but without shutdown.delay, and with the admin listener
//            first: its address answers for the new process now. Connections end as in any stop: told first.
//
// A reload and an upgrade exclude each other. A reload that is asked for meanwhile waits; when the new process serves,
// it is the one that does it. A stop that comes before it serves ends the new process; one that comes between that and
// the end of the upgrade stops both, and so does a second one. The upgrade's end is one exchange of stop_: a signal
// that was sooner is passed on to the new process, and one that is later meets a process that stops anyway. Where a
// service manager signals its main process it has been told by then which one that is (Notifier::barrier).
//
// What waits (for the other process, the manager, a thread) is done on the blocking pool.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/service_thread.hpp"
#include "daemon/admin/health.hpp"
#include "daemon/failure.hpp"
#include "daemon/process.hpp"
#include "daemon/upgrade/standby.hpp"
#include "daemon/upgrade/successor.hpp"

namespace fiberd::daemon {

using namespace std::chrono_literals;
using upgrade::Answer;
using upgrade::Successor;
using Verdict = upgrade::Answer::Verdict;

static Answer is_stopping() { return {Verdict::stopping, "upgrade refused: the daemon is stopping\n"}; }

static std::string milliseconds_since(std::int64_t began) {
  return std::to_string((monotonic_now() - began) / 1'000'000) + " ms";
}

/// All that is served by HTTP, but for the admin's and the metrics' listeners: from when this process began.
upgrade::Traffic Process::traffic() const {
  upgrade::Traffic traffic;
  for (const metric::FamilySnapshot& family : registry_.snapshot()) {
    if (family.spec.name != "fiberd_http_requests_total") continue;
    const auto index_of = [&](std::string_view label) {
      const auto at = std::find(family.spec.labels.begin(), family.spec.labels.end(), label);
      return static_cast<std::size_t>(at - family.spec.labels.begin());
    };
    const std::size_t listener = index_of("listener");
    const std::size_t code = index_of("code");
    for (const metric::Sample& s : family.samples) {
      if (listener < s.labels.size() && (s.labels[listener] == "admin" || s.labels[listener] == "metrics")) continue;
      const auto count = static_cast<std::uint64_t>(s.value);
      traffic.requests += count;
      if (code < s.labels.size() && s.labels[code].starts_with('5')) traffic.errors += count;
    }
  }
  return traffic;
}

std::string Process::why_not_upgradable() const {
  if (::getpid() == 1) return "this process is PID 1, with which its container ends: replace the container instead";
  if (!load_) return "this program does not reload its configuration, so a new process could not be told it";
  return {};
}

/// Who may ask is to be known before a program is run because he named it: on loopback everybody on this machine may.
std::string Process::why_not_to_be_named() const {
  const config::Config& config = current_->config();
  const bool known = !config.admin.token_file.empty() || config.admin.address.starts_with("unix:");
  if (known || !config.upgrade.public_key.empty()) return {};
  return "--binary: everybody on this machine may ask at " + config.admin.address +
         ", so no program may be named there: set admin.token_file, admin.address to a Unix socket, or "
         "upgrade.public_key; or replace the file that this daemon was started from";
}

/// Starts it and waits until it is ready. On a thread that may wait.
bool Process::prove(Successor& next, const upgrade::Program& program, const std::vector<HandedSocket>& sockets,
                    std::string& why) {
  const std::int64_t until = time_after(monotonic_now(), std::chrono::nanoseconds(upgrade_timeout_.load()));
  const auto stopping = [this] { return stop_.load(std::memory_order_acquire) != 0; };
  std::vector<std::string> environment;
  if (notifier_.enabled()) {
    environment.push_back("NOTIFY_SOCKET=" + notifier_.address());
    if (notifier_.watchdog().count() > 0)
      environment.push_back("WATCHDOG_USEC=" + std::to_string(notifier_.watchdog().count()));
  }
  const bool brother = upgrade::Child::parent_is_manager(notifier_.enabled());
  return next.start(program, sockets, environment, brother, why) && next.wait_for("ready", until, stopping, why);
}

Answer Process::give_up(Successor& next, const std::string& why) {
  runtime::blocking([&] { next.end(); });
  if (stop_.load(std::memory_order_acquire) != 0) return is_stopping();
  return {Verdict::failed, "upgrade failed: " + in_one_line(why) + "\nupgrade failed: this process goes on\n"};
}

Answer Process::follow_with(const upgrade::Request& request) {
  if (const std::string why = why_not_upgradable(); !why.empty())
    return {Verdict::refused, "upgrade refused: " + why + "\n"};
  const std::lock_guard alone(changing_);
  if (stop_.load(std::memory_order_acquire) != 0) return is_stopping();
  const std::int64_t began = monotonic_now();
  if (const std::string why = request.binary.empty() ? std::string() : why_not_to_be_named(); !why.empty())
    return {Verdict::refused, "upgrade refused: " + why + "\n", true};
  upgrade::Program program;
  std::string why;
  const upgrade::ProgramRequest wanted{request.binary, request.signature, current_->config().upgrade.public_key};
  if (!runtime::blocking([&] { return upgrade::open_program(wanted, program, why); }))
    return {Verdict::refused, "upgrade refused: " + why + "\n"};
  // Descriptors must not be closed while they are duplicated, nor given up by a stop while another process gets them.
  Result<std::vector<HandedSocket>> sockets = fail(std::errc::operation_canceled);
  {
    if (!may_take_over()) return is_stopping();
    const defer over([this] { taking_over_.store(false, std::memory_order_release); });
    sockets = current_->hand_over();
  }
  if (!sockets) return {Verdict::failed, "upgrade failed: the sockets: " + with_limits(sockets.error()) + "\n"};
  log(LogLevel::info,
      "upgrade: " + program.path + (program.is_signed ? ", whose signature is good," : "") + " is started");
  Successor next;
  const bool ready = runtime::blocking([&] { return prove(next, program, *sockets, why); });
  sockets->clear();
  if (!ready || !may_take_over()) return give_up(next, why);
  const defer over([this] { taking_over_.store(false, std::memory_order_release); });
  current_->lend(true);
  // Whatever is thrown from here on (there is no memory for both): this process serves, if it has not been decided yet.
  const defer served([this] {
    if (taking_over_.load(std::memory_order_acquire) && handed_over_.load(std::memory_order_acquire) == 0)
      serve_again();
  });
  // Each datagram is to be counted by one of the two, and by the one that stays: what comes in between waits.
  current_->take_datagrams(false);
  const bool serving = runtime::blocking([&] {
    return next.channel().send("serve").has_value() &&
           next.wait_for("serving", monotonic_now() + 10'000'000'000, {}, why);
  });
  if (!serving) {
    serve_again();
    runtime::blocking([&] { next.retire(time_to_finish()); });
    return give_up(next, why.empty() ? "the new process ended as it was to serve" : why);
  }
  if (request.rollback_after.count() != 0 && !stand_by(next, request.rollback_after, why)) return roll_back(next, why);
  if (stop_.load(std::memory_order_acquire) != 0) return stop_both(next);
  return hand_over(next, program.path, began);
}

/// True: it has done no worse. False: `why` it has.
bool Process::stand_by(Successor& next, std::chrono::nanoseconds time, std::string& why) {
  const upgrade::Traffic before = traffic();
  current_->accept(false);
  log(LogLevel::info, "upgrade: process " + std::to_string(next.pid()) + " serves; this one stands by for " +
                          std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s");
  return runtime::blocking([&] {
    return upgrade::watch(
        next, before, time_after(monotonic_now(), time), [this] { return stop_.load(std::memory_order_acquire) != 0; },
        why);
  });
}

/// As before the other one was told to.
void Process::serve_again() noexcept {
  handed_over_.store(0, std::memory_order_release);
  current_->apply_settings();
  current_->accept(true);
  current_->take_datagrams(true);
  current_->lend(false);
  taking_over_.store(false, std::memory_order_release);  // a stop need not wait until the other one has ended
}

/// How long a process may take that has served and is to stop: its own shutdown.timeout is not known here, ours is.
std::chrono::milliseconds Process::time_to_finish() const noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::nanoseconds(shutdown_timeout_.load())) + 3s;
}

Answer Process::roll_back(Successor& next, std::string why) {
  serve_again();
  if (why.empty()) {
    log(LogLevel::warning, "upgrade: the new process has closed its end: this one serves again");
    why = "it " + runtime::blocking([&] { return next.why_silent(); });
  }
  log(LogLevel::error, "upgrade: the new process does worse: " + in_one_line(why) + ": this one serves again");
  runtime::blocking([&] { next.retire(time_to_finish()); });
  return {Verdict::rolled_back, "upgrade rolled back: " + in_one_line(why) + "\nthis process serves again\n"};
}

/// A stop has been told to this process, and goes on to the other; until that has ended, or has had its time. A second
/// one, too. On a thread that may wait.
void Process::stop_with(Successor& next) noexcept {
  const auto patience = std::chrono::nanoseconds(shutdown_delay_.load() + shutdown_timeout_.load()) + 1s;
  const std::int64_t until = time_after(monotonic_now(), patience);
  bool cut = false;
  std::string how;
  next.tell_to_stop();
  while (monotonic_now() < until && !next.ended_within(20ms, how))
    if (!cut && (cut = stop_.load(std::memory_order_acquire) >= 2)) next.cut();
}

/// This one is still the one that is known to whoever stops it.
Answer Process::stop_both(Successor& next) {
  log(LogLevel::info, "upgrade: process " + std::to_string(next.pid()) + " is stopped, too");
  current_->lend(false);
  taking_over_.store(false, std::memory_order_release);  // drain() begins
  runtime::blocking([&] {
    stop_with(next);
    next.end(0s, Successor::How::wait);
  });
  return is_stopping();
}

/// It is gone, or cannot be told: nobody serves but this process.
Answer Process::keep(Successor& next) {
  serve_again();
  runtime::blocking([&] { next.retire(time_to_finish()); });
  return give_up(next, "the new process ended as it was to take over");
}

/// Tells everybody that the other one is the daemon now. False: it is not there. On a thread that may wait.
bool Process::pass_on(Successor& next) {
  // A word that it passes over: whether it is there. Behind MAINPID= a service manager sees its end itself.
  if (!next.channel().send("ours")) return false;
  handed_over_.store(next.pid(), std::memory_order_release);
  // Before it speaks for itself: until then nobody hears it, and afterwards nobody hears us.
  (void)notifier_.main_pid(next.pid());
  (void)notifier_.barrier(10s);
  manager_->stop();
  return next.channel().send("done") || notifier_.enabled();
}

Answer Process::hand_over(Successor& next, const std::string& path, std::int64_t began) {
  const pid_t pid = next.pid();
  const std::string process = "process " + std::to_string(pid);
  const std::string serves = process + " (" + path + ") serves, ";
  if (!runtime::blocking([&] { return pass_on(next); })) return keep(next);
  const bool alone = stop_for_other();
  if (!alone) {
    log(LogLevel::info, "upgrade: " + process + " serves, and is stopped, too");
    taking_over_.store(false, std::memory_order_release);
    runtime::blocking([&] { stop_with(next); });
    next.let_go();
    return is_stopping();
  }
  next.let_go();
  to_next_ = std::move(next.channel());
  const std::string line = serves + milliseconds_since(began) + " later";
  log(LogLevel::info, "upgrade: " + line + ": this one stops");
  return {Verdict::done, "upgraded: " + line + "\n"};
}

/// As at the first signal to stop, but that another process serves. False: a signal was sooner.
bool Process::stop_for_other() noexcept {
  arm_watchdog(std::chrono::nanoseconds(shutdown_timeout_.load()));
  if (std::uint32_t none = 0; !stop_.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) return false;
  {
    const LockGuard guard(current_lock_);
    current_->begin_stop();
  }
  stop_.notify_all();
  return true;
}

// ---------------------------------------------------------------------------------------------- the new process

std::string Process::health() {
  const std::shared_ptr<std::atomic<int>> well = std::make_shared<std::atomic<int>>(-1);
  const Result<void> spawned = runtime_->spawn({.name = "health", .claim = fiber::StackClaim::report}, [well] {
    std::string why;
    well->store(processors_answer(1s, why) ? 1 : 0, std::memory_order_release);
  });
  for (const std::int64_t until = monotonic_now() + 1'500'000'000; spawned && monotonic_now() < until;) {
    if (well->load(std::memory_order_acquire) >= 0) break;
    const timespec pause{0, 5'000'000};
    (void)::nanosleep(&pause, nullptr);
  }
  const upgrade::Traffic now = traffic();
  return (well->load(std::memory_order_acquire) == 1 ? "ok " : "bad ") + std::to_string(now.requests) + " " +
         std::to_string(now.errors);
}

/// Sockets that were ours, or the process's before us, and that no listener has any more: who served by them left their
/// files to us.
void Process::unlink_abandoned() noexcept {
  for (const std::string& path : abandoned_) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) (void)::unlink(path.c_str());
  }
  abandoned_.clear();
}

/// All that can fail has been done.
Result<void> Process::follow() {
  upgrade::Predecessor::Hooks hooks;
  hooks.serve = [this] {
    current_->accept_handed();
    runtime_->run([this] { current_->take_datagrams(true); });
    log(LogLevel::info, "upgrade: this process serves, too");
  };
  hooks.health = [this] { return health(); };
  hooks.reload = [this] { reloader_->request(); };
  hooks.done = [this](bool gone) {
    current_->own_handed();
    if (gone)
      log(LogLevel::warning, "upgrade: the process before ended without a word: this one serves alone");
    else
      log(LogLevel::info, "upgrade: handed over: this process serves alone");
    unlink_abandoned();
    manager_->start();
    if (stop_.load(std::memory_order_acquire) != 0) return;  // nothing is begun any more
    store_->update(*current_);
    watch_config();  // before a reload may change what is watched
    upgrader_->open();
    manager_->ready();
    reloader_->open();
  };
  hooks.back = [this] {
    log(LogLevel::warning, "upgrade: the process before serves again: this one stops");
    handed_over_.store(predecessor_->pid(), std::memory_order_release);
    (void)stop_for_other();
  };
  hooks.stop = [this] {
    told_to_stop_.store(true, std::memory_order_release);
    (void)begin_stop("the process before is stopped, and this one with it");
  };
  hooks.cut = [this] {
    if (stop_.load(std::memory_order_acquire) != 0) cut_rest("the process before was told twice");
  };
  return as_result(predecessor_->ready(std::move(hooks)));
}

}  // namespace fiberd::daemon
