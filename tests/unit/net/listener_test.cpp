#include "core/net/listener.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "core/metric/registry.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::Endpoint;
using net::Listener;
using net::ListenerOptions;
using net::TcpStream;

namespace {
struct Counters {
  metric::Registry registry;
  metric::Counter& accepted = make("accepted_total");
  metric::Counter& limit = make("limit_total");
  metric::Counter& descriptors = make("descriptors_total");
  metric::Counter& errors = make("errors_total");

  metric::Counter& make(const char* name) { return registry.counter(registry.family({.name = name, .help = "h"})); }
  [[nodiscard]] net::ListenerMetrics metrics() {
    return {.accepted = &accepted, .refused_limit = &limit, .refused_descriptors = &descriptors, .errors = &errors};
  }
};

std::string unix_path() { return "/tmp/fiberd-listener-" + std::to_string(::getpid()) + ".sock"; }

bool connects(const std::string& path) {
  const Endpoint endpoint = *Endpoint::parse("unix:" + path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = ::connect(fd, endpoint.data(), endpoint.size()) == 0;
  ::close(fd);
  return connected;
}

/// What was seen of a socket file by the one who gave it its mode.
struct {
  std::string path;
  bool seen = false;
  bool connected = false;
  mode_t mode = 0;
} before_chmod;
}  // namespace

/// Instead of the C library's.
extern "C" int chmod(const char* path, mode_t mode) noexcept {
  struct stat st {};
  if (path == before_chmod.path && ::stat(path, &st) == 0) {
    before_chmod.seen = true;
    before_chmod.connected = connects(path);
    before_chmod.mode = st.st_mode & 0777U;
  }
  static auto* const real = reinterpret_cast<int (*)(const char*, mode_t)>(::dlsym(RTLD_NEXT, "chmod"));
  return real(path, mode);
}

TEST_CASE("a Unix socket has its mode before anybody can connect", "[net][listener]") {
  auto rt = start(1);
  const mode_t umask_before = ::umask(0);
  before_chmod.path = unix_path();
  ListenerOptions options;
  options.mode = 0600;
  auto listener = Listener::bind(*rt, *Endpoint::parse("unix:" + unix_path()), std::move(options));
  ::umask(umask_before);
  REQUIRE(listener.has_value());
  CHECK(before_chmod.seen);
  CHECK_FALSE(before_chmod.connected);
  CHECK(before_chmod.mode == 0600);
  before_chmod.path.clear();
  struct stat st {};
  REQUIRE(::stat(unix_path().c_str(), &st) == 0);
  CHECK((st.st_mode & 0777U) == 0600);
  CHECK(connects(unix_path()));
}

TEST_CASE("a client that does not read makes the kernel hold little for it", "[net][listener]") {
  Expectations expect;
  std::atomic<std::size_t> written{0};
  auto rt = start(1);
  rt->run([&] {
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), {});
    const auto pour = [&](TcpStream stream) {
      const std::string data(64 * 1024, 'x');
      for (;;) {
        const auto n = stream.write_some(bytes(std::string_view(data)), Deadline::in(200ms));
        if (!n) break;
        written += *n;
      }
      std::string c = "x";
      (void)stream.read_some(bytes(c), Deadline::in(5s));  // until the client leaves
    };
    if (!expect(listener.has_value() && (*listener)->serve(pour), "listen")) return;
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int small = 4096;
    expect(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0, "receive buffer");
    (void)::connect(fd, (*listener)->local().data(), (*listener)->local().size());
    std::size_t seen = 1;
    for (int i = 0; i < 500 && seen != written; ++i) {
      seen = written;
      (void)runtime::sleep_for(10ms);
    }
    ::close(fd);
    (*listener)->stop();
  });
  CHECK(expect.broken().empty());
  INFO("taken by the kernel: " << written);
  CHECK(written > 0);
  CHECK(written < 512 * 1024);
}

