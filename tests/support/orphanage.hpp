#pragma once
// Children that the test has not started: what its daemons leave behind.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "tests/support/daemon.hpp"

namespace fiberd::test {

/// Of any process, as far as it can be seen.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> all;
  std::error_code gone;
  const std::filesystem::path tasks("/proc/" + std::to_string(parent) + "/task");
  for (std::filesystem::directory_iterator at(tasks, gone), end; !gone && at != end; at.increment(gone)) {
    std::istringstream text(read_file(at->path().string() + "/children"));
    for (pid_t pid = 0; text >> pid;) all.push_back(pid);
  }
  return all;
}

/// 0: there is no such process.
inline pid_t parent_of(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name = text.rfind(") ");  // which may hold anything
  return name == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(text.c_str() + name + 4));
}

/// Processes whose parents have gone become children of this one, for as long as it lives; those that are left are
/// killed. Outlives all other processes of the test.
class Orphanage {
 public:
  Orphanage() {
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw std::system_error(errno, std::system_category(), "prctl");
  }
  ~Orphanage() {
    end_all();
    (void)::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
  Orphanage(const Orphanage&) = delete;
  Orphanage& operator=(const Orphanage&) = delete;

  /// Ends all children of this process: there are to be none but orphans.
  static void end_all() {
    for (std::vector<pid_t> all = children_of(::getpid()); !all.empty(); all = children_of(::getpid()))
      for (const pid_t child : all) {
        (void)::kill(child, SIGKILL);
        (void)::waitpid(child, nullptr, 0);
      }
  }
  /// Waits for those children that have ended and are not `known`: as a service manager does for all of its own.
  static void reap_others(const std::vector<pid_t>& known) {
    for (const pid_t child : children_of(::getpid()))
      if (std::find(known.begin(), known.end(), child) == known.end()) (void)::waitpid(child, nullptr, WNOHANG);
  }
  /// The exit code of one that was handed over to.
  [[nodiscard]] static std::optional<int> wait(pid_t pid) {
    std::optional<int> code;
    (void)eventually(
        [&] {
          int status = 0;
          const pid_t ended = ::waitpid(pid, &status, WNOHANG);
          if (ended != pid) return ended < 0;  // somebody has waited for it already
          code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
          return true;
        },
        std::chrono::seconds(20));
    return code;
  }
};

}  // namespace fiberd::test
