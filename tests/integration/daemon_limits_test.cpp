// The daemon at its limits: many connections, no descriptors left, clients that stop talking.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::size_t occurrences(const std::string& text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// A bare descriptor and no more: thousands of them must fit.
class BareSocket {
 public:
  explicit BareSocket(std::uint16_t port, std::uint32_t from = 0x7f000001) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (fd_ < 0) throw std::system_error(errno, std::system_category(), "socket");
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(from);
    sockaddr_in to = source;
    to.sin_addr.s_addr = htonl(0x7f000001);
    to.sin_port = htons(port);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0 ||
        ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      const int error = errno;
      ::close(fd_);
      throw std::system_error(error, std::system_category(), "connect");
    }
    const timeval limit{20, 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  BareSocket(BareSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  BareSocket& operator=(BareSocket&&) = delete;
  ~BareSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  void send(std::string_view text) const { (void)!::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  /// Receives until `end` has come; false when the stream ends before.
  [[nodiscard]] bool receive(std::string_view end) const {
    std::string text;
    char data[1024];
    while (!text.ends_with(end)) {
      const ssize_t n = ::recv(fd_, data, sizeof data, 0);
      if (n <= 0) return false;
      text.append(data, static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  int fd_;
};

/// Each was served and is idle.
std::vector<BareSocket> served_clients(std::uint16_t port, std::size_t count) {
  std::vector<BareSocket> clients;
  for (std::size_t i = 0; i < count; ++i) {
    clients.emplace_back(port);
    clients.back().send(get("/"));
    if (!clients.back().receive("hello")) FAIL("connection " << i << " was not served");
  }
  return clients;
}

/// Each is in the middle of its body: a handler works for it.
std::vector<BareSocket> busy_clients(std::uint16_t port, std::size_t count) {
  std::vector<BareSocket> clients;
  for (std::size_t i = 0; i < count; ++i) {
    clients.emplace_back(port);
    // The interim answer says that the handler has begun.
    clients.back().send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    if (!clients.back().receive("\r\n\r\n")) FAIL("connection " << i << " was not served");
    clients.back().send("he");
  }
  return clients;
}

}  // namespace

TEST_CASE("19,000 connections are held, and each is served again", "[integration][daemon]") {
  static constexpr std::size_t kConnections = 19'000;
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  INFO("needs a hard limit of 19,200 descriptors; it is " << files.rlim_max);
  REQUIRE(files.rlim_max >= 19'200);
  // Without what grows by what happens, and not with connections.
  Daemon daemon("trace: {buffer: 0}\nprofiles: {heap_rate: 0}\n" +
                web("      limits: {connections: 20000}\n      timeouts: {idle: 10m}\n"));
  const std::uint16_t port = daemon.port("web");
  const auto resident = [&] { return daemon.metric("process_resident_memory_bytes").value_or(0); };
  const double before = resident();
  const std::string request = get("/");
  std::vector<BareSocket> clients;
  clients.reserve(kConnections);
  const auto crowd = [&] {
    for (std::size_t i = clients.size(); i < kConnections; ++i) {
      clients.emplace_back(port, 0x7f000001 + static_cast<std::uint32_t>(i % 3));
      clients.back().send(request);
      if (!clients.back().receive("hello")) FAIL("connection " << i << " was not served");
    }
  };
  crowd();
  CHECK(eventually(
      [&] { return daemon.metric("fiberd_listener_connections_idle{listener=\"web\"}") == double(kConnections); }));
  CHECK(daemon.metric("fiberd_listener_connections{listener=\"web\"}") == double(kConnections));
  const double after = resident();
  INFO("resident bytes per connection: " << (after - before) / double(kConnections));
#if !defined(__SANITIZE_THREAD__)  // whose shadow is resident too
  CHECK((after - before) / double(kConnections) < 1000);
#endif
  std::size_t served = 0;
  for (const BareSocket& client : clients) {
    client.send(request);
    served += client.receive("hello") ? 1 : 0;
  }
  CHECK(served == kConnections);
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)  // which keep what is freed
  // Most of them leave, and their memory with them. What crowds leave behind once and for all (code that has run,
  // tables for so many, arenas of threads that had not served before) is no part of that: each is measured by what the
  // one before it has left, until that is all there.
  const auto leave = [&] {
    while (clients.size() > 10) clients.pop_back();
    REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == 10.0; }, 20s));
  };
  leave();
  double warm = after;
  (void)eventually(
      [&] {
        warm = resident();
        return warm < after - (after - before) / 4;
      },
      20s);
  bool gone = false;
  for (int i = 0; i < 3 && !gone; ++i) {
    crowd();
    const double again = resident();
    leave();
    double left = again;
    gone = eventually(
        [&] {
          left = resident();
          return again - warm > (after - before) / 8 && left - warm < (again - warm) / 2;
        },
        20s);
    UNSCOPED_INFO("resident before " << before << ", with all " << after << ", with ten " << warm << ", with all again "
                                     << again << ", and with ten again " << left);
    warm = left;
  }
  CHECK(gone);
#endif
  CHECK(daemon.stop() == 0);  // with some of them open
}

TEST_CASE("the limit of connections is kept and counted", "[integration][daemon]") {
  Daemon daemon(web("      limits: {connections: 3}\n"));
  const std::uint16_t port = daemon.port("web");
  std::vector<BareSocket> clients = busy_clients(port, 3);
  for (int i = 0; i < 5; ++i) {
    const BareSocket refused(port);
    refused.send(get("/"));
    CHECK_FALSE(refused.receive("hello"));
  }
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"limit\"}") == 5.0);
  CHECK(daemon.metric("fiberd_http_reclaimed_total{listener=\"web\",state=\"idle\"}") == 0.0);
  clients.clear();
  CHECK(eventually([&] {
    const BareSocket again(port);
    again.send(get("/"));
    return again.receive("hello");
  }));
}

