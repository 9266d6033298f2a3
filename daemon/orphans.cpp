#include "daemon/orphans.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "core/base/log.hpp"
#include "core/runtime/blocking.hpp"

namespace fiberd::daemon {

namespace {

// All of it on threads that may wait.

/// Whether it has ended and was not waited for.
bool is_dead(pid_t pid) noexcept {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/// Any that is; 0: none.
pid_t find_dead() noexcept {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

void add_dead(const char* file, std::vector<pid_t>& dead) {
  const int fd = ::open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::array<char, 4096> text{};
  pid_t pid = 0;
  for (;;) {
    const ssize_t n = ::read(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (const char c : std::string_view(text.data(), static_cast<std::size_t>(n))) {
      if (c >= '0' && c <= '9') {
        pid = pid * 10 + (c - '0');
        continue;
      }
      if (pid != 0 && is_dead(pid)) dead.push_back(pid);
      pid = 0;
    }
  }
  ::close(fd);
}

/// All children that are dead, sorted. Without /proc one at least, if there is any.
std::vector<pid_t> find_all_dead() {
  std::vector<pid_t> dead;
  if (const pid_t one = find_dead(); one != 0)
    dead.push_back(one);
  else
    return dead;
  if (DIR* const tasks = ::opendir("/proc/self/task"); tasks != nullptr) {
    while (const dirent* const task = ::readdir(tasks))
      if (task->d_name[0] != '.')
        add_dead(("/proc/self/task/" + std::string(task->d_name) + "/children").c_str(), dead);
    ::closedir(tasks);
  }
  std::sort(dead.begin(), dead.end());
  dead.erase(std::unique(dead.begin(), dead.end()), dead.end());
  return dead;
}

}  // namespace

bool Orphans::are_ours() noexcept { return ::getpid() == 1; }

void Orphans::look(runtime::Cancellation& until) noexcept {
  if (asked_.fetch_add(1) != 0) return;
  try {
    if (runtime_.spawn({.name = "orphans", .claim = fiber::StackClaim::report}, [this, &until] { run(until); })) return;
  } catch (const std::bad_alloc&) {  // the next one that ends asks again
  }
  asked_.store(0);
}

/// Takes those that were dead at the last look. False: no child is dead.
bool Orphans::reap() {
  std::vector<pid_t> now = find_all_dead();
  const auto taken = std::remove_if(now.begin(), now.end(), [this](pid_t pid) {
    return std::binary_search(dead_.begin(), dead_.end(), pid) && ::waitpid(pid, nullptr, WNOHANG) != 0;
  });
  now.erase(taken, now.end());
  dead_ = std::move(now);
  return !dead_.empty();
}

void Orphans::run(runtime::Cancellation& until) noexcept {
  static constexpr auto kPatience = std::chrono::milliseconds(500);
  std::uint32_t asked = asked_.load();
  while (!until.canceled()) {
    bool more = true;
    try {
      more = runtime::blocking([this] { return reap(); });
    } catch (const std::exception&) {  // no thread, or no memory: later
    }
    if (!more) {
      if (asked_.compare_exchange_strong(asked, 0)) return;
      continue;  // one ended meanwhile; `asked` is the new count
    }
    (void)runtime::sleep_for(kPatience, &until);
  }
  asked_.store(0);
}

}  // namespace fiberd::daemon
