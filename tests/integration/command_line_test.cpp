// What people type: each form that they know from other programs does what it says.
#include <catch2/catch.hpp>

#include "tests/support/daemon.hpp"

using namespace fiberd::test;

namespace {
const std::string kYaml = "admin: {address: off}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n";

Finished fiberd_says(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{FIBERD_BINARY};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(all);
}
}  // namespace

TEST_CASE("help and version by each of their names", "[integration][command_line]") {
  const std::string help = fiberd_says({"--help"}).output;
  CHECK(help.find("Without a command it runs the server") != std::string::npos);
  CHECK(help.find("--set KEY=VALUE") != std::string::npos);
  CHECK(help.find("-c,--config FILE") != std::string::npos);
  CHECK(help.find("TEXT") == std::string::npos);
  for (const char* const name : {"help", "-h"}) {
    const Finished said = fiberd_says({name});
    CHECK(said.code == 0);
    CHECK(said.output == help);
  }
  const Finished version = fiberd_says({"version"});
  CHECK(version.output.starts_with("fiberd "));
  const Finished flag = fiberd_says({"--version"});
  CHECK(flag.code == 0);
  CHECK(flag.output == version.output);
}

TEST_CASE("check and run take their file with -c and without", "[integration][command_line]") {
  const TemporaryDirectory directory;
  const std::string good = directory.write("good.yaml", kYaml);
  const std::string bad = directory.write("bad.yaml", "listeners: 5\n");
  for (const auto& form : {std::vector<std::string>{good}, {"-c", good}, {"--config", good}}) {
    std::vector<std::string> arguments{"check"};
    arguments.insert(arguments.end(), form.begin(), form.end());
    const Finished checked = fiberd_says(arguments);
    INFO(checked.errors);
    CHECK(checked.code == 0);
    CHECK(checked.output == good + ": ok\n");
  }
  for (const auto& form :
       {std::vector<std::string>{"run", bad}, {"run", "-c", bad}, {"-c", bad}, {"check", "-c", bad}}) {
    const Finished refused = fiberd_says(form);
    CHECK(refused.code == 2);
    CHECK(refused.errors.find(bad + ":1:12: listeners: ") != std::string::npos);
  }
  const Finished none = fiberd_says({"check"});
  CHECK(none.code == 2);
  CHECK(none.errors.find("FILE is required") != std::string::npos);
  const Finished two = fiberd_says({"check", good, "-c", bad});
  CHECK(two.code == 2);
  CHECK(two.errors.find("two configuration files") != std::string::npos);
}

TEST_CASE("what stands before a command counts beside what stands behind it", "[integration][command_line]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kYaml);
  const Finished set = fiberd_says({"--set", "runtime.gomaxprocs=bad", "check", file, "--set", "log.level=info"});
  CHECK(set.code == 2);
  CHECK(set.errors.find("runtime.gomaxprocs") != std::string::npos);
  const Finished two = fiberd_says({"-c", file, "check", "-c", file});
  CHECK(two.code == 2);
  CHECK(two.errors.find("two configuration files") != std::string::npos);
  // A variable of the shell that is not set must not start the built-in servers.
  for (const auto& empty : {std::vector<std::string>{"run", ""}, {"-c", ""}, {"check", ""}}) {
    const Finished nothing = fiberd_says(empty);
    CHECK(nothing.code == 2);
    CHECK(nothing.errors.find("the configuration file's name is empty") != std::string::npos);
  }
}

TEST_CASE("check warns of the environment that run would warn of", "[integration][command_line][check]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", kYaml);
  const Finished checked = run(Process::Options{.arguments = {FIBERD_BINARY, "check", file},
                                                .environment = {{"GOMAXPROCS", "abc"}, {"GOMEMLIMIT", "1GB"}}});
  CHECK(checked.code == 0);
  CHECK(checked.output == file + ": ok\n");
  CHECK(checked.errors.find("warning: GOMAXPROCS=\"abc\" in the environment is not a positive integer") !=
        std::string::npos);
  CHECK(checked.errors.find("warning: GOMEMLIMIT=1GB is no size") != std::string::npos);
  Daemon daemon(kYaml, {.environment = {{"GOMAXPROCS", "abc"}, {"GOMEMLIMIT", "1GB"}}});
  CHECK(daemon.wait_for_log("warning GOMAXPROCS=\"abc\""));
  CHECK(daemon.wait_for_log("warning GOMEMLIMIT=1GB is no size"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what stands where a command is expected: the one that was meant is named", "[integration][command_line]") {
  const Finished file = fiberd_says({"site.yaml"});
  CHECK(file.code == 2);
  CHECK(file.errors.find("fiberd -c site.yaml\n") != std::string::npos);
  const Finished command = fiberd_says({"chekc", "site.yaml"});
  CHECK(command.code == 2);
  CHECK(command.errors.find("Did you mean check?\n") != std::string::npos);
  const Finished option = fiberd_says({"--nothing"});
  CHECK(option.code == 2);
  CHECK(option.errors.find("mean") == std::string::npos);
}

TEST_CASE("reload says where it asked, and what is in the way", "[integration][command_line]") {
  const TemporaryDirectory directory;
  const Finished nobody = fiberd_says({"reload", "--address", "unix:" + directory.path() + "/none.sock"});
  CHECK(nobody.code == 1);
  CHECK(nobody.errors.find("no admin listener there") != std::string::npos);
  const std::string file =
      directory.write("f.yaml", "admin: {address: \"unix:" + directory.path() + "/gone.sock\"}\nlisteners: []\n");
  const Finished moved = fiberd_says({"reload", file});
  CHECK(moved.code == 1);
  CHECK(moved.errors.find("/gone.sock: ") != std::string::npos);
  CHECK(moved.errors.find("where the file says") != std::string::npos);
  // A file of which nobody knows what it says of the address is told to be wrong, and not the address.
  const std::string wrong = directory.write("g.yaml", "admin: {adress: \"unix:/x.sock\"}\nlisteners: []\n");
  const std::string unset = directory.write("h.yaml", "admin: {address: \"127.0.0.1:${FIBERD_NO_PORT}\"}\n");
  for (const auto& [name, why] : {std::pair(wrong, ":1:9: admin.adress: "), std::pair(unset, "no FIBERD_NO_PORT")}) {
    const Finished refused = fiberd_says({"reload", "-c", name});
    CHECK(refused.code == 2);
    CHECK(refused.errors.find(why) != std::string::npos);
    CHECK(refused.errors.find("nobody was asked") != std::string::npos);
  }
  const Finished missing = fiberd_says({"reload", "-c", directory.path() + "/none.yaml"});
  CHECK(missing.code == 2);
  CHECK(missing.errors.find("none.yaml") != std::string::npos);
}