TEST_CASE("at the limit of connections the longest-idle makes room", "[integration][daemon]") {
  Daemon daemon(web("      limits: {connections: 3}\n"));
  const std::uint16_t port = daemon.port("web");
  const std::vector<BareSocket> clients = served_clients(port, 3);
  // The first is the longest-idle no more.
  clients[0].send(get("/"));
  REQUIRE(clients[0].receive("hello"));
  const std::vector<BareSocket> more = served_clients(port, 1);
  CHECK_FALSE(clients[1].receive("hello"));
  for (const BareSocket* s : {&clients[0], &clients[2], &more[0]}) {
    s->send(get("/"));
    CHECK(s->receive("hello"));
  }
  CHECK(daemon.metric("fiberd_http_reclaimed_total{listener=\"web\",state=\"idle\"}") == 1.0);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"limit\"}") == 0.0);
  CHECK(daemon.metric("fiberd_listener_connections_idle{listener=\"web\"}") == 3.0);
}

TEST_CASE("clients that hold half a head make room when nobody is idle", "[integration][daemon]") {
  Daemon daemon(web("      limits: {connections: 3}\n"));
  const std::uint16_t port = daemon.port("web");
  std::vector<BareSocket> slow;
  for (int i = 0; i < 3; ++i) {
    slow.emplace_back(port);
    slow.back().send("GET / HTTP/1.1\r\nHo");
    REQUIRE(
        eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == i + 1.0; }));
  }
  CHECK(eventually([&] {
    const BareSocket another(port);
    another.send(get("/"));
    return another.receive("hello");
  }));
  CHECK_FALSE(slow[0].receive("hello"));  // the longest
  slow[2].send("st: a\r\n\r\n");
  CHECK(slow[2].receive("hello"));
  CHECK(daemon.metric("fiberd_http_reclaimed_total{listener=\"web\",state=\"head\"}").value_or(0) >= 1.0);
}

TEST_CASE("an address has its share of the connections and no more", "[integration][daemon]") {
  Daemon daemon(web("      limits: {connections: 10, connections_per_address: 3}\n"));
  const std::uint16_t port = daemon.port("web");
  std::vector<BareSocket> clients = served_clients(port, 3);
  for (int i = 0; i < 4; ++i) {
    const BareSocket refused(port);
    refused.send(get("/"));
    CHECK_FALSE(refused.receive("hello"));
  }
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"address_limit\"}") == 4.0);
  const BareSocket other(port, 0x7f000002);
  other.send(get("/"));
  CHECK(other.receive("hello"));
  // Its idle connections are its own affair: they are not closed for its next.
  CHECK(daemon.metric("fiberd_http_reclaimed_total{listener=\"web\",state=\"idle\"}") == 0.0);
  clients.pop_back();
  CHECK(eventually([&] {
    const BareSocket again(port);
    again.send(get("/"));
    return again.receive("hello");
  }));
}

TEST_CASE("while idle connections can be closed, descriptors do not run out", "[integration][daemon]") {
  Daemon daemon(web(), {.open_files = 150});
  const std::uint16_t port = daemon.port("web");
  const std::vector<BareSocket> clients = served_clients(port, 400);
  CHECK(daemon.metric("fiberd_http_reclaimed_total{listener=\"web\",state=\"idle\"}").value_or(0) >= 250.0);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"descriptors\"}") == 0.0);
  // Whatever number of them is in use, the admin listener can be asked.
  std::vector<BareSocket> more;
  for (int i = 0; i < 20; ++i) {
    for (BareSocket& client : served_clients(port, 1)) more.push_back(std::move(client));
    CHECK(daemon.metric("process_open_fds").has_value());
  }
  CHECK(occurrences(daemon.log(), "accept failed") == 0);
  clients.back().send(get("/"));
  CHECK(clients.back().receive("hello"));
}

