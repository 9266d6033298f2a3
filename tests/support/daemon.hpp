#pragma once
// The real fiberd as a child process: started on a configuration's text, asked for its ports, signalled, waited for.
// Every wait is bounded; what is left over is killed by the destructor.
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::test {

/// A directory of its own, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Writes path()/name and returns its whole path.
  std::string write(std::string_view name, std::string_view text) const;

 private:
  std::string path_;
};

/// A file's whole text; empty when it is not there.
std::string read_file(const std::string& path);

/// A child process: its output is in files and can be read while it runs.
class Process {
 public:
  struct Options {
    std::vector<std::string> arguments;                ///< the first is the program, found on PATH
    std::map<std::string, std::string> environment{};  ///< added to ours
    std::uint64_t open_files = 0;                      ///< RLIMIT_NOFILE, soft and hard; 0: ours
    std::string directory{};                           ///< working directory; empty: ours
    std::map<int, std::uint64_t> limits{};             ///< of other resources (RLIMIT_AS, …), soft and hard
    std::vector<int> closed{};                         ///< of the standard descriptors
    std::vector<int> ignored{};                        ///< signals that it finds ignored and blocked
    int out = -1;                                      ///< its stdout and stderr; -1: files, which output() and
    int err = -1;                                      ///< errors() read
    unsigned user = 0;                                 ///< user and group; 0: ours
    /// It finds them from descriptor 3 on, as a service manager hands sockets over: with LISTEN_PID and LISTEN_FDS,
    /// which `environment` may say otherwise. Closed ones (-1) are left out.
    std::vector<int> listening{};
  };
  explicit Process(const Options& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void signal(int signo) const;
  /// The exit code, or 128 + signal; nothing when it still runs after `within`.
  std::optional<int> wait(std::chrono::milliseconds within = std::chrono::seconds(20));
  [[nodiscard]] bool running();
  [[nodiscard]] std::string output() const { return read_file(directory_.path() + "/stdout"); }
  [[nodiscard]] std::string errors() const { return read_file(directory_.path() + "/stderr"); }
  /// User and system CPU time so far.
  [[nodiscard]] std::chrono::milliseconds cpu_time() const;

 private:
  TemporaryDirectory directory_;
  pid_t pid_ = -1;
  std::optional<int> outcome_;
};

/// A pipe that is full, and that nobody reads unless the test does.
class FullPipe {
 public:
  FullPipe();
  ~FullPipe();
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  /// To be inherited.
  [[nodiscard]] int writer() const noexcept { return writer_; }
  /// What is in it, but for what filled it: all, until it is found empty, or no more than `most` bytes.
  std::string read(std::size_t most = SIZE_MAX);
  /// Bytes that are in it.
  [[nodiscard]] std::size_t size() const;

 private:
  int reader_ = -1;
  int writer_ = -1;
  std::size_t filler_ = 0;
};

/// Runs a program to its end; throws when it takes longer than `within`.
struct Finished {
  int code = 0;
  std::string output;
  std::string errors;
};
Finished run(const Process::Options& options, std::chrono::seconds within = std::chrono::seconds(60));
Finished run(const std::vector<std::string>& arguments, std::chrono::seconds within = std::chrono::seconds(60));

/// fiberd on `yaml`. Addresses with port 0 get free ports, which port(NAME) tells; the admin listener's name is
/// "admin".
class Daemon {
 public:
  struct Options {
    std::map<std::string, std::string> environment{};
    std::uint64_t open_files = 0;
    int out = -1;                          ///< see Process
    std::vector<std::string> arguments{};  ///< after "run -c FILE"
    std::string program = FIBERD_BINARY;   ///< fiberd, or another that has its command line
    std::vector<int> listening{};          ///< see Process
    std::string token{};                   ///< of its admin.token_file, for admin() and metric()
  };
  /// Returns when it has started; throws with its log when it does not.
  explicit Daemon(std::string_view yaml) : Daemon(yaml, Options{}) {}
  Daemon(std::string_view yaml, const Options& options);

  /// Of one that moved, where it was first.
  [[nodiscard]] std::uint16_t port(std::string_view listener) const;
  /// Replaces the configuration's file, for a reload.
  void write_config(std::string_view yaml) const { directory_.write("fiberd.yaml", yaml); }
  [[nodiscard]] std::string config_file() const { return directory_.path() + "/fiberd.yaml"; }
  [[nodiscard]] Process& process() noexcept { return *process_; }
  [[nodiscard]] std::string log() const { return process_->errors(); }
  /// For one that has been told to stop: SIGTERM until it has taken that for a second signal. For a moment behind the
  /// first it is the same one.
  bool stop_again();
  /// Waits until the log holds `text`.
  bool wait_for_log(std::string_view text, std::chrono::milliseconds within = std::chrono::seconds(10)) const;
  /// GET of the admin listener; the body, or empty when the answer is no 200.
  [[nodiscard]] std::string admin(std::string_view path) const;
  /// The status of GET on the admin listener; 0 when there was no answer.
  [[nodiscard]] unsigned admin_status(std::string_view path) const;
  /// A sample's value as /metrics shows it, named with its labels: `fiberd_bugs_total`; nothing when it is not there.
  [[nodiscard]] std::optional<double> metric(std::string_view sample) const;
  /// SIGTERM, then the exit code.
  std::optional<int> stop(std::chrono::milliseconds within = std::chrono::seconds(20));

 private:
  TemporaryDirectory directory_;
  std::string fields_;  // of what is asked of the admin listener
  std::optional<Process> process_;
};

/// Calls `done` until it is true, at most for `within`, with a pause between.
template <class F>
bool eventually(F done, std::chrono::milliseconds within = std::chrono::seconds(10));

void pause_between_polls();

template <class F>
bool eventually(F done, std::chrono::milliseconds within) {
  const auto until = std::chrono::steady_clock::now() + within;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    pause_between_polls();
  }
  return true;
}

}  // namespace fiberd::test
