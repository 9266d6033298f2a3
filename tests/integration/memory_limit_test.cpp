// Loads by which the kernel kills the daemon when memory.governor is off, and which it outlives when it is on: in a
// real control group, whose limit is a real one.
#include <arpa/inet.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/own_cgroup.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

/// So many connections as there are descriptors for here, which raises its own soft limit.
std::size_t most_connections(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  return std::min<std::size_t>(wanted, limit.rlim_cur > 300 ? limit.rlim_cur - 300 : 0);
}

/// Clients that connect one after the other without waiting, send `text` and keep what they get.
class Crowd {
 public:
  Crowd() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~Crowd() {
    for (const auto& [fd, client] : open_) ::close(fd);
    ::close(epoll_);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  void come(std::uint16_t port, std::size_t clients, std::string_view text) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    for (std::size_t i = 0; i < clients; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) return;
      if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
        ::close(fd);
        ++refused;
        continue;
      }
      epoll_event event{EPOLLIN | EPOLLRDHUP, {.fd = fd}};
      (void)::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
      send(open_[fd], fd, text);
      if (i % 64 == 0) look(0);
    }
  }
  void send_again(std::string_view text) {
    for (auto& [fd, client] : open_) send(client, fd, text);
  }
  /// Takes what has come; true: something has.
  bool look(int wait_ms) {
    epoll_event events[1024];
    const int n = ::epoll_wait(epoll_, events, 1024, wait_ms);
    for (int i = 0; i < n; ++i) {
      char data[4096];
      const ssize_t got = ::recv(events[i].data.fd, data, sizeof data, 0);
      if (got > 0) {
        open_[events[i].data.fd].got += static_cast<std::size_t>(got);
      } else if (got == 0 || errno != EAGAIN) {
        ++refused;
        open_.erase(events[i].data.fd);
        ::close(events[i].data.fd);
      }
    }
    return n > 0;
  }
  /// Until all of those who are still open have the answers to what they sent, or `enough`; 60 s at most: whose SYN
  /// found a full queue comes again after 1, 3 and 7 s.
  template <class F>
  void settle(F enough) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (std::chrono::steady_clock::now() < until && !enough()) {
      if (!look(100) && unanswered() == 0) return;
    }
  }
  /// Of those to whom no answer is owed: until nothing has come for a second, or `enough`.
  template <class F>
  void rest(F enough) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    for (int quiet = 0; quiet < 10 && std::chrono::steady_clock::now() < until && !enough();)
      quiet = look(100) ? 0 : quiet + 1;
  }
  [[nodiscard]] std::size_t open() const noexcept { return open_.size(); }
  /// Of the open ones.
  [[nodiscard]] std::size_t unanswered() const {
    return static_cast<std::size_t>(
        std::count_if(open_.begin(), open_.end(), [](const auto& c) { return c.second.got < c.second.sent; }));
  }
  [[nodiscard]] std::size_t answered(std::size_t bytes) const {
    return static_cast<std::size_t>(
        std::count_if(open_.begin(), open_.end(), [&](const auto& c) { return c.second.got >= bytes; }));
  }
  std::size_t refused = 0;

 private:
  struct Client {
    std::size_t sent = 0;
    std::size_t got = 0;
  };
  /// Who is not let in yet has sent nothing.
  static void send(Client& client, int fd, std::string_view text) noexcept {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) client.sent += static_cast<std::size_t>(sent);
  }

  const int epoll_;
  std::unordered_map<int, Client> open_;
};

class MemoryCgroup : public OwnCgroup {
 public:
  explicit MemoryCgroup(std::uint64_t limit) : OwnCgroup("memory") {
    const std::string bytes = std::to_string(limit);
    set("memory.limit_in_bytes", "memory.max", bytes, bytes);
    // Else it grows into swap instead of being killed.
    if (version() == 2) set("", "memory.swap.max", "", "0");
  }
  /// How many processes of it the kernel has killed because it was full.
  [[nodiscard]] std::uint64_t killed() const {
    return count(version() == 1 ? "memory.oom_control" : "memory.events", "oom_kill");
  }
};

std::string with_governor(const std::string& governor, const std::string& listeners, const std::string& rest = {}) {
  return with_listeners(listeners, "memory: {governor: " + governor + "}\n" + rest);
}

/// False, said: the test cannot be made here.
bool may_limit(const MemoryCgroup& group) {
  if (kSanitized) {
    WARN("a sanitizer's own memory is most of a process's: left out");
    return false;
  }
  if (!group.why_not().empty()) WARN(group.why_not() << ": left out");
  return group.why_not().empty();
}

void check_killed(Daemon& daemon, const MemoryCgroup& group) {
  CHECK(daemon.process().wait(10s) == 128 + SIGKILL);
  CHECK(group.killed() == 1);
}