TEST_CASE("without descriptors it neither spins nor floods the log, and it recovers", "[integration][daemon]") {
  Daemon daemon(web(), {.open_files = 150});
  const std::uint16_t port = daemon.port("web");
  std::vector<BareSocket> busy = busy_clients(port, 100);
  std::vector<BareSocket> clients;
  for (int i = 0; i < 400; ++i) {
    clients.emplace_back(port);
    clients.back().send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
  }
  REQUIRE(daemon.wait_for_log("accept failed"));
  const auto cpu = daemon.process().cpu_time();
  const std::size_t lines = occurrences(daemon.log(), "\n");
  const auto begin = std::chrono::steady_clock::now();
  // Two seconds of its life are what is measured here, under clients who keep coming.
  while (std::chrono::steady_clock::now() - begin < 2s) {
    try {
      const BareSocket another(port);
      another.send(get("/"));
    } catch (const std::system_error&) {  // refused is fine
    }
    std::this_thread::sleep_for(20ms);
  }
  CHECK(daemon.process().cpu_time() - cpu < 400ms);
  CHECK(occurrences(daemon.log(), "\n") - lines <= 10);
  CHECK(daemon.process().running());
  // Those who got in are served all the while.
  busy.front().send("llo");
  CHECK(busy.front().receive("hello"));
  clients.clear();
  busy.clear();
  CHECK(eventually([&] {
    const BareSocket again(port);
    again.send(get("/"));
    return again.receive("hello");
  }));
  CHECK(eventually([&] {
    return daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"descriptors\"}").value_or(0) > 0;
  }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a client that drips its head is answered 408 and closed", "[integration][daemon]") {
  Daemon daemon(web("      timeouts: {header: 300ms}\n"));
  HttpClient client(daemon.port("web"));
  REQUIRE(client.send("GET / HTTP/1.1\r\nHo"));
  const auto answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 408);
  CHECK(client.wait_end());
  CHECK(daemon.metric("fiberd_http_timeouts_total{listener=\"web\",kind=\"header\"}") == 1.0);
}

TEST_CASE("a target may be as long as target_size says, by default what header_size lets through",
          "[integration][daemon]") {
  const std::string target = "/?q=" + std::string(20'000, 'a');
  const auto status = [&](const std::string& limits) {
    Daemon daemon(web("      limits: {" + limits + "}\n"));
    HttpClient client(daemon.port("web"));
    const auto answer = client.ask(get(target));
    return answer ? answer->status : 0U;
  };
  CHECK(status("header_size: 64KiB") == 200);
  CHECK(status("header_size: 64KiB, target_size: 8KiB") == 414);
}

TEST_CASE("GOMAXPROCS comes from its sources, the environment first", "[integration][daemon]") {
  {
    Daemon daemon(web({}, "runtime: {gomaxprocs: 3}\n"));
    CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 3.0);
    CHECK(daemon.wait_for_log("GOMAXPROCS=3 (configuration)"));
  }
  Daemon daemon(web({}, "runtime: {gomaxprocs: 3}\n"), {.environment = {{"GOMAXPROCS", "5"}}});
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 5.0);
  CHECK(daemon.wait_for_log("GOMAXPROCS=5 (environment)"));
  Daemon wrong(web({}, "runtime: {gomaxprocs: 3}\n"), {.environment = {{"GOMAXPROCS", "many"}}});
  CHECK(wrong.metric("fiberd_sched_gomaxprocs") == 3.0);
  const std::string log = wrong.log();
  const std::size_t said = log.find("GOMAXPROCS=\"many\"");
  CHECK(said != std::string::npos);
  CHECK(log.find("GOMAXPROCS=\"many\"", said + 1) == std::string::npos);  // once
}

TEST_CASE("the daemon starts on a machine of any size; what was asked for by name is refused by name",
          "[integration][daemon]") {
  {
    Daemon large(web(), {.environment = {{"FIBERDEBUG", "cpus=300"}, {"GOMAXPROCS", ""}}});
    CHECK(large.metric("fiberd_sched_gomaxprocs") >= 256.0);
    HttpClient client(large.port("web"));
    CHECK(client.ask(get("/")).value_or(Answer{}).status == 200U);
  }
  const auto refused = run({"/usr/bin/env", "GOMAXPROCS=5000", FIBERD_BINARY, "run"});
  CHECK(refused.code == 2);
  CHECK(refused.errors.find("GOMAXPROCS=\"5000\" in the environment is out of range: 1 … 1024") != std::string::npos);
}

