// Whatever limits, descriptors, signals and environment the parent left: the start works, or says in a line why not.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kLoggingSite =
    "runtime: {gomaxprocs: 2}\n"
    "admin: {address: \"127.0.0.1:0\"}\n"
    "listeners:\n"
    "  - name: web\n"
    "    address: \"127.0.0.1:0\"\n"
    "    http: {access_log: {format: common}, routes: [{path: /, respond: {body: hello}}]}\n";

struct Outcome {
  bool started = false;
  int code = -1;
  std::string errors;
  [[nodiscard]] std::size_t lines_of_errors() const {
    std::size_t count = 0;
    std::istringstream in(errors);
    // A sanitizer that cannot look for leaks under these limits says so, each line behind "==PID==".
    for (std::string line; std::getline(in, line);) count += line.starts_with("==") ? 0 : 1;
    return count;
  }
};

/// Until it has started, then SIGTERM; or until it has ended by itself.
Outcome try_start(const Process::Options& options) {
  Outcome outcome;
  Process process(options);
  (void)eventually(
      [&] {
        outcome.started = process.errors().find(" started: GOMAXPROCS=") != std::string::npos;
        return outcome.started || !process.running();
      },
      30s);
  process.signal(SIGTERM);
  outcome.code = process.wait().value_or(-1);
  outcome.errors = process.errors();
  return outcome;
}

/// Started and stopped, or 1 with a line that names the limit.
void check(const Outcome& outcome, const std::string& limit) {
  INFO("limit " << limit << ", exit code " << outcome.code << ":\n" << outcome.errors);
  CHECK(outcome.errors.find("terminate called") == std::string::npos);
  if (outcome.started) {
    CHECK(outcome.code == 0);
    return;
  }
  CHECK(outcome.code == 1);
  CHECK(outcome.errors.find(limit) != std::string::npos);
  CHECK(outcome.lines_of_errors() <= 3);
}

}  // namespace

TEST_CASE("the start under few descriptors works or names the limit", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  bool started = false;
  // Below 4 the loader finds no libraries.
  for (unsigned n = 4; n <= 40; n += n < 28 ? 1 : 4) {
    const Outcome outcome = try_start({.arguments = {FIBERD_BINARY, "-c", file}, .open_files = n});
    check(outcome, std::to_string(n) + " open files (ulimit -n, LimitNOFILE=");
    started = outcome.started;
  }
  CHECK((started || kSanitized));
}

TEST_CASE("a start under too few descriptors says how many it needs", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  static constexpr std::string_view kSays = "files may be open, and with this configuration ";
  unsigned needed = 0;
  for (unsigned n = 40; n > 4 && needed == 0; --n) {
    const Outcome outcome = try_start({.arguments = {FIBERD_BINARY, "-c", file}, .open_files = n});
    if (outcome.started) continue;
    INFO(outcome.errors);
    const std::size_t at = outcome.errors.find(kSays);
    REQUIRE(at != std::string::npos);
    needed = static_cast<unsigned>(std::strtoul(outcome.errors.c_str() + at + kSays.size(), nullptr, 10));
    CHECK(needed == n + 1);  // one more was enough
  }
  CHECK((needed != 0 || kSanitized));
}

TEST_CASE("the start under few threads works or names the limit", "[integration][daemon][limits]") {
  if (::getuid() != 0) return;  // the limit counts all that its user runs; only we can have one of our own
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
  const unsigned user = 1'000'000 + static_cast<unsigned>(::getpid());
  if (run(Process::Options{.arguments = {FIBERD_BINARY, "check", file}, .user = user}).code != 0) {
    WARN("another user may not run " FIBERD_BINARY ": not tested");
    return;
  }
  bool started = false;
  for (std::uint64_t n = 0; n <= 10; ++n) {
    const Outcome outcome =
        try_start({.arguments = {FIBERD_BINARY, "-c", file}, .limits = {{RLIMIT_NPROC, n}}, .user = user});
    check(outcome, std::to_string(n) + " processes and threads of this user (ulimit -u, ");
    started = outcome.started;
  }
  CHECK((started || kSanitized));
}

