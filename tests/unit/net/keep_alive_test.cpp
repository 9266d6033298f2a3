#include "core/net/keep_alive.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::Endpoint;
using net::Listener;
using net::TcpStream;

namespace {

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

struct Settings {
  int on = -1, idle = -1, interval = -1, count = -1;
  static Settings of(int fd) {
    return {option(fd, SOL_SOCKET, SO_KEEPALIVE), option(fd, IPPROTO_TCP, TCP_KEEPIDLE),
            option(fd, IPPROTO_TCP, TCP_KEEPINTVL), option(fd, IPPROTO_TCP, TCP_KEEPCNT)};
  }
};

/// Of both ends of a connection through a listener with these options.
struct Ends {
  Settings accepted, connected;
};
Ends connect_through(const char* address, net::ListenerOptions options) {
  Expectations expect;
  Ends ends;
  auto rt = start(1);
  rt->run([&] {
    auto listener = Listener::bind(*rt, *Endpoint::parse(address), std::move(options));
    Latch latch(1);
    const auto look = [&](TcpStream stream) {
      ends.accepted = Settings::of(stream.native_handle());
      latch.done();
    };
    if (!expect(listener.has_value() && (*listener)->serve(look), "listen")) return;
    Result<TcpStream> stream = TcpStream::connect((*listener)->local(), Deadline::in(5s));
    if (!expect(stream.has_value(), "connect")) return;
    ends.connected = Settings::of(stream->native_handle());
    expect(latch.wait(), "accepted");
    (*listener)->stop();
  });
  CHECK(expect.broken().empty());
  return ends;
}

}  // namespace

TEST_CASE("both ends of a connection probe a peer that is silent", "[net][keep_alive]") {
  for (const char* const address : {"127.0.0.1:0", "[::1]:0"}) {
    INFO(address);
    const Ends ends = connect_through(address, {});
    for (const Settings& s : {ends.accepted, ends.connected}) {
      CHECK(s.on == 1);
      CHECK(s.idle == 60);
      CHECK(s.interval == 15);
      CHECK(s.count == 4);
    }
  }
}

TEST_CASE("a listener's keep-alive settings are those of what it accepts", "[net][keep_alive]") {
  for (const bool reuse_port : {false, true}) {
    net::ListenerOptions options;
    options.keep_alive = {7s, 3s, 2};
    options.reuse_port = reuse_port;
    const Settings s = connect_through("127.0.0.1:0", std::move(options)).accepted;
    CHECK(s.on == 1);
    CHECK(s.idle == 7);
    CHECK(s.interval == 3);
    CHECK(s.count == 2);
  }
  net::ListenerOptions none;
  none.keep_alive.idle = 0s;
  CHECK(connect_through("127.0.0.1:0", std::move(none)).accepted.on == 0);
}

TEST_CASE("a Unix socket has no probes, and needs none", "[net][keep_alive]") {
  const std::string path = "unix:/tmp/fiberd-keep-alive-" + std::to_string(::getpid()) + ".sock";
  CHECK(connect_through(path.c_str(), {}).accepted.on == 0);
}