TEST_CASE("access log lines, common and json", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/access.log";
  for (const std::string format : {"common", "json"}) {
    Daemon daemon(web("      access_log: {format: " + format + ", output: " + path + "}\n"));
    HttpClient client(daemon.port("web"));
    REQUIRE(client.ask(get("/", "User-Agent: a \"quoted\" \x01 one\r\n")).value_or(Answer{}).status ==
            400U);  // a control character in a field
    HttpClient second(daemon.port("web"));
    REQUIRE(second.ask(get("/?q=%22", "User-Agent: a \"quoted\" \xc3\xa9 one\r\n")).has_value());
    REQUIRE(second.ask(get("/none")).has_value());
    CHECK(daemon.stop() == 0);  // what is in the rings is written
  }
  const std::string text = read_file(path);
  CAPTURE(text);
  CHECK(text.find("127.0.0.1 - - [") != std::string::npos);
  CHECK(text.find("] \"GET / HTTP/1.1\" 400 ") != std::string::npos);
  CHECK(text.find("] \"GET /none HTTP/1.1\" 404 ") != std::string::npos);
  CHECK(text.find(R"("method":"GET","target":"/none","version":"HTTP/1.1","status":404,)") != std::string::npos);
  CHECK(text.find(R"("user_agent":"a \"quoted\" \u00c3\u00a9 one")") != std::string::npos);
  // Every JSON line is one for a parser that is not ours.
  std::string json;
  for (std::size_t at = text.find("\n{"); at != std::string::npos; at = text.find("\n{", at + 1))
    json += text.substr(at + 1, text.find('\n', at + 1) - at);
  const std::string lines = directory.write("lines", json);
  const Finished parsed =
      run({"python3", "-c", "import json,sys; print(len([json.loads(l) for l in open(sys.argv[1])]))", lines});
  CHECK(parsed.code == 0);
  CHECK(parsed.output == std::to_string(occurrences(json, "\n")) + "\n");
}

namespace {

std::string site_of_files(const std::string& root, const std::string& rest = {}) {
  return "admin: {address: \"127.0.0.1:0\"}\n" + rest +
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      routes: [{path: /, respond: {body: hello}}, {path: /echo, echo: {}}, {path: /one/*, files: {root: " +
         root + "}}, {path: /two/*, files: {root: " + root + "}}]\n";
}

/// Too large to be kept in memory.
void make_large(const std::string& path) {
  const std::string name = path;
  ::close(::open(name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  std::filesystem::resize_file(name, 200'000);
}

bool holds_deleted(pid_t pid) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().ends_with("(deleted)")) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("files leave the clients their descriptors, whatever is asked for", "[integration][daemon]") {
  const TemporaryDirectory root;
  for (int i = 0; i < 600; ++i) make_large(root.path() + "/f" + std::to_string(i));
  Daemon daemon(site_of_files(root.path()), {.open_files = 300});
  const auto descriptors = [&] { return daemon.metric("fiberd_file_cache_descriptors").value_or(1e9); };
  unsigned served = 0;
  {
    HttpClient c(daemon.port("web"));
    for (int i = 0; i < 600; ++i)
      for (const char* route : {"/one", "/two"}) {
        const std::string path = route + std::string("/f") + std::to_string(i);
        const auto a = c.ask("HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n", true);
        served += a && a->status == 200 ? 1 : 0;
      }
  }
  CHECK(served == 1200);
  CHECK(descriptors() > 0);
  CHECK(descriptors() <= 75);
  CHECK(daemon.metric("fiberd_file_cache_files") == descriptors());
  CHECK(daemon.metric("fiberd_file_cache_lookups_total{result=\"miss\"}") == 1200.0);
  CHECK(daemon.metric("fiberd_file_cache_evicted_total{reason=\"room\"}").value_or(0) >= 1200 - 75);
  // Clients come for what is left and more: the files go before any client does.
  std::vector<BareSocket> busy = busy_clients(daemon.port("web"), 230);
  CHECK(daemon.metric("fiberd_file_cache_evicted_total{reason=\"shortage\"}").value_or(0) > 0);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"descriptors\"}") == 0.0);
  for (const BareSocket& client : busy) client.send("llo");
  for (const BareSocket& client : busy) CHECK(client.receive("hello"));
}

TEST_CASE("a deleted file's disk space is given back when its age is over", "[integration][daemon]") {
  const TemporaryDirectory root;
  make_large(root.path() + "/f");
  Daemon daemon(site_of_files(root.path(), "file_cache: {age: 500ms}\n"));
  {
    HttpClient c(daemon.port("web"));
    CHECK(c.ask(get("/one/f"))->status == 200);
  }
  std::filesystem::remove(root.path() + "/f");
  CHECK(eventually([&] { return !holds_deleted(daemon.process().pid()); }));
  CHECK(eventually([&] { return daemon.metric("fiberd_file_cache_files") == 0.0; }));
  CHECK(daemon.metric("fiberd_file_cache_evicted_total{reason=\"age\"}") == 1.0);
}
