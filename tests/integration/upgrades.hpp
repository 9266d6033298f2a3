#pragma once
// Daemons that are followed by other processes, and what becomes of these.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"

namespace fiberd::test {

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
    for (pid_t child = any_child(); child > 0; child = any_child()) {
      (void)::kill(child, SIGKILL);
      (void)::waitpid(child, nullptr, 0);
    }
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

 private:
  static pid_t any_child() {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
      if (const std::string text = read_file(task.path().string() + "/children"); !text.empty())
        return static_cast<pid_t>(std::atoi(text.c_str()));
    return 0;
  }
};

/// `fiberd upgrade` against it; the new process's pid is in its output: 0 where there is none.
struct Upgraded {
  Finished finished;
  pid_t pid = 0;
};
inline Upgraded upgrade(const Daemon& daemon, std::vector<std::string> options = {}) {
  std::vector<std::string> arguments{FIBERD_BINARY, "upgrade", "--address",
                                     "127.0.0.1:" + std::to_string(daemon.port("admin"))};
  arguments.insert(arguments.end(), options.begin(), options.end());
  Upgraded u{run(arguments, std::chrono::seconds(120)), 0};
  const std::size_t at = u.finished.output.find("process ");
  if (at != std::string::npos) u.pid = static_cast<pid_t>(std::atoi(u.finished.output.c_str() + at + 8));
  return u;
}

inline std::string whole(const Upgraded& u) { return u.finished.output + u.finished.errors; }

inline std::string two(const std::string& more = {}) {
  return with_listeners(http_listener("web", says("/", "hello") + ", {path: /echo, echo: {}}"), more);
}

/// The process that the last upgrade in the daemon's log told of.
inline pid_t last_successor(const Daemon& daemon) {
  const std::string log = daemon.log();
  const std::size_t at = log.rfind("upgrade: process ");
  return at == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(log.c_str() + at + 17));
}

}  // namespace fiberd::test
