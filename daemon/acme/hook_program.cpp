#include "daemon/acme/hook_program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>

#include "core/base/printable.hpp"
#include "core/context/errc.hpp"
#include "core/context/waits.hpp"

extern char** environ;

namespace fiberd::daemon::acme {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::nanoseconds kHookPatience = 120s;
constexpr std::chrono::nanoseconds kFirstAsked = 5ms;
constexpr std::chrono::nanoseconds kLastAsked = 250ms;
constexpr std::size_t kMostSaid = 512;

/// What it says.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  ~Pipe() {
    for (const int fd : ends)
      if (fd >= 0) ::close(fd);
  }
};

/// 0 and the child, or an error number.
int start(const std::vector<std::string>& command, int errors, pid_t& child) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& one : command) arguments.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  if (const int error = posix_spawn_file_actions_init(&files); error != 0) return error;
  if (const int error = posix_spawnattr_init(&attributes); error != 0) {
    posix_spawn_file_actions_destroy(&files);
    return error;
  }
  // Our threads block most signals, and those that it gets are to be its own; a group of its own, to be killed whole.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  if (error == 0) error = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&files, errors, 2);
  if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0) error = posix_spawnattr_setpgroup(&attributes, 0);
  if (error == 0)
    error =
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  if (error == 0) error = posix_spawn(&child, arguments.front(), &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

/// Whether it has ended: as waitpid(2) has it; -errno.
pid_t look_after(pid_t child, int& status) noexcept {
  const pid_t n = ::waitpid(child, &status, WNOHANG);
  return n < 0 ? -errno : n;
}

/// What has come; the first of it is kept.
void drain(int fd, std::string& said) noexcept {
  std::array<char, 4096> text{};
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = ::read(fd, text.data(), text.size());
    if (n <= 0) return;
    said.append(text.data(), std::min(static_cast<std::size_t>(n), kMostSaid - said.size()));
  }
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return "ended with " + std::to_string(WEXITSTATUS(status));
  return "was killed by signal " + std::to_string(WTERMSIG(status));
}

}  // namespace

Outcome<void> run_hook(const context::Context& ctx, const std::vector<std::string>& command) {
  const std::string name = "the hook program " + printable(command.front(), 256);
  Pipe errors;
  // Our end alone does not wait: a program whose writes do not is told by a full pipe that they have failed.
  if (::pipe2(errors.ends.data(), O_CLOEXEC) != 0 || ::fcntl(errors.ends[0], F_SETFL, O_NONBLOCK) != 0)
    return give_up(Reason::storage, name + " cannot be started: " + std::system_category().message(errno));
  std::string said;
  said.reserve(kMostSaid);
  const context::Cancelable limit = context::with_timeout(ctx, kHookPatience);  // before there is a child to look after
  pid_t child = -1;
  if (const int error = start(command, errors.ends[1], child); error != 0)
    return give_up(Reason::storage, name + " cannot be started: " + std::system_category().message(error));
  std::chrono::nanoseconds pause = kFirstAsked;
  int status = 0;
  pid_t ended = 0;
  bool killed = false;
  while ((ended = look_after(child, status)) == 0) {
    drain(errors.ends[0], said);
    if (!killed && limit.context.done()) {
      (void)::kill(-child, SIGKILL);
      killed = true;
    }
    // Behind a kill the end is near, and nothing else may be waited for by that context.
    (void)context::sleep(killed ? context::background() : limit.context, pause);
    pause = std::min(pause * 2, kLastAsked);
  }
  limit.cancel();
  if (killed)
    return give_up(ctx.err() == context::errc::canceled ? Reason::canceled : Reason::storage,
                   name + " took too long and was killed");
  if (ended < 0)
    return give_up(Reason::storage,
                   name + ": nobody knows how it ended: " + std::system_category().message(static_cast<int>(-ended)));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  drain(errors.ends[0], said);
  said = printable(std::string_view(said).substr(0, said.find('\n')), 256);
  return give_up(Reason::storage, name + " " + how_it_ended(status) + (said.empty() ? "" : ": " + said));
}

}  // namespace fiberd::daemon::acme
