// Clients of HTTP/2 ask without a pause while the daemon is reloaded and followed by a new process: no request fails,
// and who is told to go elsewhere is told so that he loses none (GOAWAY in two steps).
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/held_socket.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

class Http2Load {
 public:
  Http2Load(std::uint16_t port, unsigned connections) : port_(port) {
    for (unsigned i = 0; i < connections; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Http2Load() { finish(); }
  Http2Load(const Http2Load&) = delete;
  Http2Load& operator=(const Http2Load&) = delete;
  void finish() {
    ending_ = true;
    for (std::thread& t : threads_)
      if (t.joinable()) t.join();
  }
  [[nodiscard]] std::string first_failure() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return first_failure_;
  }
  std::atomic<std::uint64_t> answered{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> repeated{0};  // behind the last stream that a GOAWAY has named: RFC 9113 section 6.8
  std::atomic<std::uint64_t> goodbyes{0};  // connections that were told to end

 private:
  static constexpr std::uint32_t kAtOnce = 8;
  void fail(const std::string& why) {
    ++failed;
    const std::lock_guard<std::mutex> guard(mutex_);
    if (first_failure_.empty()) first_failure_ = why;
  }
  void run() {
    while (!ending_) {
      try {
        one_connection();
      } catch (const std::exception& e) {
        fail(std::string("no connection: ") + e.what());
        return;
      }
    }
  }
  void one_connection() {
    http2::Client client(port_);
    for (std::uint32_t id = 1; !ending_ && client.goaways().empty(); id += 2 * kAtOnce) {
      std::string bytes;
      for (std::uint32_t i = 0; i < kAtOnce; ++i) bytes += http2::get(id + 2 * i);
      (void)client.send(bytes);
      for (std::uint32_t i = 0; i < kAtOnce; ++i) {
        const http2::Reply& reply = client.reply(id + 2 * i);
        if (reply.status == 200 && reply.body == "hello")
          ++answered;
        else if (client.goaway() == http2::kNoError && id + 2 * i > client.goaway_last_stream())
          ++repeated;
        else
          fail("stream " + std::to_string(id + 2 * i) + " has the status " + std::to_string(reply.status) +
               (reply.reset ? ", and was reset with " + std::to_string(*reply.reset) : std::string()) + "; " +
               std::to_string(client.goaways().size()) + " GOAWAYs");
      }
    }
    if (client.goaways().empty()) return;
    ++goodbyes;
    if (client.goaways().front().payload.substr(0, 4) != http2::number(0x7fffffff, 4)) fail("one GOAWAY only");
    (void)client.until_closed();
  }

  const std::uint16_t port_;
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::string first_failure_;
  std::vector<std::thread> threads_;
};

std::string http2_generation(unsigned n) {
  return with_listeners(http_listener("web", says("/", "hello") + ", " + says("/g" + std::to_string(n), "g"),
                                      ", h2c: true, limits: {connections: " + std::to_string(1000 + n) + "}"),
                        // A client may stand still for as long between a GOAWAY and the answer to its PING.
                        "shutdown: {idle: 20s, timeout: 60s}\n");
}

std::string post_to_admin(std::uint16_t admin, const std::string& path) {
  HttpClient client(admin, 0, 60s);
  const auto answer = client.ask("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  return answer ? answer->body : "no answer";
}

}  // namespace

TEST_CASE("daemon: reloads, an upgrade and a stop under HTTP/2 load: no request fails",
          "[integration][daemon][h2][upgrade]") {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const HeldSocket web;
  const HeldSocket admin;
  Daemon daemon(http2_generation(0),
                {.environment = {{"LISTEN_FDNAMES", "web:admin"}}, .listening = {web.fd(), admin.fd()}});
  Http2Load load(web.port(), 4);
  const auto some_are_answered = [&] {
    const std::uint64_t before = load.answered;
    CHECK(eventually([&] { return load.answered > before + 200; }, 60s));
  };
  some_are_answered();
  for (unsigned n = 1; n <= 3; ++n) {
    daemon.write_config(http2_generation(n));
    REQUIRE(post_to_admin(admin.port(), "/reload").find("reloaded ") == 0);
    some_are_answered();
  }
  CHECK(load.goodbyes == 0);  // they go on
  const std::string answer = post_to_admin(admin.port(), "/upgrade");
  INFO(answer << daemon.log());
  REQUIRE(answer.find("upgraded: process ") == 0);
  const auto successor = static_cast<pid_t>(std::atoi(answer.c_str() + 18));
  REQUIRE(successor > 1);
  CHECK(eventually([&] { return load.goodbyes >= 4; }, 60s));
  some_are_answered();
  CHECK(daemon.process().wait(60s) == 0);
  CHECK(daemon.log().find("were cut") == std::string::npos);
  load.finish();
  INFO(load.first_failure());
  CHECK(load.failed == 0);
  (void)::kill(successor, SIGTERM);
  int status = 0;
  CHECK(eventually([&] { return ::waitpid(successor, &status, WNOHANG) == successor; }, 60s));
  CHECK(status == 0);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 0);
}
