#include "daemon/process_setup.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <new>
#include <span>

#include "core/base/guarded_write.hpp"
#include "core/base/log.hpp"
#include "core/base/log_flush.hpp"
#include "core/fiber/thread_creations.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/logging.hpp"

namespace fiberd::daemon {

namespace {

std::atomic<bool> started{false};

void open_standard_descriptors() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free one is this one. Without /dev/null (an empty root) anything that cannot be written will do.
    const int mode = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", mode) < 0) (void)::open("/", O_RDONLY | O_DIRECTORY);
  }
}

void reset_signals() noexcept {
  for (int signo = 1; signo < SIGRTMIN; ++signo) {
    struct sigaction action {};
    if (signo == SIGINT || signo == SIGHUP || ::sigaction(signo, nullptr, &action) != 0) continue;
    if ((action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_IGN) continue;
    action.sa_handler = SIG_DFL;
    (void)::sigaction(signo, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  (void)pthread_sigmask(SIG_SETMASK, &none, nullptr);
  // A log that has grown to RLIMIT_FSIZE fails, and its lines are counted; nobody is killed for it.
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  (void)::sigaction(SIGXFSZ, &ignore, nullptr);
}

/// The soft limit is low for programs that use select(2), which knows no descriptor above 1023; we do not.
void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // else it stays as it is, which is told when it is too low
}

/// Of the main thread, which reads the configuration.
void check_main_stack() noexcept {
  static constexpr rlim_t kLeast = rlim_t{64} * 1024;
  static constexpr rlim_t kUsual = rlim_t{8} * 1024 * 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= kUsual / 8) return;
  limit.rlim_cur = std::min(limit.rlim_max, kUsual);
  if (::setrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= kLeast) return;
  static constexpr std::string_view kText =
      "fiberd: cannot start: the limit of the stack (ulimit -s, LimitSTACK=) is below 64 KiB: raise it\n";
  (void)write_guarded(STDERR_FILENO, kText, 200);
  ::_exit(static_cast<int>(ExitCode::runtime_failure));
}

void set_thread_stacks() noexcept {
  static constexpr std::size_t kLeast = std::size_t{1024} * 1024;
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  std::size_t size = 0;
  if (pthread_attr_getstacksize(&attributes, &size) == 0 && size < kLeast &&
      pthread_attr_setstacksize(&attributes, kLeast) == 0)
    (void)pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

/// As explain_shortage() of not_enough_memory, where there is no memory to make a text of.
void print_memory_limits(std::span<char> text) noexcept {
  static constexpr std::string_view kRemedy = ": raise it";
  std::size_t at = 0;
  const auto add = [&](const char* format, unsigned long long number) {
    const int n = std::snprintf(text.data() + at, text.size() - at, format, number);
    if (n > 0) at = std::min(at + static_cast<std::size_t>(n), text.size() - 1);
  };
  const auto add_limit = [&](auto resource, const char* format) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) add(format, limit.rlim_cur / 1024);
  };
  text[0] = '\0';
  add_limit(RLIMIT_AS, "; it may have %llu KiB of address space (ulimit -v, LimitAS=)");
  add_limit(RLIMIT_DATA, "; it may have %llu KiB of data (ulimit -d, LimitDATA=)");
  if (at != 0 && text.size() - at > kRemedy.size()) std::copy_n(kRemedy.data(), kRemedy.size() + 1, text.data() + at);
}

[[noreturn]] void on_terminate() noexcept {
  static std::atomic<bool> twice{false};
  const bool starting = !started.load(std::memory_order_acquire);
  if (!twice.exchange(true)) {
    std::array<char, 1024> line{};
    std::array<char, 256> limits{};
    const char* what = "terminated without an exception";
    std::string more;
    try {
      if (const std::exception_ptr exception = std::current_exception()) std::rethrow_exception(exception);
    } catch (const std::bad_alloc&) {
      what = "out of memory";
      print_memory_limits(limits);
    } catch (const std::system_error& e) {
      what = e.what();
      try {
        more = explain_shortage(e.code());
      } catch (...) {  // then without
      }
    } catch (const std::exception& e) {
      what = e.what();
    } catch (...) {
      what = "an exception of unknown type";
    }
    flush_log();
    const int n =
        std::snprintf(line.data(), line.size(), "fiberd: %s: %s%s%s\n",
                      starting ? "cannot start" : "an exception that nobody caught", what, limits.data(), more.c_str());
    if (n > 0)
      (void)write_guarded(STDERR_FILENO, {line.data(), std::min(static_cast<std::size_t>(n), line.size() - 1)}, 200);
  }
  if (starting) ::_exit(static_cast<int>(ExitCode::runtime_failure));
  std::abort();
}

