// posix_spawn(3) and not fork(2): the child of a process with threads may do next to nothing before it is another
// program, and the tables of a process with a million stacks are not copied for that. It shares the memory until then,
// and does nothing but what is told here. What posix_spawn has no word for (CLONE_PARENT) is done the same way by hand:
// by system calls alone, for what libraries or sanitizers remember of a call would be remembered in our memory.
#include "daemon/upgrade/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/base/clock.hpp"

namespace fiberd::daemon::upgrade {

namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& t : texts) all.push_back(t.data());
  all.push_back(nullptr);
  return all;
}

int spawn_child(pid_t& pid, const char* path, char* const* arguments, char* const* environment, int kept) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  // To itself: then it is not closed when the program begins.
  error = posix_spawn_file_actions_adddup2(&actions, kept, kept);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (error == 0) error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// ---------------------------------------------------------------------------------------------- a brother

constexpr std::size_t kKernelSet = 8;  // bytes of the kernel's sigset_t

struct Borrowed {
  const char* path;
  char* const* arguments;
  char* const* environment;
  int kept;
  volatile int error;
};

/// In the new process, with our memory and a stack of its own, until it is another program. Our thread waits.
__attribute__((noinline, no_sanitize("address", "thread", "undefined"))) int become(void* argument) {
  auto* const program = static_cast<Borrowed*>(argument);
  // The kernel's struct sigaction of all zeros is the default's. Handlers would be gone with our program; what we
  // ignore would not.
  const std::uint64_t usual[8] = {};
  for (long signo = 1; signo <= 64; ++signo) (void)::syscall(SYS_rt_sigaction, signo, usual, nullptr, kKernelSet);
  (void)::syscall(SYS_fcntl, program->kept, F_SETFD, 0);
  (void)::syscall(SYS_rt_sigprocmask, SIG_SETMASK, usual, nullptr, kKernelSet);
  (void)::syscall(SYS_execve, program->path, program->arguments, program->environment);
  program->error = errno;
  (void)::syscall(SYS_exit_group, 127);
  return 0;
}

/// A mapping for the time of a call.
class Stack {
 public:
  Stack() : at_(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {}
  ~Stack() {
    if (at_ != MAP_FAILED) (void)::munmap(at_, kSize);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  [[nodiscard]] void* top() const noexcept { return at_ == MAP_FAILED ? nullptr : static_cast<char*>(at_) + kSize; }

 private:
  static constexpr std::size_t kSize = 64 * 1024;
  void* at_;
};

int spawn_brother(pid_t& pid, OwnedDescriptor& watched, Borrowed program) {
  const Stack stack;
  if (stack.top() == nullptr) return ENOMEM;
  // Nobody's handler may run in there.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  (void)::pthread_sigmask(SIG_SETMASK, &all, &before);
  int descriptor = -1;
  const int flags = CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD | SIGCHLD;
  const pid_t started = ::clone(&become, stack.top(), flags, &program, &descriptor);
  const int error = started < 0 ? errno : program.error;
  (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started < 0) return error;
  watched = OwnedDescriptor(descriptor);
  if (error != 0) return error;
  pid = started;
  return 0;
}

std::string told(int status) {
  if (WIFSIGNALED(status))
    return std::string("signal ") + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

/// The kernel's struct pidfd_info, as it was first: Debian 12 has no header that knows it.
struct PidfdInfo {
  std::uint64_t mask = 0;
  std::uint64_t cgroup = 0;
  std::array<std::uint32_t, 11> ids{};
  std::int32_t exit_code = 0;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr std::uint64_t kExit = 8;  // PIDFD_INFO_EXIT

/// False: it is not known (yet).
bool exit_status(int watched, int& status) noexcept {
  PidfdInfo info;
  info.mask = kExit;
  if (::ioctl(watched, _IOWR(0xFF, 11, PidfdInfo), &info) != 0 || (info.mask & kExit) == 0) return false;
  status = info.exit_code;
  return true;
}

}  // namespace

bool Child::parent_is_manager(bool notified) noexcept {
  const pid_t parent = ::getppid();
  if (!notified) return false;
  if (parent == 1) return true;
  // A user's own manager says it so (systemd.exec(5)).
  const char* const value = std::getenv("MANAGERPID");
  const std::string_view text = value != nullptr ? value : "";
  pid_t manager = 0;
  return std::from_chars(text.data(), text.data() + text.size(), manager).ptr == text.data() + text.size() &&
         manager == parent && manager > 0;
}

int Child::start(Launch launch, bool brother) {
  const std::vector<char*> arguments = pointers(launch.arguments);
  const std::vector<char*> environment = pointers(launch.environment);
  const char* const path = launch.path.c_str();
  pid_ = 0;
  const int error = brother
                        ? spawn_brother(pid_, watched_, {path, arguments.data(), environment.data(), launch.kept, 0})
                        : spawn_child(pid_, path, arguments.data(), environment.data(), launch.kept);
  if (error != 0) let_go();
  return error;
}

void Child::let_go() noexcept {
  pid_ = 0;
  dead_at_ = 0;
  watched_ = OwnedDescriptor();
}

void Child::signal(int signo) const noexcept {
  if (pid_ == 0) return;
  // Of a brother the number may be another's by now.
  if (is_brother())
    (void)::syscall(SYS_pidfd_send_signal, watched_.get(), signo, nullptr, 0);
  else
    (void)::kill(pid_, signo);
}

bool Child::ended(std::string& how) {
  static constexpr std::int64_t kUntilWaitedFor = 1'000'000'000;  // by its parent, who has nothing else to do
  int status = 0;
  if (pid_ == 0) {
    how = "nothing";
    return true;
  }
  if (!is_brother()) {
    const pid_t found = ::waitpid(pid_, &status, WNOHANG);
    if (found == 0 || (found < 0 && errno == EINTR)) return false;
    how = found < 0 ? "what somebody else has waited for" : told(status);
  } else {
    pollfd wait{watched_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 0) <= 0) return false;
    const std::int64_t now = monotonic_now();
    if (dead_at_ == 0) dead_at_ = now;
    const bool known = exit_status(watched_.get(), status);
    if (!known && now - dead_at_ < kUntilWaitedFor) return false;
    how = known ? told(status) : "what the service manager alone knows (journalctl; Linux before 6.15 tells no other)";
  }
  let_go();
  return true;
}

}  // namespace fiberd::daemon::upgrade