/// It lives, it has said that it turned somebody away, and when the load is gone it is as before.
void check_alive(Daemon& daemon, const MemoryCgroup& group) {
  CHECK(group.killed() == 0);
  REQUIRE(daemon.process().running());
  CHECK(daemon.admin_status("/healthz") == 200);
}

void crowd_of_echo_clients(const std::string& governor) {
  const MemoryCgroup group(96 * kMiB);
  if (!may_limit(group)) return;
  const std::size_t clients = most_connections(20'000);
  if (clients < 16'000) {
    WARN("only " << clients << " connections can be open here: left out");
    return;
  }
  const TemporaryDirectory place;
  Daemon daemon(with_governor(governor,
                              "  - {name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}, limits: {connections: "
                              "20000}}}\n"),
                {.program = group.program(place, FIBERD_BINARY)});
  Crowd crowd;
  const std::string hello(64, 'x');
  crowd.come(daemon.port("echo"), clients, hello);
  crowd.settle([&] { return !daemon.process().running(); });
  if (governor == "off") return check_killed(daemon, group);
  // All of those who were let in, at once: that is what they cost when they are not idle.
  const std::size_t first = crowd.answered(hello.size());
  crowd.send_again(hello);
  crowd.settle([] { return false; });
  INFO(crowd.open() << " open, " << first << " were answered, " << crowd.refused << " refused");
  check_alive(daemon, group);
  CHECK(crowd.refused >= 1000);
  CHECK(crowd.answered(2 * hello.size()) >= 5000);
  CHECK(crowd.unanswered() == 0);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"echo\",reason=\"memory\"}").value_or(0) >= 1000);
  CHECK(daemon.wait_for_log("memory: "));
}