/// The first word of a file; empty: there is none, or it says "max".
std::string word_of(const char* path) {
  std::ifstream in(path);
  std::string word;
  in >> word;
  return word == "max" ? std::string() : word;
}

void add_limit(std::string& text, int resource, std::uint64_t unit, const char* what) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  text += (text.empty() ? "" : ", ") + std::to_string(limit.rlim_cur / unit) + what;
}

}  // namespace

void set_up_process() noexcept {
  fiber::note_thread_creations();
  open_standard_descriptors();
  reset_signals();
  check_main_stack();
  raise_descriptor_limit();
  set_thread_stacks();
  std::set_new_handler(nullptr);
  std::set_terminate(&on_terminate);
}

void end_without_memory() noexcept {
  std::array<char, 256> limits{};
  std::array<char, 512> line{};
  print_memory_limits(limits);
  const int n = std::snprintf(line.data(), line.size(), "fiberd: cannot start: out of memory%s\n", limits.data());
  if (n > 0) (void)!::write(STDERR_FILENO, line.data(), std::min(static_cast<std::size_t>(n), line.size() - 1));
  ::_exit(static_cast<int>(ExitCode::runtime_failure));
}

void say_started() noexcept { started.store(true, std::memory_order_release); }

std::string explain_shortage(std::error_code error) {
  std::string limits;
  if (error == std::errc::too_many_files_open) {
    add_limit(limits, RLIMIT_NOFILE, 1, " open files (ulimit -n, LimitNOFILE= of a systemd unit)");
  } else if (error == std::errc::too_many_files_open_in_system) {
    limits = word_of("/proc/sys/fs/file-max") + " open files in the whole system (sysctl fs.file-max)";
  } else if (error == std::errc::resource_unavailable_try_again || error == std::errc::not_enough_memory) {
    if (error == std::errc::resource_unavailable_try_again) {
      add_limit(limits, RLIMIT_NPROC, 1, " processes and threads of this user (ulimit -u, LimitNPROC=)");
      if (const std::string most = word_of("/sys/fs/cgroup/pids.max"); !most.empty())
        limits += (limits.empty() ? "" : ", ") + most + " of this container or unit (pids.max, TasksMax=)";
    }
    add_limit(limits, RLIMIT_AS, 1024, " KiB of address space (ulimit -v, LimitAS=)");
    add_limit(limits, RLIMIT_DATA, 1024, " KiB of data (ulimit -d, LimitDATA=)");
    if (limits.empty()) limits = "none of its own: the machine's or the container's memory, vm.max_map_count";
  }
  return limits.empty() ? limits : "; the limits of this process: " + limits + ": raise what is too low";
}

void warn_of_address_space(std::uint64_t stack_size) {
  const std::uint64_t needed = stack_size * 1024 + (std::uint64_t{80} << 20U);
  for (const auto& [resource, what] : {std::pair(RLIMIT_AS, "address space (ulimit -v, LimitAS=)"),
                                       std::pair(RLIMIT_DATA, "data (ulimit -d, LimitDATA=)")}) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed) continue;
    log(LogLevel::warning, "the limit of " + std::string(what) + " is " + std::to_string(limit.rlim_cur >> 20U) +
                               " MiB, but the daemon needs " + std::to_string(needed >> 20U) +
                               " MiB with this runtime.stack_size: clients may find no stack; raise it");
  }
}

Descriptors count_descriptors() noexcept {
  // No directory is read: there might be no descriptor for that.
  static constexpr std::uint64_t kLooked = 4096;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {UINT64_MAX, 0};
  Descriptors d{limit.rlim_cur, 0};
  for (int fd = 0; fd < static_cast<int>(std::min<std::uint64_t>(limit.rlim_cur, kLooked)); ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++d.open;
  return d;
}

std::string compare_with_connections(const Descriptors& descriptors, std::uint64_t wanted) {
  if (wanted <= descriptors.free()) return {};
  return "the limits on connections add up to " + std::to_string(wanted) + ", but of the " +
         std::to_string(descriptors.limit) + " files that may be open the daemon itself has " +
         std::to_string(descriptors.open) + ": only " + std::to_string(descriptors.free()) +
         " connections and files fit at once, more are turned away; raise the limit to " +
         std::to_string(descriptors.open + wanted + wanted / 4) +
         " (ulimit -n, LimitNOFILE= of a systemd unit), or lower limits.connections";
}

}  // namespace fiberd::daemon
