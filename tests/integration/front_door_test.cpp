// The front door: what `make run` does around the daemon, and what README.md and docs/ promise of the tree.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <regex>
#include <string>

#include "config/config.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kRoot = FIBERD_SOURCE_DIR;

/// A socket that listens on a free port.
struct Taken {
  explicit Taken(const std::string& address) {
    const net::Endpoint at = *net::Endpoint::parse(address);
    fd = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(fd, at.data(), at.size()) == 0);
    REQUIRE(::listen(fd, 1) == 0);
    sockaddr_storage got{};
    socklen_t size = sizeof got;
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&got), &size) == 0);
    port = net::Endpoint::from(reinterpret_cast<const sockaddr*>(&got), size).port();
  }
  ~Taken() { ::close(fd); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  int fd;
  unsigned port = 0;
};

}  // namespace

TEST_CASE("a port that is in use is found before anything is built", "[integration][make]") {
  unsigned freed = 0;
  {
    const Taken taken("127.0.0.1:0");
    const std::string port = std::to_string(taken.port);
    const Finished found = run({kRoot + "/deploy/ports-free", port});
    CHECK(found.code == 1);
    CHECK(found.errors == "port " + port + " is in use by another program\n");
    freed = taken.port;
  }
  CHECK(run({kRoot + "/deploy/ports-free", std::to_string(freed)}).code == 0);

  // make run asks before it installs or builds, for the ports that the built-in configuration has.
  const std::string makefile = read_file(kRoot + "/Makefile");
  std::string ports = "RUN_PORTS =";
  for (const config::ListenerConfig& l : config::load_text(config::default_config(), "built-in").config.listeners)
    ports += " " + l.address.substr(l.address.rfind(':') + 1);
  INFO(ports);
  CHECK(makefile.find(ports + "\n") != std::string::npos);
  const std::string directory = kRoot;
  const Taken taken("127.0.0.1:0");
  const Finished refused = run({"make", "-C", directory, "run", "RUN_PORTS=" + std::to_string(taken.port)});
  CHECK(refused.code != 0);
  CHECK(refused.errors.find("is in use by another program") != std::string::npos);
  CHECK(refused.errors.find("ARGS=") != std::string::npos);
  CHECK(refused.output.find("packages") == std::string::npos);
}

