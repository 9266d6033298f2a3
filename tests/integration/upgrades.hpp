#pragma once
// Daemons that are followed by other processes, and what becomes of these.
#include <sys/types.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/orphanage.hpp"

namespace fiberd::test {

/// `fiberd upgrade` against it; the new process's pid is in its output: 0 where there is none.
struct Upgraded {
  Finished finished;
  pid_t pid = 0;
};
inline std::vector<std::string> upgrade_command(const Daemon& daemon, std::vector<std::string> options = {}) {
  std::vector<std::string> arguments{FIBERD_BINARY, "upgrade", "--address",
                                     "127.0.0.1:" + std::to_string(daemon.port("admin"))};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return arguments;
}
inline Upgraded upgrade(const Daemon& daemon, std::vector<std::string> options = {}) {
  Upgraded u{run(upgrade_command(daemon, std::move(options)), std::chrono::seconds(120)), 0};
  const std::size_t at = u.finished.output.find("process ");
  if (at != std::string::npos) u.pid = static_cast<pid_t>(std::atoi(u.finished.output.c_str() + at + 8));
  return u;
}

inline std::string whole(const Upgraded& u) { return u.finished.output + u.finished.errors; }

inline std::string two(const std::string& more = {}) {
  return with_listeners(http_listener("web", says("/", "hello") + ", {path: /echo, echo: {}}"), more);
}

/// Where who asks is known by a token, so that he may name a program.
class Known {
 public:
  /// two() with such an admin listener.
  [[nodiscard]] std::string configuration(const std::string& more = {}) const {
    std::string yaml = two(more);
    return yaml.replace(yaml.find(kAdmin), kAdmin.size(),
                        "admin: {address: \"127.0.0.1:0\", token_file: " + file_ + "}\n");
  }
  [[nodiscard]] static Daemon::Options options() { return {.token = kToken}; }
  /// Of the command, for `program`.
  [[nodiscard]] std::vector<std::string> naming(const std::string& program) const {
    return {"--token-file", file_, "--binary", program};
  }

 private:
  static constexpr const char* kToken = "0123456789abcdef";
  TemporaryDirectory directory_;
  std::string file_ = directory_.write("token", kToken);
};

/// A program of the directory's own: a copy of `of`.
inline std::string copy_of_program(const TemporaryDirectory& directory, const std::string& of) {
  const std::string path = directory.path() + "/program";
  std::filesystem::copy_file(of, path);
  std::filesystem::permissions(path, std::filesystem::perms(0755));
  return path;
}

/// The process that the last upgrade in the daemon's log told of.
inline pid_t last_successor(const Daemon& daemon) {
  const std::string log = daemon.log();
  const std::size_t at = log.rfind("upgrade: process ");
  return at == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(log.c_str() + at + 17));
}

}  // namespace fiberd::test
