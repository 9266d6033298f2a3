// Which programs may follow, and how one that does worse is taken back.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/upgrades.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

// ---------------------------------------------------------------------------------------------- signatures

namespace {

/// A pair of keys, and signatures of files by it.
class Signer {
 public:
  Signer() {
    (void)call({"openssl", "genpkey", "-algorithm", "ed25519", "-out", path("key")});
    (void)call({"openssl", "pkey", "-in", path("key"), "-pubout", "-out", path("public")});
  }
  /// FILE.sig, or `signature`.
  void sign(const std::string& file, const std::string& signature = {}) const {
    (void)call({"openssl", "pkeyutl", "-sign", "-rawin", "-inkey", path("key"), "-in", file, "-out",
                signature.empty() ? file + ".sig" : signature});
  }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

 private:
  static Finished call(const std::vector<std::string>& arguments) {
    Finished finished = run(arguments);
    if (finished.code != 0) throw std::runtime_error(arguments[1] + ": " + finished.errors);
    return finished;
  }
  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("with upgrade.public_key only a program is run that was signed by its key", "[integration][upgrade]") {
  const Orphanage orphans;
  const Signer ours;
  const Signer other;
  const TemporaryDirectory directory;
  const std::string program = copy_of_program(directory, FIBERD_BINARY);
  Daemon daemon(two("upgrade: {public_key: " + ours.path("public") + "}\n"));
  const auto refused = [&](const std::vector<std::string>& options, const std::string& text) {
    const Upgraded u = upgrade(daemon, options);
    INFO(whole(u));
    CHECK(u.finished.code == 2);
    CHECK(u.finished.errors.find(text) != std::string::npos);
  };
  refused({"--binary", program}, "its signature " + program + ".sig: No such file");
  refused({}, "its signature ");  // what this process was started from has none, either
  other.sign(program);
  refused({"--binary", program}, "is no signature of it by the key of");
  ours.sign(program);
  {
    // Signed, and then changed.
    const int fd = ::open(program.c_str(), O_WRONLY | O_APPEND);
    REQUIRE(::write(fd, "x", 1) == 1);
    ::close(fd);
  }
  refused({"--binary", program}, "is no signature of it by the key of");
  CHECK(daemon.metric("fiberd_upgrades_total{result=\"refused\"}") == 4);
  ours.sign(program, ours.path("elsewhere"));
  const Upgraded u = upgrade(daemon, {"--binary", program, "--signature", ours.path("elsewhere")});
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 0);
  CHECK(daemon.wait_for_log("whose signature is good"));
  CHECK(daemon.process().wait() == 0);
  // It runs from memory; what it would be followed by is the file all the same.
  ours.sign(program);
  CHECK(std::filesystem::read_symlink("/proc/" + std::to_string(u.pid) + "/exe").string().find("memfd:") !=
        std::string::npos);
  (void)::kill(u.pid, SIGUSR2);
  CHECK(Orphanage::wait(u.pid) == 0);
  const pid_t third = last_successor(daemon);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  (void)::kill(third, SIGTERM);
  CHECK(Orphanage::wait(third) == 0);
}

TEST_CASE("a check and a reload refuse a public key that is none", "[integration][upgrade]") {
  const TemporaryDirectory directory;
  for (const std::string& key : {directory.path() + "/none", directory.write("key", "no key")}) {
    const std::string file = directory.write("f.yaml", two("upgrade: {public_key: " + key + "}\n"));
    const Finished checked = run({FIBERD_BINARY, "check", file});
    INFO(checked.errors);
    CHECK(checked.code == 2);
    CHECK(checked.errors.find("upgrade.public_key: " + key + ": ") != std::string::npos);
  }
}

// ---------------------------------------------------------------------------------------------- standby

TEST_CASE("a new process that answers more 5xx is taken back, and no request is lost by that",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two());
  const pid_t old = daemon.process().pid();
  {
    HttpClient client(daemon.port("web"));
    for (int i = 0; i < 50; ++i) REQUIRE(client.ask(get("/")).value().status == 200);
  }
  daemon.write_config(with_listeners(http_listener("web", "{path: /, respond: {status: 500, body: broken}}")));
  Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s"));
  HttpClient kept(daemon.port("web"));
  CHECK(kept.ask(get("/")).value().status == 500);  // it came to the new one
  for (int i = 0; i < 50; ++i) (void)kept.ask(get("/"));
  CHECK(asking.wait(60s) == 1);
  INFO(asking.errors() << daemon.log());
  CHECK(asking.errors().find("upgrade rolled back") != std::string::npos);
  CHECK(asking.errors().find("5xx") != std::string::npos);
  CHECK(daemon.process().pid() == old);
  CHECK(daemon.process().running());
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(daemon.metric("fiberd_upgrades_total{result=\"rolled_back\"}") == 1);
  CHECK(daemon.admin_status("/readyz") == 200);
  CHECK(daemon.stop() == 0);
  CHECK_THROWS(HttpClient(daemon.port("web")));  // nobody else has the socket
}

TEST_CASE("a new process that does as well is left alone when the standby is over, or dies and is taken back",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two());
  // Killed while the old one stands by.
  Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s"));
  const pid_t next = last_successor(daemon);
  REQUIRE(next > 1);
  (void)::kill(next, SIGKILL);
  CHECK(asking.wait(60s) == 1);
  CHECK(asking.errors().find("it ended with signal 9") != std::string::npos);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  // And one that lives.
  const Upgraded u = upgrade(daemon, {"--rollback-after", "1s"});
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 0);
  CHECK(daemon.process().wait() == 0);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  (void)::kill(u.pid, SIGTERM);
  CHECK(Orphanage::wait(u.pid) == 0);
}

TEST_CASE("a stop of the process that stands by stops both, and nobody keeps the socket", "[integration][upgrade]") {
  const Orphanage orphans;
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  Daemon daemon(with_listeners(http_listener("web", says("/", "hello")) + "  - {name: file, address: \"unix:" + path +
                               "\", tcp: {echo: {}}}\n"));
  const Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s"));
  const pid_t next = last_successor(daemon);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait(40s) == 0);
  CHECK(::kill(next, 0) != 0);
  CHECK_THROWS(HttpClient(daemon.port("web")));
  CHECK(!std::filesystem::exists(path));
}