TEST_CASE("make run gives ARGS to fiberd", "[integration][make]") {
  const Finished plan = run({"make", "-n", "-C", kRoot, "run", "ARGS=-c mine.yaml --set runtime.gomaxprocs=1"});
  CHECK(plan.code == 0);
  CHECK(plan.output.find("deploy/run build/release/fiberd -c mine.yaml --set runtime.gomaxprocs=1\n") !=
        std::string::npos);
  CHECK(plan.output.find("ports-free") == std::string::npos);  // whose ports these are not
  const TemporaryDirectory directory;
  const std::string file = directory.write(
      "mine.yaml", "admin: {address: off}\nlisteners: [{name: mine, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  Process process({.arguments = {kRoot + "/deploy/run", FIBERD_BINARY, "-c", file}});
  CHECK(eventually([&] { return process.errors().find(" started: ") != std::string::npos; }));
  CHECK(process.errors().find(": mine (tcp)") != std::string::npos);
  CHECK(process.errors().find("Try, in another terminal") == std::string::npos);
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}

TEST_CASE("a tree that was configured without tests has them again for make and CI", "[integration][make]") {
  for (const char* target : {"run", "build", "test", "asan", "tsan", "bench", "fuzz", "docs"}) {
    INFO(target);
    const Finished plan = run({"make", "-n", "-C", kRoot, target, "ARGS=-c mine.yaml"});
    CHECK(plan.code == 0);
    CHECK(plan.output.find(" -DFIBERD_TESTS=ON ") != std::string::npos);
  }
  for (const char* script : {"/.ci/run", "/tests/support/lint"}) {
    std::istringstream in(read_file(kRoot + script));
    for (std::string line; std::getline(in, line);) {
      INFO(script << ": " << line);
      if (line.find("cmake --preset ") != std::string::npos)
        CHECK(line.find(" -DFIBERD_TESTS=ON ") != std::string::npos);
    }
  }
  // And what the page on installing says is done in a tree of its own.
  const std::string page = read_file(kRoot + "/docs/handlers.md");
  CHECK(page.find("cmake --preset release -B build/install -DFIBERD_TESTS=OFF\n") != std::string::npos);
}

TEST_CASE("what to try is printed when the daemon has started, and not when it has not", "[integration][make]") {
  const TemporaryDirectory directory;
  // Stands in for fiberd: on free ports, or on one that is taken.
  const auto stand_in = [&](const std::string& address) {
    const std::string path = directory.write(
        "fiberd", "#!/bin/sh\nexec " + std::string(FIBERD_BINARY) + " \"$@\" --set listeners[0].address=" + address +
                      " --set listeners[1].address=127.0.0.1:0 --set admin.address=127.0.0.1:0\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  };
  const Taken taken("127.0.0.1:0");
  const Finished refused = run({kRoot + "/deploy/run", stand_in("127.0.0.1:" + std::to_string(taken.port))});
  CHECK(refused.code == 3);
  CHECK(refused.errors.find("Try, in another terminal") == std::string::npos);

  Process process({.arguments = {kRoot + "/deploy/run", stand_in("127.0.0.1:0")}});
  CHECK(eventually([&] { return process.errors().find("Ctrl-C stops it.") != std::string::npos; }));
  const std::string log = process.errors();
  CHECK(log.find("Try, in another terminal") > log.find(" started: "));
  CHECK(std::regex_search(log, std::regex("curl http://127.0.0.1:[0-9]+/metrics\n")));
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
  CHECK(eventually([&] { return process.errors().find("stopped\n") != std::string::npos; }));
}

TEST_CASE("without a cache that ccache can write, the build goes without", "[integration][make]") {
  const TemporaryDirectory directory;
  Process process({.arguments = {"cmake", "-S", kRoot, "-B", directory.path() + "/build", "-DFIBERD_TESTS=OFF"},
                   .environment = {{"CCACHE_DIR", "/proc/no-such-place"}, {"HOME", "/proc/no-such-place"}}});
  REQUIRE(process.wait(120s) == 0);
  CHECK(process.output().find("ccache cannot be used here") != std::string::npos);
  CHECK(read_file(directory.path() + "/build/compile_commands.json").find("ccache") == std::string::npos);
}

TEST_CASE("what README.md begins with gets make on a fresh machine, and `make run` what its lines need",
          "[integration][make]") {
  CHECK(read_file(kRoot + "/README.md").find("apt-get update && apt-get install -y make") != std::string::npos);
  // The section that `make run` installs has curl, with which the lines that it prints are tried.
  std::istringstream packages(read_file(kRoot + "/deploy/packages.txt"));
  std::string section;
  bool curl = false;
  for (std::string line; std::getline(packages, line);) {
    if (line.starts_with('[')) section = line;
    curl = curl || (section == "[run]" && line.starts_with("curl"));
  }
  CHECK(curl);
  CHECK(read_file(kRoot + "/Makefile").find("install-packages build run") != std::string::npos);
}

TEST_CASE("what README.md says of Docker and of the built-in configuration is so", "[integration][docs]") {
  const std::string readme = read_file(kRoot + "/README.md");
  const std::string dockerfile = read_file(kRoot + "/Dockerfile");
  CHECK(readme.find("docker build -t fiberd .\n") != std::string::npos);
  CHECK(dockerfile.find("ENTRYPOINT [\"/usr/bin/fiberd\"]\nCMD [\"run\", \"-c\", \"/etc/fiberd/fiberd.yaml\"]\n") !=
        std::string::npos);
  CHECK(dockerfile.find("USER 10001:10001\n") != std::string::npos);
  // A tree that was configured elsewhere would end the build.
  CHECK(("\n" + read_file(kRoot + "/.dockerignore")).find("\nbuild\n") != std::string::npos);
  const config::Outcome of_image = config::load_file(kRoot + "/deploy/docker/fiberd.yaml");
  REQUIRE(of_image.ok());
  std::string ports = "EXPOSE";
  for (const config::ListenerConfig& l : of_image.config.listeners) ports += " " + l.address.substr(8);
  CHECK(dockerfile.find(ports + "\n") != std::string::npos);
  CHECK(of_image.config.log.output == "stdout");
  CHECK(of_image.config.log.format == config::LogFormat::json);
  CHECK(of_image.config.admin.address.starts_with("127.0.0.1:"));
  CHECK(of_image.config.config.watch);
  const config::Config built_in = config::load_text(config::default_config(), "built-in").config;
  for (const config::ListenerConfig& l : built_in.listeners) {
    INFO(l.name);
    CHECK(l.address.starts_with("0.0.0.0:"));
  }
  CHECK(readme.find("it listens on all addresses") != std::string::npos);
  CHECK(readme.find("--set listeners[0].address=127.0.0.1:8080 --set listeners[1].address=127.0.0.1:7000") !=
        std::string::npos);
  CHECK(std::chrono::seconds(35) > of_image.config.shutdown.timeout);
}

TEST_CASE("every path that README.md and docs/ name is there", "[integration][docs]") {
  std::vector<std::string> pages{"README.md", "CONTRIBUTING.md"};
  for (const auto& file : std::filesystem::recursive_directory_iterator(kRoot + "/docs"))
    if (file.path().extension() == ".md") pages.push_back(std::filesystem::relative(file.path(), kRoot).string());
  // `core/x/y.cpp` in backquotes, and the first word of the lines of architecture.md's table of rooms.
  static const std::regex kPath(
      R"re((?:`|^)((?:core|config|daemon|deploy|docs|tests)(?:/[A-Za-z0-9_.-]+)+/?)(?:`|\s))re");
  std::size_t found = 0;
  for (const std::string& page : pages) {
    std::istringstream in(read_file(kRoot + "/" + page));
    for (std::string line; std::getline(in, line);)
      for (std::sregex_iterator it(line.begin(), line.end(), kPath); it != std::sregex_iterator(); ++it, ++found) {
        INFO(page << ": " << (*it)[1]);
        CHECK(std::filesystem::exists(kRoot + "/" + (*it)[1].str()));
      }
  }
  CHECK(found > 40);
}
