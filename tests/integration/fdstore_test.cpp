// A service manager's store of descriptors: what the daemon puts there, and takes from there at its next start.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/held_socket.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/notify_socket.hpp"
#include "tests/support/orphanage.hpp"
#include "tests/support/paced_load.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// Does with descriptors what systemd does with them.
class Store {
 public:
  Store() : notify_(directory_.path() + "/notify") {}
  ~Store() {
    for (auto& [name, fds] : kept_)
      for (const int fd : fds) ::close(fd);
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Reads what was sent until `wanted` are there, and as long as more comes at once.
  bool holds(const std::vector<std::string>& wanted) {
    return eventually([&] {
      while (take_one()) {
      }
      std::vector<std::string> names;
      for (const auto& [name, fds] : kept_) names.push_back(name);
      return names == wanted;
    });
  }
  [[nodiscard]] Daemon::Options options() const {
    Daemon::Options o{.environment = {{"NOTIFY_SOCKET", notify_.address()}, {"FDSTORE", "16"}}};
    std::string names;
    for (const auto& [name, fds] : kept_)
      for (const int fd : fds) {
        names += (names.empty() ? "" : ":") + name;
        o.listening.push_back(fd);
      }
    if (!names.empty()) o.environment["LISTEN_FDNAMES"] = names;
    return o;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

 private:
  bool take_one() {
    std::vector<int> fds;
    const std::string text = notify_.next(&fds, 50ms);
    const std::size_t at = text.find("FDNAME=");
    const std::string name = at == std::string::npos ? "" : text.substr(at + 7, text.find('\n', at) - at - 7);
    if (text.find("FDSTOREREMOVE=1") != std::string::npos) {
      for (const int fd : kept_[name]) ::close(fd);
      kept_.erase(name);
    } else if (text.find("FDSTORE=1") != std::string::npos) {
      CHECK(text.find("FDPOLL=0") != std::string::npos);
      kept_[name].insert(kept_[name].end(), fds.begin(), fds.end());
    } else {
      for (const int fd : fds) ::close(fd);
    }
    return !text.empty();
  }
  TemporaryDirectory directory_;
  NotifySocket notify_;
  std::map<std::string, std::vector<int>> kept_;
};

void restarts_under_load(unsigned connections, unsigned rate, unsigned fresh_each) {
  Store store;
  const std::string yaml = with_listeners(http_listener("web", says("/", "hello")));
  std::optional<Daemon> daemon(std::in_place, yaml, store.options());
  const std::uint16_t port = daemon->port("web");
  REQUIRE(store.holds({"admin@127.0.0.1%3A0", "web@127.0.0.1%3A0"}));
  PacedLoad load({.port = port, .connections = connections, .rate = rate, .fresh_each = fresh_each, .body = "hello"});
  const std::uint64_t some = rate / 4;
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t before = load.answered();
    CHECK(eventually([&] { return load.answered() > before + some; }, 30s));
    CHECK(daemon->stop() == 0);
    daemon.reset();
    daemon.emplace(yaml, store.options());
    CHECK(daemon->port("web") == port);
  }
  const std::uint64_t before = load.answered();
  CHECK(eventually([&] { return load.answered() > before + some; }, 30s));
  const PacedLoad::Outcome outcome = load.finish();
  INFO(outcome.first_failure);
  CHECK(outcome.failed == 0);
  CHECK(outcome.answered == outcome.asked);
  WARN("two restarts: " << outcome.asked << " requests, " << outcome.fresh << " by new connections, " << outcome.failed
                        << " failed; most " << outcome.quantile(1) << " us");
  CHECK(daemon->stop() == 0);
}

}  // namespace

TEST_CASE("a restart with the manager's store keeps listeners open: no request fails", "[integration][fdstore]") {
  restarts_under_load(50, 400, 8);
}

TEST_CASE("restarts with the manager's store at 2,000 requests a second: none fails",
          "[integration][fdstore][.nightly]") {
  restarts_under_load(200, 2000, 40);  // 50 new connections a second
}