TEST_CASE("the start in little address space works or names the limit", "[integration][daemon][limits]") {
  if (kSanitized) return;  // whose shadow is larger
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  bool started = false;
  // Where the loader finds no room for the libraries it says so, and we are not asked; above that, at whichever byte
  // memory ends, we name the limit: from its last word on in small steps. Where that is, the libraries decide.
  static constexpr std::string_view kLoader = ": error while loading shared libraries: ";
  const auto start_in = [&](std::uint64_t kib) {
    return try_start({.arguments = {FIBERD_BINARY, "-c", file}, .limits = {{RLIMIT_AS, kib * 1024}}});
  };
  const auto check_in = [&](std::uint64_t kib) {
    const Outcome outcome = start_in(kib);
    check(outcome, std::to_string(kib) + " KiB of address space (ulimit -v");
    return outcome.started;
  };
  std::uint64_t first = 24'000;
  for (; first < 60'000; first += 50) {
    const Outcome outcome = start_in(first);
    if (outcome.code != 127 || outcome.errors.find(kLoader) == std::string::npos) break;
  }
  for (std::uint64_t kib = first; kib < first + 6'000; kib += 50) (void)check_in(kib);
  for (const std::uint64_t kib : {7'000U, 8'000U, 10'000U, 16'000U, 36'000U, 76'000U}) (void)check_in(first + kib);
  for (const std::uint64_t kib : {250'000U, 300'000U, 400'000U, 1'000'000U}) started = check_in(kib);
  CHECK(started);
  // Below 10 MiB the kernel does not start it: the tables of sampled profiles are zeros of the program.
  for (const std::uint64_t kib : {11'000U, 14'000U, 20'000U, 100'000U, 400'000U})
    check(try_start({.arguments = {FIBERD_BINARY, "-c", file}, .limits = {{RLIMIT_DATA, kib * 1024}}}),
          std::to_string(kib) + " KiB of data (ulimit -d");
  for (const std::uint64_t kib : {32U, 128U, 1024U})
    check(try_start({.arguments = {FIBERD_BINARY, "-c", file}, .limits = {{RLIMIT_STACK, kib * 1024}}}),
          "the limit of the stack (ulimit -s");
}

TEST_CASE("a log that may not grow is no reason to die", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  const std::string log = directory.path() + "/log";
  const std::string access = directory.path() + "/access";
  Process daemon({.arguments = {FIBERD_BINARY, "-c", file, "--set", "log.output=" + log, "--set",
                                "listeners[0].http.access_log.output=" + access, "--set",
                                "admin.address=unix:" + directory.path() + "/admin"},
                  .limits = {{RLIMIT_FSIZE, 10}}});
  CHECK(eventually([&] {
    const std::string page =
        run({"curl", "-sS", "--max-time", "10", "--unix-socket", directory.path() + "/admin", "http://a/metrics"})
            .output;
    const std::size_t at = page.find("\nfiberd_log_dropped_total ");
    return at != std::string::npos && std::strtod(page.c_str() + at + 26, nullptr) > 0;
  }));
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
  CHECK(read_file(log).size() == 10);
}

TEST_CASE("standard descriptors that are closed are nobody else's", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string admin = directory.path() + "/admin";
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  for (const std::vector<int>& closed : {std::vector{0}, std::vector{1}, std::vector{2}, std::vector{0, 1, 2}}) {
    Process daemon(
        {.arguments = {FIBERD_BINARY, "-c", file, "--set", "admin.address=unix:" + admin}, .closed = closed});
    REQUIRE(eventually([&] {
      return run({"curl", "-sS", "--max-time", "10", "--unix-socket", admin, "http://a/readyz"}).output == "ready\n";
    }));
    for (const int fd : closed) {
      const std::string what =
          std::filesystem::read_symlink("/proc/" + std::to_string(daemon.pid()) + "/fd/" + std::to_string(fd));
      CHECK(what == "/dev/null");
    }
    daemon.signal(SIGTERM);
    CHECK(daemon.wait() == 0);
  }
  const Finished nowhere = run(Process::Options{.arguments = {FIBERD_BINARY, "version"}, .closed = {1}});
  CHECK(nowhere.code == 1);
  CHECK(nowhere.errors.find("standard output cannot be written") != std::string::npos);
}

TEST_CASE("signals that the parent ignored and blocked stop and reopen all the same", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  Process daemon({.arguments = {FIBERD_BINARY, "-c", file},
                  .ignored = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGALRM, SIGSEGV, SIGABRT}});
  REQUIRE(eventually([&] { return daemon.errors().find(" started: ") != std::string::npos; }));
  daemon.signal(SIGUSR1);
  CHECK(eventually([&] { return daemon.errors().find("logs reopened") != std::string::npos; }));
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
}

TEST_CASE("an environment that is empty or odd starts", "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  check(try_start({.arguments = {"env", "-i", FIBERD_BINARY, "-c", file}}), "");
  check(try_start({.arguments = {FIBERD_BINARY, "-c", file},
                   .environment = {{"LC_ALL", "no_such.locale"},
                                   {"TZ", ":/etc/passwd"},
                                   {"GOMEMLIMIT", "much"},
                                   {"FIBERDEBUG", ",=,x=,schedtrace=,guard,=1"},
                                   {"HOME", ""},
                                   {"LISTEN_FDS", "-1"},
                                   {"NOTIFY_SOCKET", "/nowhere"}}}),
        "");
}

TEST_CASE("a hand-over that no upgrade makes is refused by name, and nobody waits for it",
          "[integration][daemon][limits]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kLoggingSite);
  // No descriptor, a standard one, one that is closed, and no number.
  for (const char* const end : {"", "1", "900", "x"}) {
    const Outcome outcome =
        try_start({.arguments = {FIBERD_BINARY, "-c", file}, .environment = {{"FIBERD_HAND_OVER", end}}});
    INFO(end << ":\n" << outcome.errors);
    CHECK_FALSE(outcome.started);
    CHECK(outcome.code == 2);
    CHECK(outcome.errors.find("FIBERD_HAND_OVER=\"" + std::string(end) + "\": no channel") != std::string::npos);
    CHECK(outcome.lines_of_errors() == 1);
  }
}

TEST_CASE("fewer descriptors than connections: a warning with numbers and the remedy",
          "[integration][daemon][limits]") {
  {
    Daemon daemon(kLoggingSite, {.open_files = 300});
    const std::string log = daemon.log();
    INFO(log);
    CHECK(log.find("warning the limits on connections add up to 10000, but of the 300 files") != std::string::npos);
    CHECK(log.find("LimitNOFILE=") != std::string::npos);
    CHECK(log.find("limits.connections") != std::string::npos);
    CHECK(daemon.stop() == 0);
  }
  Daemon enough(kLoggingSite, {.open_files = 300, .arguments = {"--set", "listeners[0].http.limits.connections=200"}});
  CHECK(enough.log().find("add up to") == std::string::npos);
  CHECK(enough.stop() == 0);
}

TEST_CASE("an address space that is below the need is said, though the start worked", "[integration][daemon][limits]") {
  if (kSanitized) return;
  const TemporaryDirectory directory;
  const Outcome outcome =
      try_start({.arguments = {FIBERD_BINARY, "run", "-c", directory.write("fiberd.yaml", kLoggingSite)},
                 .limits = {{RLIMIT_AS, std::uint64_t{330} << 20U}}});
  check(outcome, "address space");
  if (outcome.started) CHECK(outcome.errors.find("is 330 MiB, but the daemon needs 336 MiB") != std::string::npos);
}