TEST_CASE("the connection limit refuses by closing, and counts", "[net][listener]") {
  Counters counters;
  Expectations expect;
  auto rt = start(2);
  rt->run([&] {
    ListenerOptions options;
    options.connections = 3;
    options.metrics = counters.metrics();
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
    if (!expect(listener.has_value() && (*listener)->serve(echo), "listen")) return;
    std::vector<TcpStream> streams;
    std::string c = "x";
    for (int i = 0; i < 3; ++i) {
      streams.push_back(*TcpStream::connect((*listener)->local(), Deadline::in(5s)));
      expect(streams.back().write_all(bytes(std::string_view("x"))).has_value(), "write");
      expect(streams.back().read_full(bytes(c), Deadline::in(5s)).has_value(), "served");
    }
    expect((*listener)->connections() == 3, "three open");
    Result<TcpStream> fourth = TcpStream::connect((*listener)->local(), Deadline::in(5s));
    if (!expect(fourth.has_value(), "the kernel lets it in")) return;
    const auto r = fourth->read_some(bytes(c), Deadline::in(5s));
    expect((r && *r == 0) || (!r && r.error() == std::errc::connection_reset), "closed at once");
    streams.pop_back();
    for (int i = 0; i < 5000 && (*listener)->connections() > 2; ++i) (void)runtime::sleep_for(1ms);
    Result<TcpStream> next = TcpStream::connect((*listener)->local(), Deadline::in(5s));
    expect(next && next->write_all(bytes(std::string_view("y"))) && next->read_full(bytes(c), Deadline::in(5s)) &&
               c == "y",
           "room again");
    (*listener)->stop();
    streams.clear();
    next->close();
    for (int i = 0; i < 5000 && (*listener)->connections() != 0; ++i) (void)runtime::sleep_for(1ms);
    expect((*listener)->connections() == 0, "all counted off");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
  CHECK(counters.limit.value() == 1);
  CHECK(counters.accepted.value() == 4);
  CHECK(counters.errors.value() == 0);
}

TEST_CASE("accept() for fibers: a connection, a deadline, a cancellation, stop", "[net][listener]") {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    auto rt = start(processors);
    rt->run([&] {
      auto bound = Listener::bind(*rt, *Endpoint::parse("[::1]:0"), {});
      if (!expect(bound.has_value(), "bind")) return;
      Listener& l = **bound;
      auto a = l.accept(Deadline::in(5ms));
      expect(!a && a.error() == std::errc::timed_out, "deadline");
      runtime::CancelSource cancel;
      Latch canceled(1);
      (void)runtime::spawn("cancel", [&] {
        cancel.cancel();
        canceled.done();
      });
      a = l.accept(Deadline::never(), &cancel);
      expect(canceled.wait(), "cancel returns");
      expect(!a && a.error() == std::errc::operation_canceled, "cancellation");
      Latch connected(1);
      (void)runtime::spawn("client", [&] {
        for (int i = 0; i < 3; ++i) expect(TcpStream::connect(l.local(), Deadline::in(5s)).has_value(), "connect");
        connected.done();
      });
      for (int i = 0; i < 3; ++i) {
        a = l.accept(Deadline::in(5s));
        expect(a.has_value() && a->peer().family() == AF_INET6, "accepted");
        l.release();
      }
      expect(connected.wait(), "client");
      Latch stopped(1);
      const auto waits = [&] {
        return rt->read_mem_stats().parks[static_cast<std::size_t>(runtime::WaitReason::accept)];
      };
      const std::uint64_t before = waits();
      (void)runtime::spawn("acceptor", [&] {
        const auto last = l.accept();
        expect(!last && last.error() == std::errc::operation_canceled, "stop ends it");
        stopped.done();
      });
      for (int i = 0; i < 5'000 && waits() == before; ++i) (void)runtime::sleep_for(1ms);
      l.stop();
      expect(stopped.wait(), "ends");
      a = l.accept();
      expect(!a && a.error() == std::errc::bad_file_descriptor, "after stop");
    });
    INFO(expect.broken());
    CHECK(expect.broken().empty());
  }
}

TEST_CASE("stop serves whom the kernel has let in", "[net][listener]") {
  Counters counters;
  Expectations expect;
  auto rt = start(1);
  rt->run([&] {
    ListenerOptions options;
    options.metrics = counters.metrics();
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
    if (!expect(listener.has_value() && (*listener)->serve(echo), "listen")) return;
    (*listener)->pause();
    std::vector<TcpStream> streams;
    for (int i = 0; i < 20; ++i) streams.push_back(*TcpStream::connect((*listener)->local(), Deadline::in(5s)));
    expect((*listener)->connections() == 0, "nobody accepts");
    (*listener)->stop();
    for (TcpStream& s : streams) {
      std::string c = " ";
      expect(s.write_all(bytes(std::string_view("x"))) && s.read_full(bytes(c), Deadline::in(5s)) && c == "x",
             "served");
    }
    const auto late = TcpStream::connect((*listener)->local(), Deadline::in(5s));
    expect(!late && late.error() == std::errc::connection_refused, "closed");
    streams.clear();
    for (int i = 0; i < 5000 && (*listener)->connections() != 0; ++i) (void)runtime::sleep_for(1ms);
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
  CHECK(counters.accepted.value() == 20);
}

TEST_CASE("an address in use", "[net][listener]") {
  auto rt = start(2);
  for (const bool reuse : {false, true}) {
    ListenerOptions options;
    options.reuse_port = reuse;
    const auto first = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
    REQUIRE(first);
    // Also in a group: it is bound alone first, so nobody joins a port that is somebody else's … of another user; the
    // kernel lets the same user's sockets in only if they set the option before bind, which the first never does.
    const auto second = Listener::bind(*rt, (*first)->local(), options);
    REQUIRE_FALSE(second);
    CHECK(second.error() == std::errc::address_in_use);
  }
}

TEST_CASE("a reuseport group serves on every socket", "[net][listener]") {
  Expectations expect;
  auto rt = start(2);
  rt->run([&] {
    ListenerOptions options;
    options.reuse_port = true;
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
    if (!expect(listener.has_value() && (*listener)->serve(echo), "listen")) return;
    for (int i = 0; i < 30; ++i) {
      Result<TcpStream> s = TcpStream::connect((*listener)->local(), Deadline::in(5s));
      std::string c = " ";
      expect(s && s->write_all(bytes(std::string_view("x"))) && s->read_full(bytes(c), Deadline::in(5s)), "served");
    }
    (*listener)->stop();
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("dual stack and IPv6 only", "[net][listener]") {
  Expectations expect;
  auto rt = start(1);
  rt->run([&] {
    for (const bool dual : {true, false}) {
      ListenerOptions options;
      options.dual_stack = dual;
      auto listener = Listener::bind(*rt, *Endpoint::parse("[::]:0"), options);
      if (!expect(listener.has_value() && (*listener)->serve(echo), "listen")) return;
      const std::uint16_t port = (*listener)->local().port();
      expect(TcpStream::connect(Endpoint::v6(in6addr_loopback, port), Deadline::in(5s)).has_value(), "IPv6");
      const auto v4 = TcpStream::connect(Endpoint::v4(INADDR_LOOPBACK, port), Deadline::in(5s));
      expect(v4.has_value() == dual, "IPv4");
      (*listener)->stop();
    }
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("Unix sockets: stale ones are replaced, live ones refused, ours removed", "[net][listener]") {
  auto rt = start(1);
  const std::string path = unix_path();
  const Endpoint endpoint = *Endpoint::parse("unix:" + path);
  ::unlink(path.c_str());
  {
    // A process that crashed leaves this.
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(fd, endpoint.data(), endpoint.size()) == 0);
    ::close(fd);
    ListenerOptions options;
    options.mode = 0600;
    const auto first = Listener::bind(*rt, endpoint, options);
    REQUIRE(first);
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777U) == 0600U);
    const auto second = Listener::bind(*rt, endpoint, options);
    REQUIRE_FALSE(second);
    CHECK(second.error() == std::errc::address_in_use);
    CHECK(::stat(path.c_str(), &st) == 0);
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
  {
    auto first = Listener::bind(*rt, endpoint, {});
    REQUIRE(first);
    ::unlink(path.c_str());
    const auto second = Listener::bind(*rt, endpoint, {});
    REQUIRE(second);
    first->reset();
    CHECK(::access(path.c_str(), F_OK) == 0);  // it is the second's now
  }
  // A file that is no socket is nobody's to replace.
  ::close(::creat(path.c_str(), 0600));
  const auto third = Listener::bind(*rt, endpoint, {});
  REQUIRE_FALSE(third);
  CHECK(third.error() == std::errc::file_exists);
  ::unlink(path.c_str());
}

TEST_CASE("the table of descriptors is large enough before anybody comes", "[net][listener]") {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  auto rt = start(1);
  ListenerOptions options;
  options.connections = 3000;
  auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
  REQUIRE(listener.has_value());
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "FDSize:") {
  }
  rlim_t size = 0;
  status >> size;
  CHECK(size >= std::min<rlim_t>(3000, limit.rlim_cur));
}