TEST_CASE("the manager's store follows reloads: what is gone is taken out, what is new is put there",
          "[integration][fdstore]") {
  Store store;
  const std::string unix_path = store.path("web.sock");
  const std::string unix_listener =
      "  - {name: file, address: \"unix:" + unix_path + "\", http: {routes: [" + says("/", "hello") + "]}}\n";
  const std::string in_store = "file@unix%3A" + unix_path;
  Daemon daemon(with_listeners(http_listener("web", says("/", "hello")) + unix_listener), store.options());
  REQUIRE(store.holds({"admin@127.0.0.1%3A0", in_store, "web@127.0.0.1%3A0"}));
  const auto reload = [&](const std::string& yaml) {
    daemon.write_config(yaml);
    daemon.process().signal(SIGHUP);
  };
  reload(with_listeners(http_listener("web", says("/", "hello")) + http_listener("more", says("/", "hello"))));
  CHECK(store.holds({"admin@127.0.0.1%3A0", "more@127.0.0.1%3A0", "web@127.0.0.1%3A0"}));
  // Nobody keeps it any more: so its file went with it.
  struct stat st {};
  CHECK(eventually([&] { return ::stat(unix_path.c_str(), &st) != 0; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stored socket whose address is not configured any more is closed and taken out",
          "[integration][fdstore]") {
  Store store;
  {
    Daemon daemon(with_listeners(http_listener("web", says("/", "hello"))), store.options());
    REQUIRE(store.holds({"admin@127.0.0.1%3A0", "web@127.0.0.1%3A0"}));
    CHECK(daemon.stop() == 0);
  }
  Daemon next(with_listeners(http_listener("site", says("/", "hello"))), store.options());
  CHECK(store.holds({"admin@127.0.0.1%3A0", "site@127.0.0.1%3A0"}));
  CHECK(next.wait_for_log("and no listener wants it: closed"));
  CHECK(next.stop() == 0);
}

TEST_CASE("without FDSTORE nothing is stored, and a Unix socket's file goes at the stop", "[integration][fdstore]") {
  const TemporaryDirectory directory;
  const NotifySocket notify(directory.path() + "/notify");
  const std::string path = directory.path() + "/web.sock";
  Daemon daemon(
      with_listeners("  - {name: web, address: \"unix:" + path + "\", http: {routes: [" + says("/", "hello") + "]}}\n"),
      {.environment = {{"NOTIFY_SOCKET", notify.address()}}});
  CHECK(!notify.await("READY=1").empty());
  CHECK(daemon.stop() == 0);
  CHECK(notify.await("FDSTORE=1", 100ms).empty());
  struct stat st {};
  CHECK(::stat(path.c_str(), &st) != 0);
}

TEST_CASE("a UDP socket in the manager's store is known to the process that follows, who takes it out",
          "[integration][fdstore][upgrade]") {
  const Orphanage orphans;
  Store store;
  const std::string listeners = http_listener("web", says("/", "hello"));
  Daemon daemon(with_listeners(listeners + "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: udp}}\n"),
                store.options());
  REQUIRE(store.holds({"admin@127.0.0.1%3A0", "stats@127.0.0.1%3A0", "web@127.0.0.1%3A0"}));
  daemon.write_config(with_listeners(listeners));
  daemon.process().signal(SIGUSR2);
  CHECK(store.holds({"admin@127.0.0.1%3A0", "web@127.0.0.1%3A0"}));
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("an upgrade tells the manager which process is the main one", "[integration][fdstore][upgrade]") {
  const TemporaryDirectory directory;
  const NotifySocket notify(directory.path() + "/notify");
  Daemon daemon(with_listeners(http_listener("web", says("/", "hello"))),
                {.environment = {{"NOTIFY_SOCKET", notify.address()}}});
  REQUIRE(!notify.await("READY=1").empty());
  daemon.process().signal(SIGUSR2);
  const std::string main = notify.await("MAINPID=");
  REQUIRE(!main.empty());
  const pid_t next = static_cast<pid_t>(std::atoi(main.c_str() + main.find("MAINPID=") + 8));
  CHECK(next > 1);
  CHECK(next != daemon.process().pid());
  CHECK(!notify.await("READY=1").empty());  // of the new one, behind it
  CHECK(daemon.process().wait() == 0);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  (void)::kill(next, SIGTERM);
  CHECK(!notify.await("STOPPING=1").empty());
}