/// What is kept goes back when it is asked for. (That it does by itself at trim_at: memory_levels_test.) The governor
/// may have emptied the cache as the last of the load came, so it is filled again, with what fits; and what the
/// governor gives back in between is not what was asked for.
void check_given_back_when_asked(Daemon& daemon, std::size_t size) {
  static constexpr int kFit = 160;
  const auto gauge = [&](const char* name) { return daemon.metric(name).value_or(0); };
  const auto trim = [&] {
    const auto done = HttpClient(daemon.port("admin"))
                          .ask("POST /debug/trim HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
    REQUIRE(done);
    CHECK(done->status == 200);
  };
  double back = 0;
  bool undisturbed = false;
  for (int attempt = 0; attempt < 20 && !undisturbed; ++attempt) {
    trim();
    REQUIRE(eventually([&] { return gauge("fiberd_memory_level") == 0; }));
    const double trims = gauge("fiberd_memory_trims_total");
    // An idle one may have been closed while memory was short.
    HttpClient client(daemon.port("web"));
    for (int i = 0; i < kFit; ++i)
      if (!client.ask("GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n")) break;
    const double kept = gauge("process_resident_memory_bytes");
    undisturbed = gauge("fiberd_file_cache_memory_bytes") == static_cast<double>(kFit * size);
    trim();
    back = kept - gauge("process_resident_memory_bytes");
    undisturbed = undisturbed && gauge("fiberd_memory_trims_total") == trims + 1;
  }
  CHECK(undisturbed);
  CHECK(back >= 10.0 * kMiB);
  CHECK(gauge("fiberd_file_cache_memory_bytes") == 0);
}

/// A file cache that is allowed more than there is.
void files_that_do_not_fit(const std::string& governor) {
  const MemoryCgroup group(64 * kMiB);
  if (!may_limit(group)) return;
  static constexpr int kFiles = 1200;
  const TemporaryDirectory place;
  const TemporaryDirectory site;
  const std::string text(100 * 1024, 'x');
  for (int i = 0; i < kFiles; ++i) (void)site.write(std::to_string(i), text);
  Daemon daemon(with_governor(governor, http_listener("web", "{path: /*, files: {root: " + site.path() + "}}"),
                              "file_cache: {files: 100000, memory: 1GiB, age: 10m}\n"),
                {.program = group.program(place, FIBERD_BINARY)});
  auto client = std::make_unique<HttpClient>(daemon.port("web"));
  const auto ask_for = [&](int file) {
    client->send("GET /" + std::to_string(file) + " HTTP/1.1\r\nHost: a\r\n\r\n");
    return client->receive();
  };
  int served = 0;
  for (int i = 0; i < kFiles; ++i) {
    auto answer = ask_for(i);
    // An idle connection may be closed while memory is short, as the request is on its way: then it is sent again by
    // another one, as clients do (RFC 9112 section 9.3.1). No answer is broken off.
    if (governor == "on" && !answer) {
      CHECK(client->rest().empty());
      (void)eventually([&] {
        client = std::make_unique<HttpClient>(daemon.port("web"));
        answer = ask_for(i);
        return answer.has_value();
      });
    }
    if (!answer) break;
    // Faster than memory is given back it may be turned away for a moment.
    served += (answer->status == 200 && answer->body.size() == text.size()) || answer->status == 503 ? 1 : 0;
  }
  INFO(served << " were answered");
  if (governor == "off") return check_killed(daemon, group);
  check_alive(daemon, group);
  CHECK(served == kFiles);
  // What did not fit was let go of as it came, and what came faster than anybody looked was given back.
  const double let_go = daemon.metric("fiberd_file_cache_evicted_total{reason=\"shortage\"}").value_or(0);
  INFO(let_go << " files let go of");
  CHECK(let_go >= 400);
  check_given_back_when_asked(daemon, text.size());
}

/// Clients that are let in while they cost little, and then send piece by piece and read nothing: what they cost grows
/// where nobody is asked for admission. No answer is owed to anybody; the daemon shall live.
void work_that_grows(const std::string& governor, const std::string& listener, std::string_view first,
                     std::size_t piece) {
  static constexpr std::size_t kClients = 1800;
  static constexpr int kPieces = 10;
  const MemoryCgroup group(64 * kMiB);
  if (!may_limit(group)) return;
  if (most_connections(kClients) < kClients) {
    WARN("less than " << kClients << " connections can be open here: left out");
    return;
  }
  const TemporaryDirectory place;
  Daemon daemon(with_governor(governor, listener), {.program = group.program(place, FIBERD_BINARY)});
  Crowd crowd;
  crowd.come(daemon.port("web"), kClients, first);
  crowd.rest([&] { return !daemon.process().running(); });
  CHECK(crowd.open() == kClients);
  const std::string more(piece, 'x');
  for (int i = 0; i < kPieces; ++i) {
    crowd.send_again(more);
    crowd.look(50);
    // A piece at a time: not as many at once as clients can send while nobody gives the daemon a CPU.
    if (governor == "on") (void)daemon.admin_status("/healthz");
  }
  crowd.rest([&] { return !daemon.process().running(); });
  if (governor == "off") return check_killed(daemon, group);
  INFO(crowd.open() << " open, " << crowd.refused << " cut");
  check_alive(daemon, group);
}

void uploads_that_grow(const std::string& governor) {
  work_that_grows(governor, http_listener("web", "{path: /echo, methods: [POST], echo: {}}"),
                  "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", 3000);
}

void echoes_that_grow(const std::string& governor) {
  work_that_grows(governor, "  - {name: web, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n", "x", 50'000);
}

}  // namespace

TEST_CASE("1,800 uploads that grow under 64 MiB: with the governor off the kernel kills",
          "[integration][memory][grow]") {
  uploads_that_grow("off");
}

TEST_CASE("1,800 uploads that grow under 64 MiB: with the governor on those that want more are cut",
          "[integration][memory][grow]") {
  uploads_that_grow("on");
}

TEST_CASE("1,800 echo clients that do not read under 64 MiB: with the governor off the kernel kills",
          "[integration][memory][grow]") {
  echoes_that_grow("off");
}

TEST_CASE("1,800 echo clients that do not read under 64 MiB: with the governor on buffers stay small",
          "[integration][memory][grow]") {
  echoes_that_grow("on");
}

TEST_CASE("20,000 echo clients under 96 MiB: with the governor off the kernel kills", "[integration][memory]") {
  crowd_of_echo_clients("off");
}

TEST_CASE("20,000 echo clients under 96 MiB: with the governor on some are refused, and the others served",
          "[integration][memory]") {
  crowd_of_echo_clients("on");
}

TEST_CASE("a file cache without a bound under 64 MiB: with the governor off the kernel kills",
          "[integration][memory]") {
  files_that_do_not_fit("off");
}

TEST_CASE("a file cache without a bound under 64 MiB: with the governor on it stays within", "[integration][memory]") {
  files_that_do_not_fit("on");
}

TEST_CASE("GOMAXPROCS follows the quota of a real control group", "[integration][gomaxprocs]") {
  OwnCgroup group("cpu");
  group.set("cpu.cfs_quota_us", "cpu.max", "-1", "max 100000");
  if (!group.why_not().empty()) {
    WARN(group.why_not() << ": left out");
    return;
  }
  const TemporaryDirectory place;
  Daemon daemon(web(), {.environment = {{"FIBERDEBUG", "cpus=2"}, {"GOMAXPROCS", ""}},
                        .program = group.program(place, FIBERD_BINARY)});
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 2);
  group.set("cpu.cfs_quota_us", "cpu.max", "90000", "90000 100000");
  CHECK(daemon.wait_for_log("GOMAXPROCS is 1 now, 2 before (cgroup quota 0.90)"));
  CHECK(ask(daemon.port("web")) == "200 hello");
  group.set("cpu.cfs_quota_us", "cpu.max", "-1", "max 100000");
  CHECK(daemon.wait_for_log("GOMAXPROCS is 2 now, 1 before (affinity)"));
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 2);
  CHECK(daemon.stop() == 0);
}
